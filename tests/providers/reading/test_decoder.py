"""The formats of a stream, as they are specified, and the bounds of what is kept of one."""

from __future__ import annotations

import pytest

from providers.reading import decoder as decoding
from providers.reading.decoder import Decoder, Event, TooLong


def events(body: bytes) -> list[Event]:
    decoder = Decoder()
    return [*decoder.feed(body), *decoder.finish()]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\n", [("", "a")]),
        (b"data:a\n\n", [("", "a")]),
        (b"data:  a\n\n", [("", " a")]),
        (b"data: a\ndata: b\n\n", [("", "a\nb")]),
        (b"data\n\n", [("", "")]),
        (b"data: a\n\n\n\ndata: b\n\n", [("", "a"), ("", "b")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a"), ("", "b")]),
        (b"event: x\n\ndata: b\n\n", [("", "b")]),
        (b"data: a\nevent: x\n\n", [("x", "a")]),
        (b": comment\nid: 1\nretry: 5\nfoo: bar\ndata: a\n\n", [("", "a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", "a"), ("", "b")]),
        (b"data: a\r\rdata: b\r\r", [("", "a"), ("", "b")]),
        (b"data: a\r\ndata: b\n\r", [("", "a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b"data: \xff\xfe\n\n", [("", "\ufffd\ufffd")]),
        ("data: a\u2028b\u0085c\n\n".encode(), [("", "a\u2028b\u0085c")]),
        (b"data: a", [("", "a")]),
        (b'{"a": 1}\n{"b": 2}\n', [("", '{"a": 1}'), ("", '{"b": 2}')]),
        (b'{"a": 1}\n\nno json\n', [("", '{"a": 1}'), ("", "no json")]),
        (b'data: a\n\n{"error": 1}\n\n', [("", "a"), ("", '{"error": 1}')]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_events(body: bytes, expected: list[Event]) -> None:
    assert events(body) == expected
    decoder = Decoder()
    one_by_one = [event for byte in body for event in decoder.feed(bytes([byte]))]
    assert [*one_by_one, *decoder.finish()] == expected


def test_an_event_is_there_with_its_blank_line_and_not_before() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [("", "a")], "a CR ends its line at once"
    assert decoder.feed(b"\ndata: b\n\n") == [("", "b")]


@pytest.mark.parametrize(
    "body", ['{\n "a": 1\n}', "[1,\n2]", "<html>\n</html>", "Internal Server Error", '"a"']
)
def test_what_is_no_stream_is_kept_whole(body: str) -> None:
    decoder = Decoder()
    assert [event for byte in body.encode() for event in decoder.feed(bytes([byte]))] == []
    assert decoder.finish() == []
    assert decoder.document == body


@pytest.mark.promise("P6")
def test_a_line_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_BYTES_OF_A_LINE", 100)
    decoder = Decoder()
    assert decoder.feed(b"data: a\n\ndata: " + 101 * b"x") == [("", "a")], "what came before is not lost"
    with pytest.raises(TooLong):
        decoder.feed(b"x")
    with pytest.raises(TooLong):
        decoder.finish()


@pytest.mark.promise("P6")
def test_a_document_has_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_BYTES_OF_A_DOCUMENT", 100)
    decoder = Decoder()
    decoder.feed(60 * b"<p>\n")
    with pytest.raises(TooLong):
        decoder.feed(b"<p>\n")
