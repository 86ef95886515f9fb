"""The table of all commands, used for parsing, help, completion and the palette."""

from __future__ import annotations

from tui.commands.command import CommandTable
from tui.commands.program import PROGRAM
from tui.commands.sessions import SESSIONS
from tui.commands.turns import TURNS

COMMANDS = CommandTable((TURNS, SESSIONS, PROGRAM))
