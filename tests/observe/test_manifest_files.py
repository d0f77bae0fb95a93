"""Reading text never hangs, never reads too much, and says in one line what is wrong and whose it is."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path

import pytest

from serving.errors import CannotObserve, Refused, WarmgateError
from serving.observe.manifest_files import MOST_BYTES, read_file, read_stream, walk


def said(error: pytest.ExceptionInfo[WarmgateError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param("a: é\n".encode("utf-16"), "UTF-16, which kubectl does not read: save it as UTF-8", id="utf-16"),
        pytest.param("a: é\n".encode("utf-32"), "UTF-32, which kubectl does not read: save it as UTF-8", id="utf-32"),
        pytest.param(b"a: 1\nb: \xe9\n", "x.yaml:2: not UTF-8: save it as UTF-8", id="latin-1"),
        pytest.param(b"a: 1\n\n\0", "x.yaml:3: a zero byte", id="zero-byte"),
        pytest.param(b"\x1f\x8b\x08\x00", "x.yaml:1: a zero byte", id="gzip"),
    ],
)
def test_what_is_no_utf_8_text_is_refused(data: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(data)
    with pytest.raises(Refused) as refused:
        read_file(file)
    assert expected in said(refused)
    with pytest.raises(Refused) as refused:
        read_stream(io.BytesIO(data))
    assert said(refused).startswith("stdin:")


def test_a_byte_order_mark_of_utf_8_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_file(file) == "a: 1\r\n"


def test_a_file_of_50_megabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)
    began = time.perf_counter()
    with pytest.raises(Refused, match=r"over 32 MiB, .*: split it, or name the right file"):
        read_file(file)
    assert time.perf_counter() - began < 0.5


class Endless(io.RawIOBase):
    """A stream without an end that counts what was read of it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= MOST_BYTES + 1
        self.taken += size
        return b"a" * size


def test_a_stream_without_an_end_is_refused_after_its_bound() -> None:
    stream = Endless()
    with pytest.raises(Refused, match="stdin: over 32 MiB"):
        read_stream(stream)  # type: ignore[arg-type]
    assert stream.taken == MOST_BYTES + 1


def test_a_pipe_a_socket_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(Refused, match="no regular file: to read from a pipe give `-`"):
            read_file(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.yaml"))
        with pytest.raises(CannotObserve, match=r"s\.yaml: cannot be read"):
            read_file(tmp_path / "s.yaml")


def test_whose_fault_it_is_decides_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.yaml").symlink_to("gone.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(Refused, match=r"no\.yaml: no such file or directory: check the path"):
        read_file(tmp_path / "no.yaml")
    with pytest.raises(CannotObserve, match=r"link\.yaml: a link to gone\.yaml, which is not there: mend or remove"):
        read_file(tmp_path / "link.yaml")
    with pytest.raises(CannotObserve, match=r"loop\.yaml: cannot be read \(too many levels of symbolic links\)"):
        read_file(tmp_path / "loop.yaml")

    def forbid(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbid)
    with pytest.raises(CannotObserve, match=r"x\.yaml: no permission to read it: change its mode"):
        read_file(tmp_path / "x.yaml")


def test_a_directory_is_walked_once_in_order_whatever_its_links(tmp_path: Path) -> None:
    for name in ("b/2.yml", "b/1.YAML", "a/3.json", "a/notes.txt", ".git/x.yaml", "c/.hidden.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "b")
    (tmp_path / "broken.yaml").symlink_to("gone")
    os.mkfifo(tmp_path / "c" / "pipe.yaml")
    entered: list[str] = []

    def enter(directory: Path, names: list[str]) -> bool:
        entered.append(directory.name)
        return True

    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path, enter)]
    assert found == ["broken.yaml", "a/3.json", "b/1.YAML", "b/2.yml"]
    assert entered == [tmp_path.name, "a", "b", "c"]
