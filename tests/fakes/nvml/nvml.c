/* A stand-in for libnvidia-ml.so.1: NVML's C ABI, as far as nvidia-ml-py needs it to read memory.
 *
 * The world is the text file named by FAKE_NVML, read again at every call, so that a test can change it at run time:
 *
 *   init error=9                                  what nvmlInit answers (0 when the line is missing)
 *   driver boot=2                                 a driver loaded anew: sessions of another boot are UNINITIALIZED
 *   old                                           a driver without version 2 of the memory info
 *   gpu uuid=GPU-1 total=.. used=.. free=.. reserved=.. [error=4] [handle_error=15] [mig=1] [slots=7] name=NVIDIA H100
 *   mig gpu=0 slot=2 uuid=MIG-1 total=.. used=.. free=.. reserved=.. [error=4] [handle_error=4] name=... MIG 1g.10gb
 *
 * Sizes are bytes, errors are nvmlReturn_t. `name` is last and runs to the end of the line. Reading a session that was
 * not initialised answers UNINITIALIZED, as the real one does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn_t;
typedef unsigned long long u64;
typedef struct Device *nvmlDevice_t;
typedef struct { u64 total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; u64 total, reserved, free, used; } nvmlMemory_v2_t;

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, VERSION_MISMATCH = 25 };
enum { LINE = 512, MIG_HANDLES = 1000, MEMORY_V2 = 0x02000028 };

static int sessions;
static u64 session_boot;

/* The line number `wanted` (from 0) that starts with `kind`; 1 when there is one. */
static int line_of(const char *kind, int wanted, char *line) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    size_t length = strlen(kind);
    int found = 0;
    while (file && !found && fgets(line, LINE, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, kind, length) && (line[length] == ' ' || !line[length])) found = wanted-- == 0;
    }
    if (file) fclose(file);
    return found;
}

static u64 number(const char *line, const char *key) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *at = strstr(line, pattern);
    return at ? strtoull(at + strlen(pattern), NULL, 10) : 0;
}

static nvmlReturn_t text(const char *line, const char *key, int to_end, char *out, unsigned size) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *at = strstr(line, pattern);
    if (!at) return NOT_SUPPORTED;
    at += strlen(pattern);
    snprintf(out, size, "%.*s", (int)(to_end ? strlen(at) : strcspn(at, " ")), at);
    return SUCCESS;
}

/* A handle is 1 + the number of its line; slices count from MIG_HANDLES. */
static nvmlDevice_t handle(size_t number) { return (nvmlDevice_t)(1 + number); }

static u64 boot(void) {
    char line[LINE];
    return line_of("driver", 0, line) ? number(line, "boot") : 0;
}

static int in_session(void) { return sessions && session_boot == boot(); }

static nvmlReturn_t device(nvmlDevice_t wanted, char *line) {
    size_t index = (size_t)wanted - 1;
    if (!in_session()) return UNINITIALIZED;
    int slice = index >= MIG_HANDLES;
    return line_of(slice ? "mig" : "gpu", (int)(slice ? index - MIG_HANDLES : index), line) ? SUCCESS : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    char line[LINE];
    (void)flags;
    nvmlReturn_t code = line_of("init", 0, line) ? (nvmlReturn_t)number(line, "error") : SUCCESS;
    if (code == SUCCESS && !sessions++) session_boot = boot();
    return code;
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void) {
    if (!sessions) return UNINITIALIZED;
    sessions--;
    return SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned size) {
    snprintf(out, size, "580.00.fake");
    return sessions ? SUCCESS : UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    char line[LINE];
    for (*count = 0; line_of("gpu", (int)*count, line); ++*count) {}
    return in_session() ? SUCCESS : UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out) {
    char line[LINE];
    nvmlReturn_t code = device(*out = handle(index), line);
    return code ? code : (nvmlReturn_t)number(line, "handle_error");
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t of, char *out, unsigned size) {
    char line[LINE];
    nvmlReturn_t code = device(of, line);
    return code ? code : text(line, "uuid", 0, out, size);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t of, char *out, unsigned size) {
    char line[LINE];
    nvmlReturn_t code = device(of, line);
    return code ? code : text(line, "name", 1, out, size);
}

/* Version 1 knows no `reserved`: its `used` includes it. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t of, nvmlMemory_t *out) {
    char line[LINE];
    nvmlReturn_t code = device(of, line);
    if (code || (code = (nvmlReturn_t)number(line, "error"))) return code;
    *out = (nvmlMemory_t){number(line, "total"), number(line, "free"), number(line, "used") + number(line, "reserved")};
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t of, nvmlMemory_v2_t *out) {
    char line[LINE];
    nvmlReturn_t code = device(of, line);
    if (code || (code = (nvmlReturn_t)number(line, "error"))) return code;
    if (out->version != MEMORY_V2) return VERSION_MISMATCH;
    char ignored[LINE];
    if (line_of("old", 0, ignored)) return NOT_SUPPORTED;
    out->total = number(line, "total");
    out->reserved = number(line, "reserved");
    out->free = number(line, "free");
    out->used = number(line, "used");
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t of, unsigned *current, unsigned *pending) {
    char line[LINE];
    nvmlReturn_t code = device(of, line);
    if (code) return code;
    if (!strstr(line, " mig=")) return NOT_SUPPORTED;
    *current = *pending = (unsigned)number(line, "mig");
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t of, unsigned *count) {
    char line[LINE];
    nvmlReturn_t code = device(of, line);
    *count = code ? 0 : (unsigned)number(line, "slots");
    return code;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t parent, unsigned slot, nvmlDevice_t *out) {
    char line[LINE];
    for (int each = 0; line_of("mig", each, line); each++) {
        if (number(line, "gpu") != (size_t)parent - 1 || number(line, "slot") != slot) continue;
        *out = handle((size_t)(MIG_HANDLES + each));
        return (nvmlReturn_t)number(line, "handle_error");
    }
    return in_session() ? NOT_FOUND : UNINITIALIZED;
}

const char *nvmlErrorString(nvmlReturn_t code) {
    static char out[32];
    snprintf(out, sizeof out, "fake error %d", code);
    return out;
}
