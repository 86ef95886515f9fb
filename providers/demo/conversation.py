"""Messages to the demo model, and the words that it understands.

Plain values, independent of sockets, JSON and the answers.
"""

from __future__ import annotations

import re
from enum import StrEnum

from core.base.values import Value


class Role(StrEnum):
    """Who wrote a message. An unknown role counts as the system's."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"

    @classmethod
    def _missing_(cls, value: object) -> Role:
        return cls.SYSTEM


class Call(Value):
    """A call of a tool. `arguments` is JSON text; `call_id` is empty until the call is sent."""

    name: str
    arguments: str
    call_id: str = ""


class Said(Value):
    """One message. `calls` are those of a reply, `call_id` names the call that a result belongs to."""

    role: Role
    text: str
    calls: tuple[Call, ...] = ()
    call_id: str = ""


class Word(StrEnum):
    """Words that make the demo write text, or misbehave."""

    HELLO = "hello"
    HELP = "help"
    LONG = "long"
    MARKDOWN = "markdown"
    THINK = "think"
    FAST = "fast"
    STALL = "stall"
    SILENT = "silent"
    ERROR = "error"
    CUT = "cut"
    CONTINUE = "continue"


class ToolWord(StrEnum):
    """Words that make the demo call tools."""

    TOOL = "tool"
    THREE = "three"
    RUNAWAY = "runaway"
    STUBBORN = "stubborn"
    EDIT = "edit"
    BACKGROUND = "background"
    AGENT = "agent"
    NESTED = "nested"


UNDERSTOOD: dict[str, Word | ToolWord] = {
    **{word.value: word for word in (*Word, *ToolWord)},
    "hi": Word.HELLO,
    "hey": Word.HELLO,
    "hallo": Word.HELLO,
    "tour": Word.HELP,
    "resume": Word.CONTINUE,
}

_NOTES = re.compile(r"^(?:\[[^\]\n]+\]\n\n)+")


def without_notes(message: str) -> str:
    """The user's own text: a client may have put notes in brackets in front of it."""
    return _NOTES.sub("", message)


def word_in(message: str) -> Word | ToolWord | None:
    """The first known word in a short message; None if there is none."""
    if message.strip() == "?":
        return Word.HELP
    found = _plain_words(message)
    if found[:1] == ["continue"]:
        return Word.CONTINUE
    known = (UNDERSTOOD[name] for name in found if name in UNDERSTOOD)
    return next(known, None) if len(found) <= 3 else None


def after_word(message: str, word: ToolWord) -> str:
    """The text after `word` in a message that contains it: the task in `agent three`."""
    found = _plain_words(message)
    return " ".join(found[found.index(word) + 1 :]) if word in found else ""


def last_asked(conversation: tuple[Said, ...]) -> str:
    """The user's latest message that asks for more than to continue; empty if there is none."""
    prompts = (without_notes(said.text) for said in reversed(conversation) if said.role is Role.USER)
    return next((prompt for prompt in prompts if word_in(prompt) is not Word.CONTINUE), "")


def _plain_words(message: str) -> list[str]:
    return re.findall(r"[a-z]+", message.lower())
