"""How secrets look: names that ask for one, values that are one by their shape, and values that only point to one.

It answers yes or no, or says what kind it is. It never hands out a value, nor a part of one.
"""

from __future__ import annotations

import re
from typing import Final

NAMES: Final = re.compile(  # of a variable, an option or a key: it ends in what it holds
    r"(?:^|[_.-])(?:token|password|passwd|passphrase|credentials?"
    r"|(?:client|jwt|app|shared|webhook|session|auth|oauth|oidc|signing|cookie|hmac)[_-]?secret"
    r"|(?:api|access|secret|private|auth|master|signing|encryption|license|account|admin)[_-]?key)$",
    re.IGNORECASE,
)
COUNTED_TOKENS: Final = re.compile(  # tokens that a model reads, not ones that open a door
    r"(?:bos|eos|pad|unk|sep|cls|mask|image|audio|video|stop|start|end|think|thinking|tool|call|special|implicit"
    r"|max|min|per|next|first|last|new|output|prompt|input|extra|batched)[_-]token$",
    re.IGNORECASE,
)
LOOSE_NAMES: Final = re.compile(r"key|token|secret|passw|cred|auth", re.IGNORECASE)
SHAPES: Final = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,200}"),
    "an API key (sk-...)": re.compile(
        r"\bsk-(?=[A-Za-z0-9_-]{0,200}[0-9])(?=[a-z0-9_-]{0,200}[A-Z])[A-Za-z0-9_-]{20,200}"
    ),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_\w{30,255})"),
    "a GitLab token": re.compile(r"\bglpat-[\w-]{20,255}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[\w-]{10,255}"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "an NVIDIA API key": re.compile(r"\bnvapi-[\w-]{20,255}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{10}"),
    "a password in a URL": re.compile(r"://[^/\s:@$<{]{1,64}:[^/\s:@$<{]{3,128}@"),
    "a bearer token": re.compile(r"\b[Bb]earer\s+(?=[\w.~+/=-]{0,400}[0-9])[\w.~+/=-]{12,400}"),
}
HINT: Final = re.compile(r"hf_|sk-|AKIA|ASIA|gh[pousr]_|github_|glpat-|xox|AIza|nvapi-|PRIVATE KEY|eyJ|://|earer\s")
POINTS_ELSEWHERE: Final = re.compile(
    r"\s*|.*(?:\$\(|\$\{|\{\{).*|\$\w+|<[^<>]*>|\[[^\[\]]*\]|ENC\[.*|[*.xX_-]+"
    r"|(?:vault|secretref|ref\+\w+|op|file|arn:aws|projects)[:/].*|\.?(?:/[\w.@-]+)+/?",
    re.DOTALL,
)
IDIOMS: Final = re.compile(  # what servers without keys are given, and switches
    r"\d|true|false|yes|no|on|off|none|null|nil|unset|empty|dummy|fake|unused|n/a|not-(?:needed|used)", re.IGNORECASE
)


def asks_for_secret(name: str) -> bool:
    """Is what this variable, option or key holds a secret?

    >>> [asks_for_secret(name) for name in ("HF_TOKEN", "api-key", "MAX_TOKENS", "EOS_TOKEN", "TOKENIZERS_PARALLELISM")]
    [True, True, False, False, False]
    """
    return bool(NAMES.search(name[-64:])) and not COUNTED_TOKENS.search(name[-64:])


def is_literal(value: str) -> bool:
    """Is it a value of its own, not a reference, a path, a switch or an empty placeholder?

    Words such as `changeme` are literal: what is written here is applied, and then it is the key.
    """
    return not IDIOMS.fullmatch(value.strip()) and not POINTS_ELSEWHERE.fullmatch(value[:1000])


def looks_random(value: str) -> bool:
    """Is it long and mixed as only a machine writes?"""
    if not re.fullmatch(r"[A-Za-z0-9+/=_.-]{20,4000}", value):
        return False
    mixed = bool(re.search(r"[0-9]", value) and re.search(r"[A-Z]", value) and re.search(r"[a-z]", value))
    return mixed or bool(re.fullmatch(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{32,}", value))


def is_secret(name: str, value: str) -> bool:
    """Is this value, under this name, a secret that somebody wrote down?"""
    if not is_literal(value):
        return False
    return asks_for_secret(name) or (bool(LOOSE_NAMES.search(name[:256])) and looks_random(value))


def shape(text: str) -> str:
    """What kind of secret a text holds by its shape, such as `a Hugging Face token`; empty for none."""
    if len(text) < 12 or not HINT.search(text):
        return ""
    return next((kind for kind, pattern in SHAPES.items() if pattern.search(text)), "")
