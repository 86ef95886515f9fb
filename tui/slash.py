"""The few commands that are typed into the composer.

A line is a command only if it is one word with a slash in front of it, so that a path or a question that
begins with one is sent as it is.
"""

from __future__ import annotations

import difflib
import re
from enum import StrEnum

from core.errors import CaesuraError

_WORD = re.compile(r"/([a-z]+)\s*")


class SlashCommandError(CaesuraError):
    """There is no such command."""


class SlashCommand(StrEnum):
    CONTINUE = "continue"
    SEND = "send"
    DROP = "drop"
    HELP = "help"
    QUIT = "quit"


HELP = """\
/continue goes on with a turn that was stopped, /send and /drop send or remove queued prompts, /quit ends.
Esc stops the reply, a second Esc forces it. Ctrl+C stops, clears, and pressed twice quits.
Enter sends; Shift+Enter, Alt+Enter or Ctrl+J breaks the line; Up brings earlier prompts back.
PageUp, PageDown, Ctrl+Home, Ctrl+End and the wheel scroll; Ctrl+R shows reasoning; Ctrl+T changes the theme.\
"""


def read_command(text: str) -> SlashCommand | None:
    """The command that `text` is, or None: it is a prompt. Raises `SlashCommandError` for an unknown one."""
    found = _WORD.fullmatch(text)
    if found is None:
        return None
    name = found[1]
    try:
        return SlashCommand(name)
    except ValueError:
        near = difflib.get_close_matches(name, list(SlashCommand), n=1)
        hint = f"did you mean /{near[0]}?" if near else "/help lists the commands."
        raise SlashCommandError(f"There is no command /{name}: {hint}") from None
