"""What the terminal says of itself is read, is never a key, and keeps no key waiting."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tui.terminal.interrupt import InterruptKey
from tui.terminal.keystream import (
    CUT_WAIT,
    SEQUENCE_WAIT,
    Answer,
    Chord,
    KeyStream,
    Pasted,
    Pressed,
    Sequence,
    Text,
    Unit,
)
from tui.terminal.looks import (
    Scheme,
    TerminalLooks,
    has_few_colours,
    may_ask,
    read_answer,
    scheme_of_environment,
)

ESCAPE = Pressed(InterruptKey.ESCAPE, "\x1b")
ANSWERS = (
    "\x1b]11;rgb:1e1e/1e1e/1e1e\x07",
    "\x1b]11;rgb:ff/ff/ff\x1b\\",
    "\x1b]11;rgba:ffff/0000/ffff/ffff\x1b\\",
    "\x1b]11;#fafafa\x07",
    "\x1b[?997;1n",
    "\x1b[?997;2n",
)


def local() -> KeyStream:
    return KeyStream(escape_wait=0.0)


@pytest.fixture
def stream() -> KeyStream:
    return local()


@pytest.mark.parametrize(
    ("answer", "scheme"),
    [
        (ANSWERS[0], Scheme.DARK),
        (ANSWERS[1], Scheme.LIGHT),
        ("\x1b]11;rgb:f/f/e\x07", Scheme.LIGHT),
        ("\x1b]11;rgb:0000/2b2b/3636\x1b\\", Scheme.DARK),
        ("\x1b]11;rgb:fdfd/f6f6/e3e3\x1b\\", Scheme.LIGHT),
        (ANSWERS[2], Scheme.LIGHT),
        (ANSWERS[3], Scheme.LIGHT),
        ("\x1b]11;#111122223333\x07", Scheme.DARK),
        (ANSWERS[4], Scheme.DARK),
        (ANSWERS[5], Scheme.LIGHT),
        ("\x1b[?997;3n", None),
        ("\x1b]11;?\x07", None),
        ("\x1b]11;rgb:1/2\x07", None),
        ("\x1b]11;mauve\x07", None),
        ("\x1b]10;rgb:ff/ff/ff\x07", None),
        ("\x1b]11;rgb:" + "f" * 99 + "\x07", None),
        ("rgb:ff/ff/ff", None),
    ],
)
def test_an_answer_says_dark_or_light(answer: str, scheme: Scheme | None) -> None:
    assert read_answer(answer) is scheme


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("15;0", Scheme.DARK),
        ("0;15", Scheme.LIGHT),
        ("0;default;15", Scheme.LIGHT),
        ("12;8", Scheme.DARK),
        ("0;7", Scheme.LIGHT),
        ("7", Scheme.LIGHT),
        ("0;default", None),
        ("0;99", None),
        ("0;²", None),
        ("0;" + "9" * 9999, None),
        ("", None),
    ],
)
def test_the_environment_may_say_it(said: str, scheme: Scheme | None) -> None:
    assert scheme_of_environment({"COLORFGBG": said}) is scheme
    assert scheme_of_environment({}) is None


def test_where_the_question_would_be_drawn_none_is_asked() -> None:
    for term in ("dumb", "linux", "linux-16color", "unknown", "", "vt100", "eterm-color"):
        assert not may_ask({"TERM": term})
    for term in ("xterm", "xterm-256color", "tmux-256color", "screen", "xterm-kitty", "alacritty", "foot"):
        assert may_ask({"TERM": term})
    assert not may_ask({})


@pytest.mark.parametrize("colorterm", ["", "truecolor", "24bit", "yes"])
@pytest.mark.parametrize(
    "term",
    [
        "xterm",
        "xterm-256color",
        "linux",
        "screen",
        "tmux-256color",
        "xterm-kitty",
        "xterm-16color",
        "foot",
        "",
    ],
)
def test_few_colours_are_those_that_are_painted_with_few(term: str, colorterm: str) -> None:
    environment = {"TERM": term, "COLORTERM": colorterm}
    painted = Console(force_terminal=True, _environ=environment).color_system
    assert has_few_colours(environment) is (painted == "standard")


def test_what_is_known_of_a_terminal_before_it_answers() -> None:
    assert TerminalLooks.of({"TERM": "linux"}) == TerminalLooks(Scheme.DARK, few_colours=True)
    assert TerminalLooks.of({"TERM": "xterm-256color", "NO_COLOR": ""}) == TerminalLooks(no_colours=True)
    known = TerminalLooks.of({"TERM": "rxvt-256color", "COLORFGBG": "0;15"})
    assert known == TerminalLooks(Scheme.LIGHT, few_colours=False)


# -- answers among keys --


@pytest.mark.promise("E5")
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_no_key_wherever_it_is_cut(answer: str) -> None:
    for first in range(1, len(answer)):
        for second in range(first, len(answer)):
            stream = local()
            units: list[Unit] = []
            for start, end in pairwise((0, first, second, len(answer))):
                if data := answer[start:end]:
                    # The first ESC on its own is the key: nobody could tell.
                    units += stream.feed(data, more=end < len(answer) and len(data) < 2)
            assert units + stream.expire() == [Answer(answer)]


@pytest.mark.promise("E5")
def test_an_answer_that_comes_byte_by_byte_is_no_text(stream: KeyStream) -> None:
    units = stream.feed("\x1b]", more=False)
    for character in "11;rgb:1e1e/1e1e/1e1e\x1b\\":
        units += stream.feed(character, more=False)
    assert units == [Answer("\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\")]


@pytest.mark.promise("E5")
def test_an_answer_without_an_end_is_dropped_and_typing_goes_on(stream: KeyStream) -> None:
    assert stream.feed("\x1b]11;rgb:1e1e/", more=False) == []
    assert stream.patience == SEQUENCE_WAIT
    assert stream.expire() == []
    assert stream.feed("h", more=False) == [Text("h")]
    assert stream.feed("\x1b]11;rgb:1e1e/", more=False) == []
    assert stream.feed("hello", more=False) == [Text("hello")]
    assert stream.feed("\x1b]11;rgb:1e1e/\x03", more=False) == [Pressed(InterruptKey.CTRL_C, "\x03")]
    assert stream.feed("\x1b]11;rgb:1e1e/\x1b[A", more=False) == [Sequence("\x1b[A")]


@pytest.mark.promise("E1", "E5")
def test_escape_is_taken_at_once_while_an_answer_is_waited_for(stream: KeyStream) -> None:
    assert stream.patience is None
    assert stream.feed("\x1b", more=False) == [ESCAPE]
    assert stream.feed(ANSWERS[0], more=False) == [Answer(ANSWERS[0])]
    assert stream.feed("\x1b", more=False) == [ESCAPE]
    assert stream.feed(f"\x1b{ANSWERS[0]}", more=False) == [ESCAPE, Answer(ANSWERS[0])]


@pytest.mark.promise("E1", "E5")
@pytest.mark.parametrize("begun", ["\x1b]11;", "\x1b]11;rgb:1e1e/1e", "\x1b]11;rgb:1e1e/1e1e/1e1e"])
def test_escape_amid_an_answer_waits_no_longer_than_at_the_end_of_a_read(
    stream: KeyStream, begun: str
) -> None:
    stream.feed(begun, more=False)
    assert stream.feed("\x1b", more=False) == []
    assert stream.patience == CUT_WAIT
    assert stream.expire() == [ESCAPE]
    stream.feed(begun, more=False)
    assert stream.feed("\x1b", more=False) + stream.feed("\x1b", more=False) + stream.expire() == [ESCAPE] * 2


def test_digits_after_alt_and_a_bracket_are_typed(stream: KeyStream) -> None:
    units = stream.feed("\x1b]", more=False) + stream.feed("1", more=False)
    assert units + stream.expire() == [Chord("]"), Text("1")]
    units = stream.feed("\x1b]", more=False) + stream.feed("1", more=False) + stream.feed("2", more=False)
    assert units + stream.expire() == [Chord("]"), Text("12")]


@given(
    parts=st.lists(st.sampled_from(("a", "é", "\r", "\x1b[A", "\x1bOP", "\x1bx", *ANSWERS)), max_size=8),
    cuts=st.sets(st.integers(0, 120)),
)
def test_answers_change_nothing_about_the_keys_around_them(parts: list[str], cuts: set[int]) -> None:
    data = "".join(parts)
    keys = "".join(part for part in parts if part not in ANSWERS)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    stream, plain = local(), local()
    units = [
        unit for start, end in pairwise(places) for unit in stream.feed(data[start:end], more=end < len(data))
    ]
    others = [unit for unit in units if not isinstance(unit, Answer)]
    assert _text_joined(others) == _text_joined(plain.feed(keys, more=False))
    assert [unit.text for unit in units if isinstance(unit, Answer)] == [
        one for one in parts if one in ANSWERS
    ]


def test_an_answer_within_a_paste_belongs_to_the_paste(stream: KeyStream) -> None:
    assert stream.feed(f"\x1b[200~a{ANSWERS[0]}b\x1b[201~", more=False) == [Pasted(f"a{ANSWERS[0]}b")]


def _text_joined(units: list[Unit]) -> list[Unit]:
    result: list[Unit] = []
    for unit in units:
        if isinstance(unit, Text) and result and isinstance(last := result[-1], Text):
            result[-1] = Text(last.characters + unit.characters)
        else:
            result.append(unit)
    return result
