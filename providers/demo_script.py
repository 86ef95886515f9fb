"""What the demo model answers: a pure function of the conversation and of what its server saw before.

Whatever it says about itself must be true, above all that it is scripted. It knows nothing of sockets; its
server (`demo`) tells it what became of the last connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import assert_never

from providers import demo_texts as texts

SEEN = "> **Seen from the server:**"
QUOTE_LIMIT = 300
FAST_CHUNKS = 5_000
LONG_ANCHOR, SHORT_ANCHOR = 60, 12
"""Characters by which the place of a broken-off reply in its text is found."""


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Said:
    role: Role
    text: str


class Moment(Enum):
    """What a reply was doing when its connection was closed from the other side."""

    BEFORE_HEADERS = "before headers"
    TALKING = "talking"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class HangUp:
    """A connection that the client closed before the reply was over, as the server saw it.

    `at` is `time.monotonic()` of the close. `quiet_s` is the time in seconds between the last word sent, or
    the request if there was none, and the close.
    """

    at: float
    moment: Moment
    words_sent: int
    words_in_all: int
    quiet_s: float
    last_words: str


class Pace(Enum):
    READABLE = "readable"
    UNLIMITED = "unlimited"


class Ending(Enum):
    FINISHED = "finished"
    STALLED = "stalled"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Reply:
    """A text to stream, in `pieces`, after `thinking`, which goes through the reasoning channel."""

    pieces: tuple[str, ...]
    thinking: tuple[str, ...] = ()
    pace: Pace = Pace.READABLE
    ending: Ending = Ending.FINISHED


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error status instead of a reply."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Silence:
    """No headers, no end."""


Answer = Reply | Refusal | Silence


class Word(StrEnum):
    """What the demo understands."""

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


NOTE_IN_BRACKETS = re.compile(r"^\[[^\]\n]+\]\n\n")
"""What a client may have put in front of the words of the user."""

UNDERSTOOD = {word.value: word for word in Word} | {
    "hi": Word.HELLO,
    "hey": Word.HELLO,
    "hallo": Word.HELLO,
    "tour": Word.HELP,
    "resume": Word.CONTINUE,
}


def answer(conversation: tuple[Said, ...], hang_up: HangUp | None) -> Answer:
    """The answer to the last message. `hang_up` is what the client has not been told of yet, if anything."""
    last = conversation[-1] if conversation else Said(Role.USER, "")
    if last.role is Role.ASSISTANT:
        return _continued(conversation, hang_up)
    asked = NOTE_IN_BRACKETS.sub("", last.text)
    match word_in(asked):
        case Word.HELLO:
            return _reply(texts.GREETING, hang_up)
        case Word.HELP:
            return _reply(texts.HELP, hang_up)
        case Word.LONG:
            return _reply(texts.long_text(), hang_up, thinking=texts.LONG_THOUGHT)
        case Word.MARKDOWN:
            return _reply(texts.MARKDOWN, hang_up)
        case Word.THINK:
            return _reply(texts.THOUGHTS_SHOWN, hang_up, thinking=texts.THOUGHT)
        case Word.FAST:
            return Reply(_fast_pieces(hang_up), pace=Pace.UNLIMITED)
        case Word.STALL:
            return _reply(texts.STALL, hang_up, ending=Ending.STALLED)
        case Word.SILENT:
            return Silence()
        case Word.ERROR:
            return Refusal(500, texts.FAILURE)
        case Word.CUT:
            return _reply(texts.CUT, hang_up, ending=Ending.CUT)
        case Word.CONTINUE:
            return _continued(conversation, hang_up)
        case None:
            first = not any(said.role is Role.ASSISTANT for said in conversation)
            introduction = f"{texts.GREETING}\n" if first and hang_up is None else ""
            return _reply(f"{introduction}{_quoted(asked)}\n\n{texts.SCRIPTED}", hang_up)
        case word:
            assert_never(word)


def word_in(message: str) -> Word | None:
    """The word that a short message consists of or contains; None if it says something else."""
    if message.strip() == "?":
        return Word.HELP
    found = re.findall(r"[a-z]+", message.lower())
    if found[:1] == ["continue"]:
        return Word.CONTINUE
    known = (UNDERSTOOD[name] for name in found if name in UNDERSTOOD)
    return next(known, None) if len(found) <= 3 else None


def describe_hang_up(hang_up: HangUp) -> str:
    """What the server saw, in words for the user, as a Markdown quotation."""
    quiet = _span(hang_up.quiet_s)
    match hang_up.moment:
        case Moment.BEFORE_HEADERS:
            return f"{SEEN} you closed our connection {quiet} after your message, before I said a word.\n\n"
        case Moment.TALKING:
            when = f"{quiet} after I sent word {hang_up.words_sent:,} of {hang_up.words_in_all:,}"
        case Moment.STALLED:
            when = f"{quiet} after my last word, number {hang_up.words_sent:,}, while I was stalled"
        case _:
            assert_never(hang_up.moment)
    return f"{SEEN} you closed our connection {when}. I had got to “{hang_up.last_words}”.\n\n"


def pieces_of(text: str) -> tuple[str, ...]:
    """`text` in words, each with the space before it; joined they are `text` again."""
    return tuple(re.findall(r"\s*\S+(?:\s+$)?", text))


def _reply(
    text: str, hang_up: HangUp | None, *, thinking: str = "", ending: Ending = Ending.FINISHED
) -> Reply:
    seen = describe_hang_up(hang_up) if hang_up else ""
    return Reply(pieces_of(seen + text), thinking=pieces_of(thinking), ending=ending)


def _continued(conversation: tuple[Said, ...], hang_up: HangUp | None) -> Reply:
    """The rest of the text that was broken off last, found by comparing what was said with what I can say."""
    for said in reversed(conversation):
        if said.role is Role.ASSISTANT and (rest := _rest_of(said.text)):
            return Reply(pieces_of(rest))
    return _reply(texts.NOTHING_TO_CONTINUE, hang_up)


def _rest_of(part: str) -> str | None:
    said = part.strip()
    if said.startswith(SEEN):
        said = said.partition("\n\n")[2].strip()
    for text in (texts.long_text(), texts.MARKDOWN, texts.GREETING, texts.HELP, texts.THOUGHTS_SHOWN):
        # A long anchor finds the right one of many alike lines, a short one a part that was just begun.
        for anchor in (said[:LONG_ANCHOR], said[:SHORT_ANCHOR]):
            begin = text.find(anchor) if len(anchor) >= SHORT_ANCHOR else -1
            if begin >= 0:
                rest = text[begin + _shared_length(text[begin:], said) :]
                return rest if rest.strip() else None
    return None


def _shared_length(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _fast_pieces(hang_up: HangUp | None) -> tuple[str, ...]:
    seen = describe_hang_up(hang_up) if hang_up else ""
    lines = (f"piece {n:04d} of {FAST_CHUNKS}.\n" for n in range(1, FAST_CHUNKS + 1))
    return (f"{seen}```text\n", *lines, f"```\n{texts.FAST_END}")


def _quoted(message: str) -> str:
    short = message.strip()
    if len(short) > QUOTE_LIMIT:
        short = short[:QUOTE_LIMIT].rstrip() + " …"
    return "You wrote:\n\n" + "\n".join(f"> {line}".rstrip() for line in short.splitlines() or ["(nothing)"])


def _span(seconds: float) -> str:
    if seconds < 0.001:
        return "less than 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
