"""Rows never leave their columns, whatever the text, and never lose a character."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.base.sanitize import printable
from tui.base.wrap import is_single_cell, text_cells, wrap
from tui.transcript.feed import Channel, Feed
from tui.transcript.layout import lay_out
from tui.transcript.markdown.blocks import PLAIN, Prefix, Prose
from tui.transcript.markdown.spans import Look, Part, snap
from tui.transcript.markdown.stream import MarkdownStream

WIDE = "漢字かな한글ｆ"
EMOJI = ["👩‍🚀", "👨‍👩‍👧", "❤️", "🇩🇪", "👍🏽", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☁"]
RIGHT_TO_LEFT = "שלום עולם مرحبا"
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["word ", " ", "a" * 30, WIDE, RIGHT_TO_LEFT, "e\u0301\u0302", "\u0301", "\u0301" * 50, "\t"]
        ),
        st.sampled_from(EMOJI),
    ),
    max_size=20,
).map("".join)
MARKED = st.lists(
    st.one_of(
        TEXTS,
        st.sampled_from(
            ["**", "*", "`", "\n", "\n\n", "- ", "> ", "1. ", "```python\n", "| a | b |\n|---|---|\n", "| "]
        ),
        st.sampled_from(["# ", "[x](https://a.b)", "https://a.b/c", "- [ ] ", "~~", "---\n", "\n  "]),
    ),
    max_size=20,
).map("".join)
WIDTHS = st.integers(4, 60)


def rows(text: str, width: int, cuts: tuple[int, ...] = ()) -> list[str]:
    """Every row of a reply that came in slices."""
    feed = Feed(width)
    borders = [0, *sorted(cuts), len(text)]
    for start, end in pairwise(borders):
        feed.receive(Channel.TEXT, text[start:end])
        feed.read()
        feed.document.settle_end(10)
    feed.end_reply()
    feed.document.settle(0, 1_000_000)
    lines = [line for page in feed.document.pages for line in page.lines or ()]
    for line in lines:
        width_of_segments = sum(cell_len(part) for part, _ in line.spans)
        assert width_of_segments <= width
        assert width_of_segments == sum(text_cells(part) for part, _ in line.spans)
    assert feed.document.height == len(lines)
    return [line.text for line in lines]


def visible(text: str) -> str:
    return "".join(text.split())


@given(MARKED, WIDTHS)
@example("**a**\u0301", 4)
@example("| a | b |\n|---|---|\n| 👩‍🚀👩‍🚀👩‍🚀 | 漢字漢字漢字 |", 10)
def test_rows_are_as_wide_as_they_say_and_fit(text: str, width: int) -> None:
    rows(text, width)


@given(MARKED, WIDTHS, st.lists(st.integers(0, 300), max_size=6).map(tuple))
def test_slices_do_not_matter(text: str, width: int, cuts: tuple[int, ...]) -> None:
    assert rows(text, width, cuts) == rows(text, width)


@given(TEXTS, WIDTHS)
def test_no_character_is_lost(text: str, width: int) -> None:
    text = printable(text).expandtabs(4)
    laid = lay_out(Prose(text, markdown=False), width)
    assert visible("".join(line.text for line in laid.lines)) == visible(text)


@given(st.text("ab ", max_size=200), WIDTHS, st.integers(0, 200))
def test_a_paragraph_in_pieces_looks_like_one(text: str, width: int, at: int) -> None:
    prefix = Prefix((("• ", Look(Part.MARK)),), (("  ", PLAIN),))
    whole = lay_out(Prose(text, prefix, markdown=False), width).lines
    first = lay_out(Prose(text[:at], prefix, markdown=False), width)
    second = lay_out(
        Prose(text[at:], Prefix(prefix.rest, prefix.rest), markdown=False, continues=True), width, first.carry
    )
    assert [line.text.rstrip() for line in first.lines[:-1] + second.lines] == [
        line.text.rstrip() for line in whole
    ]


def test_a_long_paragraph_is_wrapped_as_a_whole() -> None:
    text = " ".join(["word" * (number % 5 + 1) for number in range(2_000)])
    assert rows(text[:10_000], 40) == [text[slice(*row)] for row in wrap(text[:10_000], 40)]
    lines = "\n".join(["some words"] * 500)
    assert rows(lines, 40) == lines.split("\n")


@given(st.characters())
def test_quick_widths_are_true(character: str) -> None:
    if is_single_cell(character) and character.isprintable():
        assert cell_len(character) == 1


@given(TEXTS.filter(bool), st.integers(2, 30), st.booleans())
def test_wrapping_leaves_out_nothing_but_blanks(text: str, width: int, at_words: bool) -> None:
    text = printable(text).replace("\n", "").replace("\t", "")
    position = 0
    for start, end in wrap(text, width, at_words=at_words):
        assert not text[position:start].strip(" ")
        position = end
    assert not text[position:].strip(" ")


def test_graphemes_are_not_torn() -> None:
    for emoji in EMOJI[:-1]:
        text = printable("x" + emoji * 3)
        for start, end in wrap(text, 2):
            assert text[start:end] in ("x", emoji), emoji
    assert snap((("👩", PLAIN), ("\u200d🚀!", CODE_LOOK))) == (("👩\u200d🚀", PLAIN), ("!", CODE_LOOK))


CODE_LOOK = Look(Part.CODE)


def test_a_table_without_room_becomes_records() -> None:
    text = "| name | value |\n|---|---|\n| a | 1 |\n| b | 2 |"
    assert [row.rstrip() for row in rows(text, 20)] == [
        "name │ value",
        "─────┼──────",
        "a    │ 1",
        "b    │ 2",
    ]
    assert "name: a" in rows(text, 10)


def test_one_line_of_a_megabyte() -> None:
    stream = MarkdownStream()
    blocks = stream.feed("x" * 1_000_000) + stream.close()
    assert sum(len(block.source) for block in blocks if isinstance(block, Prose)) == 1_000_000
