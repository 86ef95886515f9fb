"""Markdown as a stream: the same blocks whatever the slices, bounded pieces, nothing lost."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tui.transcript.markdown.blocks import Blank, Code, Prose, Rule, Table
from tui.transcript.markdown.highlight import highlight, load_lexer, still_open
from tui.transcript.markdown.inline import close_marks, inline_spans
from tui.transcript.markdown.leaves import CODE_LINES, PARAGRAPH, SAMPLE_ROWS, split_row
from tui.transcript.markdown.spans import Look, Part
from tui.transcript.markdown.stream import FRAGMENT, MarkdownStream

if TYPE_CHECKING:
    from tui.transcript.markdown.blocks import Block

LINES = [
    "# Title",
    "text with **bold** and `code`",
    "- item",
    "  - nested",
    "1. one",
    "3) three",
    "> quote",
    "> > deep",
    "```python",
    "```",
    "    x = 1",
    "| a | b |",
    "|---|:-:|",
    "| 1 | 2 | 3 |",
    "===",
    "---",
    "",
    "- [ ] task",
    "\tindented",
    "~~~~",
    "end",
]
DOCUMENTS = st.lists(st.one_of(st.sampled_from(LINES), st.text(max_size=30)), max_size=25).map("\n".join)


def parse(text: str) -> list[Block]:
    stream = MarkdownStream()
    return stream.feed(text) + stream.close()


def texts(blocks: list[Block]) -> list[str]:
    return [
        "".join(text for text, _ in block.prefix.first) + getattr(block, "source", "-") for block in blocks
    ]


@given(DOCUMENTS, st.lists(st.integers(0, 400)))
@example("a" * 3 * FRAGMENT + "\n```\n" + "b" * 3 * FRAGMENT, [1, FRAGMENT, FRAGMENT + 1])
def test_slices_do_not_matter(text: str, cuts: list[int]) -> None:
    stream = MarkdownStream()
    blocks: list[Block] = []
    borders = [0, *sorted(cuts), len(text)]
    for start, end in pairwise(borders):
        blocks += stream.feed(text[start:end])
        stream.tail()
    assert blocks + stream.close() == parse(text)


def test_blocks() -> None:
    blocks = parse(
        "# Title\npara\nline two\n\n- one\n- two\n  1. deep\n> said\n\n"
        "---\n```py\nx\n```\n| a |\n|--:|\n| 1 |"
    )
    assert [type(block) for block in blocks] == [
        Prose, Prose, Blank, Prose, Prose, Prose, Prose, Blank, Rule, Blank, Code, Blank, Table
    ]  # fmt: skip
    assert texts(blocks)[0:9] == [
        "Title", "para\nline two", "-", "• one", "• two", "  1. deep", "▎ said", "-", "-"
    ]  # fmt: skip


def test_ordered_lists_count_and_tasks_have_boxes() -> None:
    assert texts(parse("7. a\n7. b\n\n7. c")) == ["7. a", "8. b", "-", "9. c"]
    assert texts(parse("- [ ] open\n- [x] done\n-\n- end")) == ["☐ open", "☑ done", "• ", "• end"]


def test_text_that_only_looks_like_markup() -> None:
    assert texts(parse("born in\n1984. Then\n2. no list")) == ["born in\n1984. Then\n2. no list"]
    assert texts(parse("a | b\nno table")) == ["a | b\nno table"]
    assert texts(parse("    not code\n[bold]x[/bold]")) == ["not code\n[bold]x[/bold]"]


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("", "word and more words\n"),
        ("", "endless paragraph, "),
        ("", "x"),
        ("```js\n", "let x = 1\n"),
        ("```\n", "x"),
        ("", "- an item\n"),
        ("| a | b |\n|---|---|\n", "| 1 | 2 |\n"),
        ("- > ", "deep text "),
        ("# ", "heading "),
    ],
)
def test_what_is_open_stays_small(head: str, line: str) -> None:
    stream = MarkdownStream()
    stream.feed(head)
    most = PARAGRAPH + FRAGMENT
    for _ in range(400):
        blocks = stream.feed(line * 10)
        for block in blocks + stream.tail():
            match block:
                case Prose(source=source):
                    assert len(source) <= most
                case Code(source=source):
                    assert source.count("\n") <= CODE_LINES
                    assert len(source) <= 2 * PARAGRAPH
                case Table(rows=rows):
                    assert len(rows) <= SAMPLE_ROWS


def test_rows_of_a_table() -> None:
    assert split_row(r"| a \| b | c |") == ("a | b", "c")
    assert split_row("a|") == ("a",)
    (table,) = parse("| a | b |\n|---|---|\n| 1 |\n| 1 | 2 | 3 |")
    assert isinstance(table, Table)
    assert table.rows == (("1", ""), ("1", "2 | 3"))


def test_marks_do_not_flicker() -> None:
    """Marks that are half written do not show, and what they mark is marked already."""
    stream = MarkdownStream()
    seen: list[str] = []
    for character in "a **bold** b\n## Head\n- item\n```py\ncode\n```\n":
        stream.feed(character)
        tail = [block for block in stream.tail() if isinstance(block, Prose)]
        seen += [
            "".join(text for text, _ in inline_spans(close_marks(block.source), block.look)) for block in tail
        ]
    assert not [text for text in seen if set(text) & set("*#`")]
    assert close_marks("say **bo") == "say **bo**"
    assert close_marks("a `co") == "a `co`"
    assert close_marks("see [here](https://ex") == "see here"
    assert close_marks("2 * 3 * 4 and snake_case_name") == "2 * 3 * 4 and snake_case_name"


def test_inline_markup() -> None:
    look = Look()
    assert inline_spans("a **b** *c* ~~d~~ `e`", look) == (
        ("a ", look),
        ("b", look._replace(bold=True)),
        (" ", look),
        ("c", look._replace(italic=True)),
        (" ", look),
        ("d", look._replace(strike=True)),
        (" ", look),
        ("e", Look(Part.INLINE_CODE)),
    )
    link = Look(Part.LINK, link="https://a.example/b_(c)")
    assert inline_spans("(https://a.example/b_(c)).", look) == (
        ("(", look),
        ("https://a.example/b_(c)", link),
        (").", look),
    )
    assert inline_spans("[x](https://a.example/b_%28c)", look)[0][1].link == "https://a.example/b_%28c"
    assert inline_spans("[x](docs/y.md)", look) == (("x", look), (" (docs/y.md)", look))
    assert inline_spans("a\nb  \nc", look) == (
        ("a", look),
        ("\n", look),
        ("b", look),
        ("\n", look),
        ("c", look),
    )


def test_entities_are_no_way_around_the_sanitizer() -> None:
    shown = "".join(text for text, _ in inline_spans("&#x202e; &#8203; &#27; `\u202e` &lt;", Look()))
    assert not set(shown) & set("\u202e\u200b\x1b")
    assert "<" in shown


def test_open_comments_and_strings_are_carried_on() -> None:
    assert still_open("python", 'x = """doc', "") == '"""'
    assert still_open("python", "# it's\nx = 'a'", "") == ""
    assert still_open("python", 'more\n"""\ny = 1', '"""') == ""
    assert still_open("js", "/* a\n", "") == "/*"
    assert still_open("js", '"/*"  // `', "") == ""
    assert still_open("brainfuck", "/*", "") == ""


def test_a_long_comment_is_one_in_every_piece() -> None:
    text = "\n".join(f"line {number}" for number in range(2 * CODE_LINES))
    blocks = parse(f'```python\n"""doc\n{text}\n"""\nx = 1\n```')
    assert [block.opened_by for block in blocks if isinstance(block, Code)] == ["", '"""', '"""']


def test_code_is_coloured_line_by_line() -> None:
    load_lexer("python")
    load_lexer("javascript")
    source = "def f():\n\n    return 'a'  # b"
    lines = highlight(Code(source, "python"))
    assert ["".join(text for text, _ in line) for line in lines] == source.split("\n")
    assert ("'a'", Look(Part.CODE_STRING)) in [(text.strip(), look) for text, look in lines[2]]
    (inside,) = highlight(Code("return 1", "python", opened_by='"""'))
    assert {look.part for _, look in inside} == {Part.CODE_STRING}
    (unclosed,) = highlight(Code("/* const x = 1", "javascript"))
    assert {look.part for _, look in unclosed} == {Part.CODE_COMMENT}


@given(
    st.sampled_from(["python", "javascript", "nonsense"]),
    st.text(st.characters(exclude_categories=["C"]), max_size=60),
)
def test_colours_change_no_character(language: str, source: str) -> None:
    for name in ("python", "javascript"):
        load_lexer(name) if name == language else None
    lines = highlight(Code(source, language))
    assert "\n".join(["".join(text for text, _ in line) for line in lines]) == source
