"""The one table of commands: what is typed is read by it, help, completion and palette show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.command_program import PROGRAM
from tui.command_sessions import SESSIONS
from tui.command_turns import TURNS
from tui.commands import CommandTable

if TYPE_CHECKING:
    from tui.commands import Typed

COMMANDS = CommandTable((TURNS, SESSIONS, PROGRAM))


def read_command(text: str) -> Typed | None:
    """The command that `text` is, or None: it is a prompt. Raises `SlashCommandError` for an unknown one."""
    return COMMANDS.read(text)
