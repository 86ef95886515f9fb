"""Text of others can neither command the terminal nor disturb its columns."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.base.sanitize import PrintableStream, hyperlink_target, printable

FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
TRICKY = st.text(
    st.one_of(
        st.sampled_from(
            "\r\n\t\x1b\x07\x9b\x7f\u200d\u200b\u202e\u2066\ud83d\ude00\u00ad\U0001f468\U0001f3fd\ufe0f❤"
        ),
        st.sampled_from("\U0001f3f4\U000e0067\U000e0062\U000e007f\U0001f1e9\U0001f1ea\u2028ab [/]"),
        st.characters(),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold]text[/bold]\n\ttab", "plain [bold]text[/bold]\n\ttab"),
        ("\x1b[31mred\x07\x00\x7f", "␛[31mred␇␀␡"),
        ("\x9b31m", "\ufffd31m"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo␍three\nfour"),
        ("a\u202eb\u2066c", "a\ufffdb\ufffdc"),
        ("a\u200bb\u200ec\u00add\ufeffe\u3164f", "abcdef"),
        ("a\u200db", "ab"),
        ("👩\u200d🚀 🏳\ufe0f\u200d🌈 👍🏽 🇩🇪", "👩\u200d🚀 🏳\ufe0f\u200d🌈 👍🏽 🇩🇪"),
        ("🏴\U000e0067\U000e0062\U000e007f x\U000e0067y", "🏴\U000e0067\U000e0062\U000e007f xy"),
        ("\ud83d\ude00 \ud83d \ude00", "😀 \ufffd \ufffd"),
        ("שלום 漢字 e\u0301", "שלום 漢字 e\u0301"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(TRICKY)
def test_nothing_forbidden_is_left(text: str) -> None:
    assert FORBIDDEN.search(printable(text)) is None


@given(TRICKY, st.lists(st.integers(0, 60)))
def test_slices_do_not_matter(text: str, cuts: list[int]) -> None:
    stream = PrintableStream()
    borders = [0, *sorted(cuts), len(text)]
    slices = [text[start:end] for start, end in pairwise(borders)]
    assert "".join([stream.feed(piece) for piece in slices]) + stream.close() == printable(text)


@pytest.mark.parametrize(
    "text", ["a\r\nb", "\ud83d\ude00", "👩\u200d🚀", "🏴\U000e0067\U000e007f", "❤\ufe0f\u200d🔥"]
)
def test_character_by_character(text: str) -> None:
    stream = PrintableStream()
    assert "".join([stream.feed(character) for character in text]) + stream.close() == printable(text)


@given(st.text(st.characters(exclude_categories=("C", "M", "Z")), max_size=40))
def test_what_can_be_seen_stays(text: str) -> None:
    blank = "\u115f\u1160\u3164\uffa0"
    assert printable(text) == "".join([character for character in text if character not in blank])


@pytest.mark.parametrize("url", ["https://example.org/a?b=c#d", "http://[::1]:8080/", "mailto:a@b.example"])
def test_links_that_a_terminal_may_open(url: str) -> None:
    assert hyperlink_target(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://a\x1b]8;;",
        "https://a b",
        "https://ä.example",
        "",
        "//x",
    ],
)
def test_links_that_it_may_not(url: str) -> None:
    assert hyperlink_target(url) is None
