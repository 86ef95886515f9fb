"""Which lines are commands, and which are sent as they are."""

from __future__ import annotations

import pytest

from tui.commands.command import Typed
from tui.commands.slash import SlashCommandError, read_stop
from tui.commands.table import COMMANDS


@pytest.mark.parametrize("name", COMMANDS.by_name)
def test_every_command_is_read(name: str) -> None:
    command = COMMANDS.by_name[name]
    assert COMMANDS.read(f"/{name}") == Typed(command)
    assert COMMANDS.read(f"/{name}  \n") == Typed(command)
    assert command.summary


@pytest.mark.parametrize(
    "text", ["hello", "/usr/bin/env is what?", "/help me", " /help", "/", "//", "/help\n/quit", "/Ünit"]
)
def test_what_is_no_single_word_with_a_slash_is_a_prompt(text: str) -> None:
    assert COMMANDS.read(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("/stop 2", "2"), ("/stop  2 too slow\n", "2 too slow"), ("/stop everything", "everything")],
)
def test_what_stands_behind_a_stop_is_never_sent_to_the_model(text: str, words: str) -> None:
    assert COMMANDS.read(text) == Typed(COMMANDS.by_name["stop"], words)


def test_a_stop_without_a_number_is_the_turns() -> None:
    assert read_stop("") is None
    assert read_stop("2") == (2, "")
    assert read_stop("2  too slow") == (2, "too slow")


@pytest.mark.parametrize("words", ["everything", "-1", "1.5", "²"])
def test_a_stop_of_something_that_is_no_number_is_explained(words: str) -> None:
    with pytest.raises(SlashCommandError, match="/running lists them"):
        read_stop(words)


@pytest.mark.parametrize(
    ("text", "hint"), [("/contine", "did you mean /continue?"), ("/xyzzy", "/help lists the commands")]
)
def test_an_unknown_command_is_explained(text: str, hint: str) -> None:
    with pytest.raises(SlashCommandError) as caught:
        COMMANDS.read(text)
    assert text in str(caught.value)
    assert hint in str(caught.value)
