# The serving image: vLLM's own OpenAI image with the readiness agent as its entrypoint.
#
#   docker build -t warmgate .
#   docker run --gpus all --ipc=host --read-only --tmpfs /tmp -v warmgate-cache:/cache -p 8080:8080 -p 8081:8081 \
#     warmgate --model Qwen/Qwen3-0.6B --served-model-name qwen --port 8080
#
# On CPU, and for replicas over several nodes (vLLM's image has no Ray):
#
#   docker build --build-arg ENGINE_IMAGE=vllm/vllm-openai-cpu:v0.32.0 -t warmgate:0.1.0-cpu .
#   docker build --build-arg ENGINE_EXTRA=ray -t warmgate:0.1.0-ray .
#
# Arguments are vLLM's. The agent's own options are the variables WARMGATE_* (`warmgate serve --help` lists them).
# Runs as any user id, with a read-only root: only /cache and /tmp are written. Keep /cache across restarts, and neither
# the weights nor the compiled kernels have to be made again.
#
# Its other target is a small image without an engine, for load tests (Locust) and verifications in a cluster. Any user id
# here too, and only /tmp and /warmgate/reports are written:
#
#   docker build --target tools -t warmgate-tools .
#   docker run --read-only --tmpfs /tmp warmgate-tools verify --admin http://10.0.0.7:8081 --base-url http://10.0.0.7:8080

ARG ENGINE_IMAGE=vllm/vllm-openai:v0.32.0

FROM python:3.12-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY serving serving
COPY loadtest loadtest
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# Python 3.11 is what the lock is for.
FROM python:3.11-slim-bookworm AS tools

LABEL org.opencontainers.image.title="warmgate-tools" \
      org.opencontainers.image.description="Warmgate's load test and verification, without an engine" \
      org.opencontainers.image.licenses="Apache-2.0"

# The locustfile gets a path that does not change with Python's version.
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    --mount=type=bind,source=requirements/lock.txt,target=/lock.txt \
    pip install --no-cache-dir --constraint /lock.txt "$(echo /wheels/*.whl)[loadtest]" \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp warmgate \
    && install -d -o 10001 -g 0 -m 0775 /warmgate/reports \
    && install -d /opt/warmgate \
    && ln -s "$(python -c 'from importlib.util import find_spec as f; print(f("loadtest").submodule_search_locations[0])')/locustfile.py" \
       /opt/warmgate/locustfile.py \
    && locust --locustfile /opt/warmgate/locustfile.py --help >/dev/null

ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /warmgate
USER 10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["warmgate"]
CMD ["--help"]

FROM ${ENGINE_IMAGE}
ARG ENGINE_IMAGE
ARG ENGINE_EXTRA=""

LABEL org.opencontainers.image.title="warmgate" \
      org.opencontainers.image.description="vLLM under a readiness agent that reports the model's real state" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/${ENGINE_IMAGE}"

# The engine's environment already holds everything of the agent extra. --no-deps keeps it exactly as it was released, and
# the import shows that nothing is missing. Whether that environment is the system's or a virtual one, it is python3's.
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    python=$(command -v python3) \
    && uv pip install --python "$python" --break-system-packages --no-cache --no-deps /wheels/*.whl nvidia-ml-py==13.615.71 \
    && if [ -n "$ENGINE_EXTRA" ]; then uv pip install --python "$python" --break-system-packages --no-cache "$ENGINE_EXTRA"; fi \
    && python3 -c "import pynvml, serving.agent.app, serving.cli.serve" \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /cache/home warmgate \
    && install -d -o 10001 -g 0 -m 0775 /cache

# USER is named too: torch asks who it is, and an arbitrary user id has no entry in /etc/passwd.
ENV USER=warmgate \
    HOME=/cache/home \
    XDG_CACHE_HOME=/cache/xdg \
    XDG_CONFIG_HOME=/cache/config \
    HF_HOME=/cache/huggingface \
    VLLM_CACHE_ROOT=/cache/vllm \
    TORCHINDUCTOR_CACHE_DIR=/cache/torchinductor \
    TRITON_CACHE_DIR=/cache/triton \
    NUMBA_CACHE_DIR=/cache/numba \
    CUDA_CACHE_PATH=/cache/cuda \
    FLASHINFER_WORKSPACE_BASE=/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    VLLM_NO_USAGE_STATS=1

VOLUME ["/cache"]
USER 10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM

# For `docker run` alone; Kubernetes ignores it and probes /startupz, /readyz and /livez.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30m --retries=2 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('WARMGATE_ADMIN_PORT', 8081)}/readyz\", timeout=2)"]

ENTRYPOINT ["warmgate", "serve", "--"]
