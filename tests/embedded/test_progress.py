from __future__ import annotations

import io

from serving.embedded.progress import on_stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_each_quarter_is_a_line() -> None:
    stream = io.StringIO()
    show = on_stream(stream)
    show("waiting", 0, 0)
    for done in range(101):
        show("converting", done, 100)
    assert stream.getvalue().splitlines() == [
        "waiting ...",
        *(f"converting: {part} %" for part in (0, 25, 50, 75, 100)),
    ]


def test_on_a_terminal_one_line_redraws_itself_and_ends_when_done() -> None:
    stream = Terminal()
    show = on_stream(stream)
    show("downloading", 50, 100)
    assert stream.getvalue().endswith("[###############               ]  50 %")
    show("converting", 0, 100)
    show("converting", 100, 100)
    assert stream.getvalue().count("\n") == 2
    assert stream.getvalue().endswith("100 %\n")
