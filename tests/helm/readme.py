"""Writes the table of values in the chart's README from the comments of values.yaml: `python -m tests.helm.readme`.

A comment that starts with `# --` describes the key below it, and goes on over the next comment lines.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).resolve().parents[2] / "helm" / "warmgate"
BEGIN: Final = "<!-- values: written by python -m tests.helm.readme -->"
END: Final = "<!-- end of values -->"
KEY: Final = re.compile(r"^( *)([A-Za-z][\w.]*):")


def described(text: str) -> Iterator[tuple[str, str]]:
    """Path and description of every key with a `# --` comment, in the file's order."""
    parents: list[tuple[int, str]] = []
    words: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            words = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("# ") and words:
            words.append(stripped.removeprefix("# "))
        elif found := KEY.match(line):
            indent = len(found[1])
            parents = [parent for parent in parents if parent[0] < indent] + [(indent, found[2])]
            if words:
                yield ".".join(name for _, name in parents), " ".join(words)
            words = []
        else:
            words = []


def default(values: Any, path: str) -> str:
    """A value as JSON, within backticks."""
    for name in path.split("."):
        values = values[name]
    return f"`{json.dumps(values, ensure_ascii=False)}`"


def table(text: str) -> str:
    """The table of all described values."""
    values = yaml.safe_load(text)
    rows = [f"| `{path}` | {default(values, path)} | {words} |" for path, words in described(text)]
    return "\n".join(["| value | default | what it is |", "|---|---|---|", *rows])


def current(readme: str, values: str) -> str:
    """The README with its table written anew."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table(values)}\n\n{END}{tail}"


def main() -> int:
    """Rewrite the README; with --check, only say whether it is current."""
    path = CHART / "README.md"
    before = path.read_text(encoding="utf-8")
    after = current(before, (CHART / "values.yaml").read_text(encoding="utf-8"))
    if "--check" in sys.argv:
        return int(before != after)
    path.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
