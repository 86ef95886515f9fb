"""The cards of calls: five endings that are told apart without colour, and details that stay small."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.model.messages import ResultStatus
from core.operations.events import BackgroundEnded, CallEnded, Shown, ShownKind, StopReport
from tui.base.printable import one_line, readable
from tui.transcript.card import CALLS_LISTED, Card
from tui.transcript.card_details import (
    ARGUMENT_LINES,
    DIFF_LINES,
    HEAD_LINES,
    LINE_CHARACTERS,
    TAIL_LINES,
    argument_blocks,
    result_blocks,
)
from tui.transcript.layout import lay_out
from tui.transcript.markdown.blocks import Blank, CardRow, Code, Prose, Rule, Table
from tui.transcript.markdown.spans import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tui.transcript.markdown.blocks import Block

CLICK = StopReport("click", 0.02, None, processes=4)
REFUSED = StopReport("escape", None, None, ("sleep 1",), 3, ((4711, "sleep"), (4712, "ba\nsh")))


def ended(
    status: ResultStatus = ResultStatus.COMPLETED,
    shown: str | Shown = "12 passed",
    *,
    name: str = "shell",
    title: str = "pytest -q",
    arguments: str = '{"command": "pytest -q"}',
    seconds: float | None = 4.2,
    proof: StopReport | None = None,
) -> CallEnded:
    shown = Shown(shown) if isinstance(shown, str) else shown
    return CallEnded(1, "call-1", name, title, status, shown, arguments, seconds, proof)


def card_of(event: CallEnded) -> Card:
    card = Card(event.name)
    card.start(event.title)
    card.end(event)
    return card


def lines(blocks: Iterable[Block], width: int = 100) -> list[str]:
    found = [line.text.rstrip() for block in blocks for line in lay_out(block, width).lines]
    assert all(cell_len(line) <= width for line in found)
    return found


def row(card: Card, width: int = 100) -> str:
    return lines(card.blocks(folded=True), width)[0]


ENDINGS = {
    "completed": (ended(), "✓ shell  pytest -q  4.2 s ▸"),
    "failed with a code": (
        ended(ResultStatus.FAILED, "Exit code 2.\n1 failed"),
        "✗ shell  pytest -q  exit code 2, 4.2 s ▸",
    ),
    "killed": (
        ended(ResultStatus.FAILED, "Ended by signal 9 (SIGKILL).\nsome output"),
        "✗ shell  pytest -q  killed by signal 9, 4.2 s ▸",
    ),
    "failed with a sentence": (
        ended(ResultStatus.FAILED, "There is no file a.py.\n\nOutput so far:\nx", seconds=None),
        "✗ shell  pytest -q  failed: There is no file a.py. ▸",
    ),
    "failed with much": (ended(ResultStatus.FAILED, "some\noutput"), "✗ shell  pytest -q  failed, 4.2 s ▸"),
    "denied": (ended(ResultStatus.DENIED, "No.", seconds=None), "⊘ shell  pytest -q  denied ▸"),
    "stopped": (
        ended(ResultStatus.STOPPED, proof=CLICK),
        "■ shell  pytest -q  stopped by click after 20 ms: 4 processes ended, 0 alive ▸",
    ),
    "stopped without processes": (
        ended(ResultStatus.STOPPED, proof=StopReport("x", 0.002, None)),
        "■ shell  pytest -q  stopped by x after 2.0 ms ▸",
    ),
    "not started": (
        ended(ResultStatus.NOT_STARTED, seconds=None, proof=CLICK),
        "○ shell  pytest -q  not started ▸",
    ),
}


@pytest.mark.promise("H5", "E6")
@pytest.mark.parametrize(("event", "expected"), ENDINGS.values(), ids=ENDINGS)
def test_an_ending_is_told_without_colour(event: CallEnded, expected: str) -> None:
    assert row(card_of(event)) == expected


@pytest.mark.promise("E6")
def test_what_refused_to_end_is_named_though_the_card_is_folded() -> None:
    assert lines(card_of(ended(ResultStatus.STOPPED, proof=REFUSED)).blocks(folded=True), 140) == [
        "■ shell  pytest -q  stopped by Esc: 3 processes ended, 2 alive; asked to stop, not confirmed: "
        "sleep 1 ▸",
        "  sleep (pid 4711), ba ↵ sh (pid 4712) refused to end: /kill kills them.",
    ]


@pytest.mark.promise("H5")
def test_before_its_end_a_card_says_what_the_call_waits_for() -> None:
    card = Card("shell")
    assert row(card) == "◌ shell  queued"
    card.start("rm -rf build\nls")
    assert row(card) == "● shell  rm -rf build ↵ ls  running"
    card.ask(asking=True)
    assert row(card) == "? shell  rm -rf build ↵ ls  waits for your answer"
    card.ask(asking=False)
    assert row(card) == "● shell  rm -rf build ↵ ls  running"


@pytest.mark.promise("U8")
def test_a_card_that_has_ended_stays_as_it_ended() -> None:
    card = card_of(ended(ResultStatus.STOPPED, "half of it", proof=CLICK))
    before = card.blocks(folded=False)
    card.end(ended(ResultStatus.COMPLETED, "all of it"))
    card.start("something else")
    card.ask(asking=True)
    card.give_up()
    assert card.blocks(folded=False) == before


@pytest.mark.promise("H5")
def test_a_card_without_an_end_claims_none() -> None:
    queued, running = Card("shell"), Card("shell")
    running.start("sleep 300")
    queued.give_up()
    running.give_up()
    assert row(queued) == "○ shell  not started"
    assert row(running) == "! shell  sleep 300  its end was never reported"


@pytest.mark.parametrize("width", [4, 7, 11, 20, 33, 80])
@pytest.mark.parametrize("title", ["a", "漢字かな 👩‍🚀 " * 20, "word " * 60])
def test_a_card_takes_one_row_of_any_width(title: str, width: int) -> None:
    card = card_of(ended(ResultStatus.STOPPED, title=title, proof=CLICK))
    assert len(lines(card.blocks(folded=True), width)) == 1
    if width >= 33:
        assert row(card, width).startswith(f"■ shell  {title[0]}")
        assert "stopped" in row(card, width)


def test_a_card_unfolds_to_arguments_and_output() -> None:
    card = card_of(ended(arguments=json.dumps({"command": "pytest -q", "deadline": 60, "note": "x" * 40})))
    assert lines(card.blocks(folded=False)) == [
        "✓ shell  pytest -q  4.2 s ▾",
        "  arguments",
        "   {",
        '     "command": "pytest -q",',
        '     "deadline": 60,',
        f'     "note": "{"x" * 40}"',
        "   }",
        "  output",
        "   12 passed",
    ]
    assert len(card.blocks(folded=True)) == 1


DIFF = "--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n same\n--- a comment of SQL\n+new\n"


def test_a_diff_is_coloured_and_keeps_its_signs() -> None:
    card = card_of(ended(shown=Shown(DIFF, ShownKind.DIFF), name="edit_file", arguments='{"path": "a.py"}'))
    blocks = card.blocks(folded=False)
    assert lines(blocks)[1:] == [
        "  changes",
        *[f"   {line}" for line in DIFF.rstrip().split("\n")],
        "  arguments",
        '   {"path": "a.py"}',
    ]
    parts = [line.spans[-1][1].part for line in lay_out(blocks[2], 80).lines]
    assert parts == [
        Part.CODE_NAME,
        Part.CODE_NAME,
        Part.CODE_NAME,
        Part.CODE,
        Part.CODE_DELETED,
        Part.CODE_INSERTED,
    ]


def test_markdown_is_laid_out_below_the_card() -> None:
    card = card_of(ended(shown=Shown("It **is**\n- so\n", ShownKind.MARKDOWN), arguments="{}"))
    assert lines(card.blocks(folded=False))[1:] == ["  It is", "  • so"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", []),
        ("{}", []),
        ('{"a": 1', ["  arguments, as they came", '   {"a": 1']),
        ("\x1b[31m", ["  arguments, as they came", ""]),
        ('{"a": "\\u001b[31m"}', ["  arguments", '   {"a": "\\u001b[31m"}']),
    ],
)
def test_arguments_as_they_may_come(arguments: str, expected: list[str]) -> None:
    assert lines(argument_blocks(arguments)) == expected


@pytest.mark.parametrize(
    "shown",
    [
        Shown("x" * 1_000_000),
        Shown("word\n" * 500_000),
        Shown(("\x1b[31m" + "x" * 20 + "\r") * 40_000),
        Shown("漢字\t" * 300_000),
        Shown("+line\n" * 200_000, ShownKind.DIFF),
        Shown("- item\n" * 150_000, ShownKind.MARKDOWN),
        Shown("\x1b]" * 500_000),
        Shown("\u2028" * 1_000_000),
    ],
    ids=["line", "lines", "progress", "wide", "diff", "markdown", "sequences", "separators"],
)
def test_a_huge_output_stays_small(shown: Shown) -> None:
    blocks = result_blocks(shown) + argument_blocks(json.dumps({"content": shown.text}))
    size = 0
    for block in blocks:
        match block:
            case Prose(source=source) | Code(source=source):
                size += len(source)
            case Blank() | Rule() | Table() | CardRow():
                pass
    assert size < (DIFF_LINES + ARGUMENT_LINES + 10) * (LINE_CHARACTERS + 40)


def test_of_many_lines_the_beginning_and_the_end_are_shown_and_the_rest_counted() -> None:
    text = "\n".join(f"line {number}" for number in range(1_000))
    note = "[… 12,345 bytes left out …]"
    found = lines(result_blocks(Shown(text.replace("line 500", note))))
    left_out = 1_000 - HEAD_LINES - TAIL_LINES
    assert found[1 : HEAD_LINES + 1] == [f"   line {number}" for number in range(HEAD_LINES)]
    assert found[HEAD_LINES + 1] == f"  … {left_out} more lines, and of these {note}"
    assert found[HEAD_LINES + 2] == f"   line {1_000 - TAIL_LINES}"
    assert found[-1] == "   line 999"
    all_of_it = lines(result_blocks(Shown("\n".join(text.split("\n")[: HEAD_LINES + TAIL_LINES]))))
    assert not any("more line" in line for line in all_of_it)


def test_an_endless_line_is_cut_and_says_how_much_is_missing() -> None:
    (_, code) = result_blocks(Shown("x" * 1_000_000))
    assert isinstance(code, Code)
    assert code.source == "x" * LINE_CHARACTERS + f"… ({1_000_000 - LINE_CHARACTERS:,} more characters)"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("\x1b[32m3 passed\x1b[0m in \x1b[1;38;5;200m0.1s\x1b[m", "3 passed in 0.1s"),
        ("\x1b]0;a title\x07text \x1b]8;;https://a.b\x1b\\link\x1b]8;;\x1b\\", "text link"),
        ("\x1b(B\x1b[?25lhidden cursor\x1b[?25h\x1b7\x1b8", "hidden cursor"),
        (" 10%\r 50%\r100%\r\nnext\r\n", "100%\nnext\n"),
        ("one\x1b[1Gtwo\x1b[2K\x1b[Gthree", "three"),
        ("|\b/\b-\bdone", "done"),
        ("a\tb", "a   b"),
        ("cut \x1b[3", "cut "),
        # What no terminal would have swallowed is not hidden either.
        ("\x1b]0;no end\nnext", "␛]0;no end\nnext"),
        ("a \x00 b \u202e c", "a ␀ b \ufffd c"),
        ("\x9b31mred", "red"),
    ],
)
def test_output_is_read_as_a_terminal_would_have_left_it(written: str, read: str) -> None:
    assert readable(written) == read


@given(st.text(st.sampled_from("\x1b\x9b\x9d[]0;1mGK\r\n\b\t\x07\\ aP漢\u202e\u2028")))
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    assert readable(text).replace("\n", "").isprintable()
    assert one_line(text).isprintable()


def test_the_calls_of_a_sub_agent_are_counted_and_listed_when_its_card_is_unfolded() -> None:
    agent = Card("agent")
    agent.start("find it")
    first, second = Card("grep", agent), Card("agent", agent)
    first.start("cancel")
    Card("read_file", second)
    assert lines(agent.blocks(folded=True)) == ["● agent  find it  3 calls, running ▸"]
    first.end(ended(name="grep", title="cancel", shown="3 hits"))
    agent.end(ended(name="agent", title="find it", shown="found", arguments="{}"))
    assert lines(agent.blocks(folded=False)) == [
        "✓ agent  find it  3 calls, 4.2 s ▾",
        "  ✓ grep  cancel  4.2 s",
        "  ◌ agent  1 call, queued",
        "    ◌ read_file  queued",
        "  output",
        "   found",
    ]


def test_of_very_many_calls_the_latest_are_listed() -> None:
    agent = Card("agent")
    for number in range(1_000):
        Card("grep", agent).start(f"word {number}")
    found = lines(agent.blocks(folded=False))
    assert found[0] == "◌ agent  1,000 calls, queued ▾"
    assert found[1] == f"  … {1_000 - CALLS_LISTED} earlier calls"
    assert found[-1] == "  ● grep  word 999  running"
    assert len(found) == 2 + CALLS_LISTED


@pytest.mark.parametrize(
    ("code", "proof", "expected"),
    [
        (0, None, "✓ background  npm start  ended, exit code 0 ▸"),
        (1, None, "✗ background  npm start  ended, exit code 1 ▸"),
        (-15, None, "✗ background  npm start  ended, killed by signal 15 ▸"),
        (None, None, "! background  npm start  ended, its exit code is unknown ▸"),
        (-9, CLICK, "■ background  npm start  stopped by click after 20 ms: 4 processes ended, 0 alive ▸"),
    ],
)
def test_the_end_of_a_background_command(code: int | None, proof: StopReport | None, expected: str) -> None:
    card = Card("background")
    card.end_background(BackgroundEnded("b", "npm start", code, Shown("listening"), proof))
    assert lines(card.blocks(folded=True)) == [expected]
    assert lines(card.blocks(folded=False))[1:] == ["  output", "   listening"]
