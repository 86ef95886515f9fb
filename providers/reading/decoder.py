"""From the bytes of a reply to its events, exactly as the formats are specified.

Two formats of a stream: server-sent events (WHATWG HTML, 9.2) and one JSON object a line. Which of them it is
shows in the first line that is not blank, and not in a header, which servers get wrong. A body that is
neither, such as a JSON document or a web page, is kept whole.

Lines end with CR, LF or CR LF and with nothing else: a reply may contain U+2028, U+2029 or U+0085.
"""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES_OF_A_LINE = 8 * 1024 * 1024
MOST_BYTES_OF_A_DOCUMENT = 64 * 1024 * 1024
BOM = b"\xef\xbb\xbf"

Event = tuple[str, str]
"""Its name, empty if it has none, and its data."""


class TooLong(Exception):
    """A line or a document without an end within the bound."""


class Decoder:
    """`feed` takes bytes as they come and returns the events that they complete.

    `finish` returns the last one, for a server that leaves out the blank line after it. `document` is the
    text of a body that is no stream, from `finish` on. A reply that is asked for as a whole has longer lines.

    `TooLong` is raised by the call after the one that passed the bound, so that no event is lost with it.
    """

    __slots__ = (
        "_after_cr", "_bare_objects", "_begun", "_data", "_document", "_is_stream", "_line", "_most",
        "_name", "_size",
    )  # fmt: skip

    def __init__(self, *, streaming: bool = True) -> None:
        self._most = MOST_BYTES_OF_A_LINE if streaming else MOST_BYTES_OF_A_DOCUMENT
        self._line: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._begun = False
        self._name = ""
        self._data: list[bytes] = []
        self._is_stream = False
        self._bare_objects = 0
        self._document: list[bytes] | None = None

    @property
    def document(self) -> str | None:
        return None if self._document is None else b"\n".join(self._document).decode("utf-8", "replace")

    @property
    def is_document(self) -> bool:
        """Whether what has come is one document: one object in a line of its own is one too."""
        return self._document is not None or self._bare_objects == 1

    def feed(self, data: bytes) -> list[Event]:
        if self._size > self._most:
            raise TooLong
        events: list[Event] = []
        for line in self._lines(data):
            self._take(line, events)
        return events

    def finish(self) -> list[Event]:
        if self._size > self._most:
            raise TooLong
        events: list[Event] = []
        if self._line:
            self._take(self._unmarked(b"".join(self._line)), events)
            self._line.clear()
        self._dispatch(events)
        return events

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. A CR ends its line at once, and an LF right after it is dropped:
        to wait for that one would show each line one chunk late."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        if lines:
            if self._line:
                lines[0] = b"".join((*self._line, lines[0]))
                self._line.clear()
            if self._document is None:
                self._size = 0
            lines[0] = self._unmarked(lines[0])
            self._begun = True
        if rest:
            self._line.append(rest)
            self._size += len(rest)
        return lines

    def _unmarked(self, line: bytes) -> bytes:
        """The first line without the byte order mark that it may begin with."""
        return line if self._begun else line.removeprefix(BOM)

    def _take(self, line: bytes, events: list[Event]) -> None:
        if self._document is not None:
            self._size += len(line)
            self._document.append(line)
        elif self._bare_objects:
            if line.strip():
                self._bare_objects += 1
                events.append(("", line.decode("utf-8", "replace")))
        elif not line:
            self._dispatch(events)
        elif line[:5] == b"data:":
            self._is_stream = True
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        else:
            self._take_rare(line, events)

    def _take_rare(self, line: bytes, events: list[Event]) -> None:
        field, _, value = line.partition(b":")
        match field:
            case b"data":
                self._is_stream = True
                self._data.append(b"")
            case b"event":
                self._is_stream = True
                self._name = value.removeprefix(b" ").decode("utf-8", "replace")
            case b"" | b"id" | b"retry":
                self._is_stream = True
            case _ if line.lstrip()[:1] == b"{" and not self._data and _is_object(line):
                # Ollama's format; and how some servers report an error in the middle of an event stream.
                self._bare_objects = int(not self._is_stream)
                events.append(("", line.decode("utf-8", "replace")))
            case _ if not self._is_stream and line.strip():
                self._document = [line]
                self._size = len(line)
                self._most = MOST_BYTES_OF_A_DOCUMENT
            case _:
                pass  # a field without a meaning, which the specification says to ignore

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            # As the specification says, what is not UTF-8 becomes U+FFFD.
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append((self._name, data.decode("utf-8", "replace")))
            self._data.clear()
        self._name = ""


def _is_object(line: bytes) -> bool:
    try:
        read: Any = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict)
