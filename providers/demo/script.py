"""What the demo model answers: a pure function of the conversation and of what its server saw before.

Whatever it says about itself must be true, above all that it is scripted. It knows nothing of sockets; its
server (`demo`) tells it what became of the last connection.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from core.values import dataclass
from providers import demo_texts as texts
from providers.demo_conversation import Call, Role, Said, ToolWord, Word, last_asked, without_notes, word_in
from providers.demo_tools import Script, offered, report, script_for, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN = "> **Seen from the server:**"
QUOTE_LIMIT = 300
FAST_CHUNKS = 5_000
LONG_ANCHOR, SHORT_ANCHOR = 60, 12
"""Characters by which the place of a broken-off reply in its text is found."""


class Moment(Enum):
    """What a reply was doing when its connection was closed from the other side."""

    BEFORE_HEADERS = "before headers"
    TALKING = "talking"
    CALLING = "calling"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class HangUp:
    """A connection that the client closed before the reply was over, as the server saw it.

    `at` is `time.monotonic()` of the close. `quiet_s` is the time in seconds between the last word sent, or
    the request if there was none, and the close. `call` is the number of the call that was being made,
    from 1.
    """

    at: float
    moment: Moment
    words_sent: int
    words_in_all: int
    quiet_s: float
    last_words: str
    call: int = 0
    calls_in_all: int = 0


class Pace(Enum):
    READABLE = "readable"
    UNLIMITED = "unlimited"


class Ending(Enum):
    FINISHED = "finished"
    STALLED = "stalled"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Reply:
    """A text to stream, in `pieces`, after `thinking`, which goes through the reasoning channel.

    `calls` follow; their ids are given when they are sent.
    """

    pieces: tuple[str, ...]
    calls: tuple[Call, ...] = ()
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


def answer(
    conversation: tuple[Said, ...], hang_up: HangUp | None, tools: frozenset[str] = frozenset()
) -> Answer:
    """The answer to the last message. `hang_up` is what the client has not been told of yet, if anything;
    `tools` are the names of those that may be called."""
    last = conversation[-1] if conversation else Said(Role.USER, "")
    match last.role:
        case Role.ASSISTANT:
            return _continued(conversation, hang_up, tools)
        case Role.TOOL:
            return _reply(report(conversation), hang_up)
        case Role.USER | Role.SYSTEM:
            return _answer_to(without_notes(last.text), conversation, hang_up, tools)
        case role:
            assert_never(role)


def _answer_to(
    asked: str, conversation: tuple[Said, ...], hang_up: HangUp | None, tools: frozenset[str]
) -> Answer:
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
            return _continued(conversation, hang_up, tools)
        case ToolWord() as word:
            return _played(offered(script_for(word, asked, conversation), tools), hang_up)
        case None:
            first = not any(said.role is Role.ASSISTANT for said in conversation)
            introduction = f"{texts.GREETING}\n" if first and hang_up is None else ""
            return _reply(f"{introduction}{_quoted(asked)}\n\n{texts.SCRIPTED}", hang_up)
        case word:
            assert_never(word)


def describe_hang_up(hang_up: HangUp) -> str:
    """What the server saw, in words for the user, as a Markdown quotation."""
    quiet = _span(hang_up.quiet_s)
    match hang_up.moment:
        case Moment.BEFORE_HEADERS:
            return f"{SEEN} you closed our connection {quiet} after your message, before I said a word.\n\n"
        case Moment.TALKING:
            when = f"{quiet} after I sent word {hang_up.words_sent:,} of {hang_up.words_in_all:,}"
        case Moment.CALLING:
            where = f"while I was making call {hang_up.call} of {hang_up.calls_in_all}"
            return f"{SEEN} you closed our connection {quiet} after my last piece, {where}.\n\n"
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


def _played(script: Script, hang_up: HangUp | None) -> Reply:
    seen = describe_hang_up(hang_up) if hang_up else ""
    return Reply(pieces_of(seen + script.text), calls=script.calls)


def _continued(conversation: tuple[Said, ...], hang_up: HangUp | None, tools: frozenset[str]) -> Reply:
    """The rest of what was broken off last, found by comparing what was said with what I can say.

    Calls that were all made are not made again: of them there is only to say what became of them.
    """
    replied = False
    for at, said in reversed(list(enumerate(conversation))):
        if said.role is Role.TOOL and not replied:
            return _reply(unanswered(conversation[: at + 1]), hang_up)
        if said.role is Role.ASSISTANT:
            replied = True
            if not said.calls and (rest := _rest_of(said.text, conversation[:at])) is not None:
                return _played(offered(rest, tools), None)
    return _reply(texts.NOTHING_TO_CONTINUE, hang_up)


def _rest_of(part: str, before: tuple[Said, ...]) -> Script | None:
    said = part.strip()
    if said.startswith(SEEN):
        said = said.partition("\n\n")[2].strip()
    for script in _scripts(before):
        text = script.text
        # A long anchor finds the right one of many alike lines, a short one a part that was just begun.
        for anchor in (said[:LONG_ANCHOR], said[:SHORT_ANCHOR]):
            begin = text.find(anchor) if len(anchor) >= SHORT_ANCHOR else -1
            if begin >= 0:
                rest = text[begin + _shared_length(text[begin:], said) :]
                return Script(rest, script.calls) if rest.strip() or script.calls else None
    return None


def _scripts(before: tuple[Said, ...]) -> Iterator[Script]:
    """What can have been said after `before`, the likeliest first."""
    asked = last_asked(before)
    if isinstance(word := word_in(asked), ToolWord):
        yield script_for(word, asked, before)
    results = [at for at, said in enumerate(before) if said.role is Role.TOOL]
    if results:
        upto = before[: results[-1] + 1]
        # In this order: the second contains the first.
        yield Script(report(upto))
        yield Script(unanswered(upto))
    for text in (texts.long_text(), texts.MARKDOWN, texts.GREETING, texts.HELP, texts.THOUGHTS_SHOWN):
        yield Script(text)


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
