"""The few commands that are typed into the composer.

A line is a command only if it is one word with a slash in front of it, so that a path or a question that
begins with one is sent as it is. Some commands take words behind theirs: those are always commands, for
somebody who writes `/stop everything` does not mean to send it to the model.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum

from core.errors import CaesuraError

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(\S.*?))?\s*", re.DOTALL)


class SlashCommandError(CaesuraError):
    """There is no such command, or it cannot be obeyed like that."""


class SlashCommand(StrEnum):
    CONTINUE = "continue"
    SEND = "send"
    QUEUE = "queue"
    DROP = "drop"
    UNDROP = "undrop"
    RUNNING = "running"
    STOP = "stop"
    KILL = "kill"
    SESSIONS = "sessions"
    RESUME = "resume"
    NEW = "new"
    FORK = "fork"
    RENAME = "rename"
    EXPORT = "export"
    REWIND = "rewind"
    UNDO = "undo"
    COMPACT = "compact"
    UNCOMPACT = "uncompact"
    MODE = "mode"
    MCP = "mcp"
    MEMORY = "memory"
    THEME = "theme"
    HELP = "help"
    QUIT = "quit"

    @property
    def takes_words(self) -> bool:
        return self in _WITH_WORDS


_WITH_WORDS = (
    SlashCommand.DROP,
    SlashCommand.STOP,
    SlashCommand.MODE,
    SlashCommand.RESUME,
    SlashCommand.RENAME,
    SlashCommand.EXPORT,
    SlashCommand.COMPACT,
)


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as it was typed; `words` stands behind it, and is empty where there is nothing."""

    command: SlashCommand
    words: str = ""


HELP = """\
Esc stops the reply and its calls, a second Esc forces it; on a question it denies and stops. Ctrl+C stops \
from anywhere, clears, and pressed twice quits.
/running lists what is alive, /stop 2 too slow stops number 2 and says "too slow" to the model, /stop the \
turn; /kill (F9) kills what refused to end.
Ctrl+T shows everything that is alive: x stops one call, w with words for the model, + and - move its \
deadline, Enter shows its output; or click on [stop].
On a question: y allows once, s for the session, a always, n denies, r denies with words, x stops the call; \
Tab goes there and back.
Shift+Tab or /mode changes what needs no approval: ask, edits, plan, auto. /mcp shows servers and their tools.
/continue goes on with a turn that was stopped, /undo puts back files that it changed; Esc Esc on an empty \
prompt (/rewind) goes back to an earlier prompt, /quit ends. /compact what to keep shortens what is sent, \
/uncompact undoes it.
Ctrl+L (/sessions, /resume ID) lists, searches, renames, deletes sessions; /new, /fork, /rename NAME, /export.
While a turn runs, Enter queues what you write; Ctrl+S stops the turn and sends it next (empty: the first \
queued one). A stop pauses the queue: Ctrl+G or /send goes on with it; Tab goes there to edit (Enter), \
remove (x) and send (s) single ones. /queue lists them, /drop 2 removes number 2, /drop all, /undrop undoes.
/memory shows the notes of this workspace, to be edited: Ctrl+S saves, Esc closes.
Enter sends; Shift+Enter, Alt+Enter or Ctrl+J breaks the line; Up brings earlier prompts back.
PageUp, PageDown, Ctrl+Home, Ctrl+End and the wheel scroll; Ctrl+R shows reasoning, Ctrl+O calls, /theme \
other colours.\
"""


def read_command(text: str) -> Typed | None:
    """The command that `text` is, or None: it is a prompt. Raises `SlashCommandError` for an unknown one."""
    found = _COMMAND.fullmatch(text)
    if found is None:
        return None
    name, words = found[1], found[2] or ""
    if name in set(SlashCommand):
        command = SlashCommand(name)
        return Typed(command, words) if command.takes_words or not words else None
    if words:
        return None
    near = difflib.get_close_matches(name, list(SlashCommand), n=1)
    hint = f"did you mean /{near[0]}?" if near else "/help lists the commands."
    raise SlashCommandError(f"There is no command /{name}: {hint}")


def read_stop(words: str) -> tuple[int, str] | None:
    """Number and words of a `/stop`, None for the turn. Raises `SlashCommandError` if there is no number."""
    if not words:
        return None
    number, _, rest = words.partition(" ")
    if not (number.isascii() and number.isdigit()):
        raise SlashCommandError(
            "/stop alone stops the turn; one call is stopped by its number, as in /stop 2 too slow. "
            "/running lists them."
        )
    return int(number), rest.strip()
