"""Cutting what was read into keys: no terminal, no clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.terminal.driver import escape_wait
from tui.terminal.interrupt import InterruptKey
from tui.terminal.keystream import LARGE_READ, Answer, Chord, KeyStream, Pasted, Pressed, Sequence, Text, Unit

ESCAPE = Pressed(InterruptKey.ESCAPE, "\x1b")
CTRL_C = Pressed(InterruptKey.CTRL_C, "\x03")

pytestmark = pytest.mark.promise("E5")


def local() -> KeyStream:
    return KeyStream(escape_wait=0.0)


def remote() -> KeyStream:
    return KeyStream(escape_wait=0.025)


def typed(*reads: str, stream: KeyStream | None = None) -> list[Unit]:
    """Reads that each come alone, with a silence after the last."""
    stream = stream or local()
    units = [unit for data in reads for unit in stream.feed(data, more=False)]
    return units + stream.expire()


def joined(units: list[Unit]) -> list[Unit]:
    """Without the traces of how text was cut."""
    result: list[Unit] = []
    for unit in units:
        if isinstance(unit, Text) and result and isinstance(last := result[-1], Text):
            result[-1] = Text(last.characters + unit.characters)
        else:
            result.append(unit)
    return result


@pytest.fixture
def stream() -> KeyStream:
    return local()


def test_a_lone_escape_is_taken_at_once_on_a_local_terminal(stream: KeyStream) -> None:
    assert stream.feed("\x1b", more=False) == [ESCAPE]
    assert stream.patience is None
    assert stream.feed("\x1b\x1b", more=False) == [ESCAPE, ESCAPE]


def test_a_lone_escape_waits_for_silence_over_ssh() -> None:
    stream = remote()
    assert stream.feed("\x1b", more=False) == []
    assert stream.patience == pytest.approx(escape_wait({"SSH_CONNECTION": "10.0.0.1 22"}))
    assert stream.expire() == [ESCAPE]
    assert escape_wait({}) == 0.0


def test_an_arrow_in_two_reads_is_no_escape_over_ssh() -> None:
    assert typed("\x1b", "[A", stream=remote()) == [Sequence("\x1b[A")]


def test_an_arrow_cut_by_a_full_buffer_is_no_escape() -> None:
    arrows = "\x1b[A" * LARGE_READ
    for cut in range(1, 7):
        stream = local()
        units = stream.feed(arrows[:-cut], more=False) + stream.feed(arrows[-cut:], more=False)
        assert units == [Sequence("\x1b[A")] * LARGE_READ


def test_an_escape_with_its_rest_still_unread_is_no_escape(stream: KeyStream) -> None:
    assert stream.feed("\x1b", more=True) == []
    assert stream.feed("[A", more=False) == [Sequence("\x1b[A")]
    assert stream.feed("abc", more=True) == [Text("abc")]
    assert stream.feed("\x1b", more=False) == []
    assert stream.expire() == [ESCAPE]


def test_a_lone_escape_right_after_a_full_buffer_waits(stream: KeyStream) -> None:
    stream.feed("x" * LARGE_READ, more=False)
    assert stream.feed("\x1b", more=False) == []
    assert stream.feed("[A", more=False) == [Sequence("\x1b[A")]
    assert stream.feed("\x1b", more=False) == [ESCAPE]


def test_an_escape_after_text_is_a_key_when_nothing_follows() -> None:
    assert typed("abc\x1b") == [Text("abc"), ESCAPE]


@pytest.mark.parametrize(
    ("data", "units"),
    [
        ("\x1bx", [Chord("x")]),
        ("\x1b\r", [Chord("\r")]),
        ("\x1bé", [Chord("é")]),
        ("\x1b[", [Chord("[")]),
        ("\x1bO", [Chord("O")]),
        ("\x1bParis", [Chord("P"), Text("aris")]),
        ("\x1b]", [Chord("]")]),
        ("\x1b\x03", [ESCAPE, CTRL_C]),
        ("\x1b\x1b[A", [ESCAPE, Sequence("\x1b[A")]),
        ("a\x03b", [Text("a"), CTRL_C, Text("b")]),
        ("\x1b[1;\x03", [CTRL_C]),
        ("\x1b[1;\x1b[A", [Sequence("\x1b[A")]),
        ("\x1b[23$", [Sequence("\x1b[23$")]),
        ("\x1b[[A", [Sequence("\x1b[[A")]),
        ("\x1b[M !!", [Sequence("\x1b[M !!")]),
        ("\x1b[?62;22c\x1b[?1u\x1b[>0;276;0c", []),
        ("\x1b[?2026;2$y", [Sequence("\x1b[?2026;2$y")]),
        ("\x1bP1+r544e\x1b\\\x1b]11;rgb:1e1e/1e1e/1e1e\x07", [Answer("\x1b]11;rgb:1e1e/1e1e/1e1e\x07")]),
        ("\x1b[99999999u\x1b[2000000;5A", []),
        ("\x1b[97:65;2;65u", [Sequence("\x1b[97;2;65u")]),
        ("\x1b[1;1:3A", []),
        ("\x1b[1;3:1A", [Sequence("\x1b[1;3A")]),
    ],
)
def test_what_is_one_unit(data: str, units: list[Unit]) -> None:
    assert typed(data) == units


def test_typing_goes_on_after_alt_and_a_bracket(stream: KeyStream) -> None:
    units = [unit for read in ("\x1b]", "a", "b") for unit in stream.feed(read, more=False)]
    assert joined(units) == [Chord("]"), Text("ab")]


def test_a_paste_is_one_unit_wherever_it_is_cut() -> None:
    data = "a\x1b[200~x\x1b[20y\r\x03z\x1b[201~b"
    for first in range(len(data)):
        for second in range(first, len(data)):
            stream = local()
            units = stream.feed(data[:first], more=True) + stream.feed(data[first:second], more=True)
            units += stream.feed(data[second:], more=False)
            assert joined(units) == [Text("a"), Pasted("x\x1b[20y\r\x03z"), Text("b")]


@pytest.mark.parametrize(
    ("key", "press"),
    [
        ("\x1b", ESCAPE),
        ("\x03", CTRL_C),
        ("\x1b[27u", Pressed(InterruptKey.ESCAPE, "\x1b[27u")),
        ("\x1b[99;5u", Pressed(InterruptKey.CTRL_C, "\x1b[99;5u")),
    ],
)
@pytest.mark.parametrize("stream", [local(), remote()], ids=["local", "remote"])
def test_a_key_of_its_own_ends_an_open_paste_and_keeps_its_text(
    stream: KeyStream, key: str, press: Pressed
) -> None:
    assert stream.feed("\x1b[200~some text", more=False) == []
    assert stream.expire() == []
    assert stream.feed(key, more=False) == []
    assert stream.patience is not None
    assert stream.expire() == [Pasted("some text"), press]
    assert stream.feed("b", more=False) == [Text("b")]


def test_an_end_mark_that_comes_late_still_ends_the_paste(stream: KeyStream) -> None:
    assert stream.feed("\x1b[200~text\x1b", more=False) == []
    assert stream.expire() == []
    assert stream.feed("[201~", more=False) == [Pasted("text")]


def test_each_press_in_an_open_paste_counts_once(stream: KeyStream) -> None:
    stream.feed("\x1b[200~text\x1b", more=False)
    stream.expire()
    stream.feed("\x1b", more=False)
    stream.feed("\x1b", more=False)
    assert stream.expire() == [Pasted("text\x1b"), ESCAPE, ESCAPE]


WHOLE_KEYS = (
    "a", "é", "漢", "\r", "\t", "\x7f", "\x03", "\x1b[A", "\x1bOP", "\x1b[15~", "\x1b[1;5C", "\x1b[<35;10;5M",
    "\x1b[I", "\x1b[97;3u", "\x1b[27u", "\x1b[27;1:3u", "\x1b[99;6u", "\x1b\x1b[B", "\x1bx", "\x1b\r",
    "\x1b[200~pasted\x1b[A\x03\x1b[201~", "\x1b[48;24;80;480;640t", "\x1b[?2026;2$y",
)  # fmt: skip


@given(keys=st.lists(st.sampled_from(WHOLE_KEYS), max_size=8), cuts=st.sets(st.integers(0, 80)))
def test_where_a_read_ends_changes_nothing(keys: list[str], cuts: set[int]) -> None:
    data = "".join(keys)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    whole, cut = local(), local()
    expected = whole.feed(data, more=False)
    units = [
        unit for start, end in pairwise(places) for unit in cut.feed(data[start:end], more=end < len(data))
    ]
    assert joined(units) == joined(expected)


@given(st.text(alphabet="\x1b\x03[]OPMu~;:?<$0127aA\x07\\\r é", max_size=40))
def test_nothing_read_can_raise_and_no_plain_character_is_lost(data: str) -> None:
    stream = local()
    units = stream.feed(data, more=False)
    units += stream.expire()
    if "\x1b" not in data:
        assert "".join(unit.characters for unit in units if isinstance(unit, Text)) == data.replace(
            "\x03", ""
        )
