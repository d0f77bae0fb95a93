"""What an answer is made of and when each part is due, worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loadtest.truth.answer import offsets_of
from loadtest.truth.program import Program, read_program
from loadtest.truth.script import MS, Kind, Script, script_of

TIMED = Program(ttft_ms=50, itl_ms=10, tokens=4, role_chunk=False)


def due_ms(script: Script) -> list[float]:
    """When each token chunk is complete."""
    return [offset / MS for offset, chunks in zip(script.offsets, script.chunks, strict=True) for _ in range(chunks)]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        pytest.param(TIMED, [50, 60, 70, 80], id="absolute"),
        pytest.param(replace(TIMED, tokens_per_chunk=3), [50, 60], id="two-chunks-of-three-and-one"),
        pytest.param(replace(TIMED, headers_ms=55), [55, 60, 70, 80], id="late-headers-delay-only-what-was-due-before"),
        pytest.param(replace(TIMED, pause_after=2, pause_ms=100), [50, 60, 170, 180], id="a-pause-in-the-middle"),
        pytest.param(replace(TIMED, framing="length"), [80, 80, 80, 80], id="one-body-at-the-end"),
        pytest.param(replace(TIMED, cut_at=5, cut_gap_ms=3), [53, 63, 73, 83], id="complete-with-the-second-piece"),
        pytest.param(replace(TIMED, fault="truncate", fault_after=2), [50, 60], id="cut-after-two"),
        pytest.param(replace(TIMED, fault="no_content"), [], id="nothing"),
        pytest.param(replace(TIMED, empty_chunks=True, comments=True), [50, 60, 70, 80], id="noise-between"),
        pytest.param(replace(TIMED, coalesce=True), [50, 60, 70, 80], id="coalesced"),
    ],
)
def test_token_chunks_are_due_when_the_program_says(program: Program, expected: list[float]):
    assert due_ms(script_of(program, Kind())) == expected


def test_a_time_does_not_depend_on_the_times_before_it():
    """Chunk k of an inexact ITL is due at ttft + k * itl, without the sum of k roundings."""
    script = script_of(replace(TIMED, itl_ms=1 / 3, tokens=3001), Kind())
    assert due_ms(script)[-1] == pytest.approx(50 + 1000, abs=1e-6)


def test_jitter_is_uniform_seeded_and_never_accumulates_or_reorders():
    program = replace(TIMED, jitter_ms=4, itl_ms=10, tokens=2000)
    script = script_of(program, Kind())

    def late(seed: str) -> list[float]:
        offsets = offsets_of(program, script, 0, seed)
        assert offsets == sorted(offsets)
        return [(new - old) / MS for new, old, n in zip(offsets, script.offsets, script.chunks, strict=True) if n]

    first = late("1")
    assert first == late("1")
    assert first != late("2")
    assert min(first) >= 0
    assert max(first) < 4
    assert sum(first) / len(first) == pytest.approx(2, abs=0.2)
    quarters = [sum(low <= value < low + 1 for value in first) for low in range(4)]
    assert all(420 < count < 580 for count in quarters), quarters


def test_a_grid_makes_every_stream_emit_on_the_same_beats():
    program = replace(TIMED, grid_ms=20)
    script = script_of(program, Kind())
    for arrived in (1_003_000_000, 1_017_500_000):
        offsets = offsets_of(program, script, arrived, "")
        beats = [arrived + offset for offset, chunks in zip(offsets, script.chunks, strict=True) if chunks]
        assert all(beat % (20 * MS) == 0 for beat in beats)
        waits = [(beat - arrived) / MS - due for beat, due in zip(beats, due_ms(script), strict=True)]
        assert all(0 <= wait < 20 for wait in waits)


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_cutting_changes_no_byte(cut: int):
    whole = script_of(TIMED, Kind())
    pieces = script_of(replace(TIMED, cut=cut), Kind())
    assert b"".join(pieces.writes) == b"".join(whole.writes)
    assert max(map(len, pieces.writes)) <= cut
    assert sum(pieces.chunks) == 4


def test_what_is_due_together_is_one_write_when_coalesced():
    script = script_of(replace(TIMED, coalesce=True, comments=True), Kind(include_usage=True))
    assert len(script.offsets) == len(set(script.offsets))
    apart = script_of(replace(TIMED, comments=True), Kind(include_usage=True))
    assert b"".join(script.writes) == b"".join(apart.writes)
    assert len(script.writes) < len(apart.writes)


def test_a_program_is_read_from_the_names_of_its_fields():
    body = json.dumps({"tokens": 3, "newline": "\r\n", "headers": [["x-pod", "a"]]})
    assert read_program(body) == Program(tokens=3, newline="\r\n", headers=(("x-pod", "a"),))
    with pytest.raises(ValueError, match="a program has no ttft: it has"):
        read_program('{"ttft": 5}')
    with pytest.raises(ValueError, match="a JSON object"):
        read_program("[]")


@pytest.mark.parametrize(
    "body",
    ['{"tokens": "x"}', '{"headers": 5}', '{"fault": "nope"}', '{"tokens_per_chunk": 0}', '{"cut": 0}', "{"],
)
def test_a_program_that_no_answer_could_follow_is_refused(body: str):
    with pytest.raises(ValueError, match=r"types: .*`\$\.|1 or more|Expecting"):
        read_program(body)
