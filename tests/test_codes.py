from __future__ import annotations

import re
from pathlib import Path

from serving import codes

PAGE = Path(__file__).parents[1] / "docs" / "codes.md"
# Codes that were published: one may be added here, none may change its meaning or go.
PUBLISHED = {
    "WG101": "process",
    "WG102": "loaded and warm",
    "WG103": "ready endpoint",
    "WG104": "latency",
    "WG105": "resident memory",
    "WG106": "GPU memory",
    "WG107": "prediction",
}


def test_every_code_is_well_formed_and_listed_under_its_own_id():
    for key, code in codes.registry().items():
        assert key == code.id
        assert re.fullmatch(r"WG[1-9]\d\d", code.id)
        assert code.question.endswith("?")
        assert code.pass_means.endswith(".")
        assert "|" not in code.question + code.pass_means  # it is a table's cell


def test_no_code_is_used_twice():
    members = (*vars(codes).values(), *vars(codes.lint).values())
    constants = [value for value in members if isinstance(value, codes.Code)]
    assert len(constants) == len({code.id for code in constants}) == len(codes.registry())


def test_codes_are_listed_in_ascending_order():
    assert list(codes.registry()) == sorted(codes.registry())


def test_published_codes_keep_their_meaning():
    for code, topic in PUBLISHED.items():
        assert topic in codes.registry()[code].question


def test_the_page_of_codes_is_up_to_date():
    assert PAGE.read_text() == codes.codes_page(), "run: python -m serving.codes > docs/codes.md"
