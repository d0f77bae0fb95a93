"""Reads one HTTP/1.1 response from stamped pieces of bytes: status, headers, body, each body piece with its stamp.

Sans I/O, and fed as bytes arrive, so it is quick. It decides whether the message was whole; what the body says is not
its business.
"""

from __future__ import annotations

from typing import Final, Literal

HEAD_LIMIT: Final = 65_536
LINE_LIMIT: Final = 1_024
DIGITS_LIMIT: Final = 15
HEXADECIMAL: Final = b"0123456789abcdefABCDEF"


class Malformed(ValueError):
    """The bytes are not an HTTP/1.1 response; one short line says why. It never quotes them."""


class ResponseReader:
    """Feed it pieces in order; then look at what it holds. `complete` says that the message ended as it announced."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.headers_at: int | None = None
        self.body: list[tuple[bytes, int]] = []
        self.complete = False
        self._rest = b""
        self._version = ""
        self._by_close = False
        self._left = 0
        self._expects: Literal["head", "length", "size", "chunk", "chunk end", "trailer", "close", "end"] = "head"

    def feed(self, piece: bytes, at: int) -> None:
        """Take the next bytes, which arrived at `at`. Raises Malformed."""
        if self._expects == "size" and not self._rest:
            piece = self._whole_chunks(piece, at)
            if not piece:
                return
        self._rest += piece
        while self._step(at):
            pass

    def _whole_chunks(self, piece: bytes, at: int) -> bytes:
        """Take the chunks that lie whole in this piece, as nearly all do; return the rest, to be read with care."""
        start = 0
        while (line_end := piece.find(b"\r\n", start, start + 8)) > start:
            digits = piece[start:line_end]
            size = int(digits, 16) if digits.isalnum() and not digits.strip(HEXADECIMAL) else 0
            end = line_end + 2 + size
            if not size or piece[end : end + 2] != b"\r\n":
                break
            self.body.append((piece[line_end + 2 : end], at))
            start = end + 2
        return piece[start:] if start else piece

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request: the message ended, and nobody wants to close."""
        kept = self.headers.get("connection", "").lower() != "close" and self._version != "HTTP/1.0"
        return self.complete and not self._rest and kept and self.status != 101 and not self._by_close

    def close(self) -> None:
        """The peer closed: a body without an announced length is whole now."""
        if self._expects == "close":
            self.complete = self._by_close = True

    def _step(self, at: int) -> bool:
        expects = self._expects
        if expects == "head":
            return self._head(at)
        if expects in ("length", "chunk", "close"):
            return self._data(at)
        if expects == "end" or (line := self._line()) is None:
            return False
        if expects == "size":
            self._size(line)
        elif expects == "chunk end":
            if line:
                raise Malformed("a chunk is longer than it announced")
            self._expects = "size"
        elif not line:  # the empty line after the trailers
            self._end()
        return True

    def _line(self) -> bytes | None:
        line, found, rest = self._rest.partition(b"\r\n")
        if not found:
            if len(self._rest) > LINE_LIMIT:
                raise Malformed("a chunk's header is too long")
            return None
        self._rest = rest
        return line

    def _head(self, at: int) -> bool:
        head, found, rest = self._rest.partition(b"\r\n\r\n")
        if not found:
            if len(self._rest) > HEAD_LIMIT:
                raise Malformed("the response's head is too long")
            if not b"HTTP/1.".startswith(self._rest[:7]):
                raise Malformed("the answer is not HTTP/1.1")
            return False
        self._rest = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, status_line = first.partition(" ")
        code = status_line[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise Malformed("the answer is not HTTP/1.1")
        status = int(code)
        if 100 <= status < 200 and status != 101:  # an interim response: the real one follows
            return True
        self.status, self.headers_at, self._version = status, at, version
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise Malformed("a header without a colon")
            self.headers[name.strip().lower()] = value.strip()
        self._framing(status)
        return True

    def _framing(self, status: int) -> None:
        length = self.headers.get("content-length")
        if status in (101, 204, 304):
            self._end()
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._expects = "size"
        elif length is None:
            self._expects = "close"
        elif not (length.isascii() and length.isdigit() and len(length) <= DIGITS_LIMIT):
            raise Malformed("a Content-Length that is not a number")
        elif int(length) == 0:
            self._end()
        else:
            self._expects, self._left = "length", int(length)

    def _size(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        if not 1 <= len(digits) <= DIGITS_LIMIT or digits.strip(HEXADECIMAL):
            raise Malformed("a chunk's size is not a number")
        self._left = int(digits, 16)
        self._expects = "chunk" if self._left else "trailer"

    def _data(self, at: int) -> bool:
        if not self._rest:
            return False
        bounded = self._expects != "close"
        data = self._rest[: self._left] if bounded else self._rest
        self._rest = self._rest[len(data) :]
        self.body.append((data, at))
        if bounded:
            self._left -= len(data)
            if self._left == 0 and self._expects == "chunk":
                self._expects = "chunk end"
            elif self._left == 0:
                self._end()
        return bool(self._rest)

    def _end(self) -> None:
        self._expects, self.complete = "end", True
