"""Which lines are commands, and which are sent as they are."""

from __future__ import annotations

import pytest

from tui.slash import HELP, SlashCommand, SlashCommandError, read_command


@pytest.mark.parametrize("command", SlashCommand)
def test_every_command_is_read_and_told_of(command: SlashCommand) -> None:
    assert read_command(f"/{command}") is command
    assert read_command(f"/{command}  \n") is command
    assert f"/{command}" in HELP or command is SlashCommand.HELP


@pytest.mark.parametrize(
    "text", ["hello", "/usr/bin/env is what?", "/help me", " /help", "/", "//", "/help\n/quit", "/Ünit"]
)
def test_what_is_no_single_word_with_a_slash_is_a_prompt(text: str) -> None:
    assert read_command(text) is None


@pytest.mark.parametrize(
    ("text", "hint"), [("/contine", "did you mean /continue?"), ("/xyzzy", "/help lists the commands")]
)
def test_an_unknown_command_is_explained(text: str, hint: str) -> None:
    with pytest.raises(SlashCommandError) as caught:
        read_command(text)
    assert text in str(caught.value)
    assert hint in str(caught.value)
