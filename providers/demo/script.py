"""The demo model's answers: a pure function of the conversation and of what its server saw before.

All statements about itself must be true, above all that it is scripted. This module does not use sockets; the
server (`providers.demo.server`) reports how the last connection ended.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from core.base.values import Value
from providers.demo import texts as texts
from providers.demo.conversation import Call, Role, Said, ToolWord, Word, last_asked, without_notes, word_in
from providers.demo.tools import Script, offered, report, script_for, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN = "> **Seen from the server:**"
QUOTE_LIMIT = 300
FAST_CHUNKS = 5_000
TOLD_WORDS = 4
"""How many of the last words are repeated after a hang-up."""
LONG_ANCHOR, SHORT_ANCHOR = 60, 12
"""First characters of an interrupted reply that locate it in its text."""


class Moment(Enum):
    """What a reply was doing when the client closed its connection."""

    BEFORE_HEADERS = "before headers"
    TALKING = "talking"
    CALLING = "calling"
    STALLED = "stalled"


@dataclass(slots=True)
class Progress:
    """How far a reply has been sent, which shows where the client hung up.

    `call` is the number of the current call, from 1. `last_at` is `time.monotonic()` of the last piece, or of
    the request if there was none; `closed_at` that of a close by the client before the reply was over.
    """

    words_in_all: int = 0
    calls_in_all: int = 0
    moment: Moment = Moment.BEFORE_HEADERS
    words_sent: int = 0
    call: int = 0
    last_pieces: tuple[str, ...] = ()
    last_at: float = field(default_factory=time.monotonic)
    closed_at: float = 0.0

    def sent(self, piece: str) -> None:
        self.moment = Moment.TALKING
        self.words_sent += 1
        self.last_at = time.monotonic()
        self.last_pieces = (*self.last_pieces[1 - TOLD_WORDS :], piece)

    def calling(self, call: int) -> None:
        """Record that a piece of the call with this number, from 1, was sent."""
        self.moment = Moment.CALLING
        self.call = call
        self.last_at = time.monotonic()

    @property
    def last_words(self) -> str:
        bare = (word.strip("*_`|#>-") for word in "".join(self.last_pieces).split())
        return " ".join([word for word in bare if word][-TOLD_WORDS:])


class Pace(Enum):
    READABLE = "readable"
    UNLIMITED = "unlimited"


class Ending(Enum):
    FINISHED = "finished"
    STALLED = "stalled"
    CUT = "cut"


class Reply(Value):
    """A text to stream, in `pieces`, after `thinking`, which goes through the reasoning channel.

    `calls` follow; they get their ids when they are sent.
    """

    pieces: tuple[str, ...]
    calls: tuple[Call, ...] = ()
    thinking: tuple[str, ...] = ()
    pace: Pace = Pace.READABLE
    ending: Ending = Ending.FINISHED


class Refusal(Value):
    """An error status instead of a reply."""

    status: int
    message: str


class Silence(Value):
    """No headers, no end."""


Answer = Reply | Refusal | Silence


def answer(
    conversation: tuple[Said, ...], hang_up: Progress | None, tools: frozenset[str] = frozenset()
) -> Answer:
    """The answer to the last message. `hang_up` is the one not yet reported to the client, if any; `tools`
    are the names of those that may be called."""
    last = conversation[-1] if conversation else Said(Role.USER, "")
    asked = without_notes(last.text)
    if last.role is Role.TOOL:
        said: Answer = _reply(report(conversation))
    elif last.role is Role.ASSISTANT or word_in(asked) is Word.CONTINUE:
        rest = _rest(conversation)
        if isinstance(rest, Script):
            return _played(rest, tools)
        said = _reply(rest)
    else:
        said = _answer_to(asked, conversation, tools, introduced=hang_up is not None)
    if hang_up is None or not isinstance(said, Reply):
        return said
    return replace(said, pieces=(*pieces_of(describe_hang_up(hang_up)), *said.pieces))


def _answer_to(
    asked: str, conversation: tuple[Said, ...], tools: frozenset[str], *, introduced: bool
) -> Answer:
    match word_in(asked):
        case ToolWord() as word:
            return _played(script_for(word, asked, conversation), tools)
        case Word() as word:
            return _ANSWERS[word]
        case None:
            first = not introduced and all(said.role is not Role.ASSISTANT for said in conversation)
            introduction = f"{texts.GREETING}\n" if first else ""
            return _reply(f"{introduction}{_quoted(asked)}\n\n{texts.SCRIPTED}")


def describe_hang_up(hang_up: Progress) -> str:
    """The server's observations as a Markdown quotation for the user."""
    quiet = _span(hang_up.closed_at - hang_up.last_at)
    where = f". I had got to “{hang_up.last_words}”"
    match hang_up.moment:
        case Moment.BEFORE_HEADERS:
            when = "your message, before I said a word"
        case Moment.TALKING:
            when = f"I sent word {hang_up.words_sent:,} of {hang_up.words_in_all:,}{where}"
        case Moment.CALLING:
            when = f"my last piece, while I was making call {hang_up.call} of {hang_up.calls_in_all}"
        case Moment.STALLED:
            when = f"my last word, number {hang_up.words_sent:,}, while I was stalled{where}"
        case _:
            assert_never(hang_up.moment)
    return f"{SEEN} you closed our connection {quiet} after {when}.\n\n"


def pieces_of(text: str) -> tuple[str, ...]:
    """`text` in words, each with the space before it; joined they are `text` again."""
    return tuple(re.findall(r"\s*\S+(?:\s+$)?", text))


def _reply(text: str, *, thinking: str = "", ending: Ending = Ending.FINISHED) -> Reply:
    return Reply(pieces_of(text), thinking=pieces_of(thinking), ending=ending)


def _played(script: Script, tools: frozenset[str]) -> Reply:
    allowed = offered(script, tools)
    return Reply(pieces_of(allowed.text), calls=allowed.calls)


_ANSWERS: dict[Word, Answer] = {
    Word.HELLO: _reply(texts.GREETING),
    Word.HELP: _reply(texts.HELP),
    Word.LONG: _reply(texts.long_text(), thinking=texts.LONG_THOUGHT),
    Word.MARKDOWN: _reply(texts.MARKDOWN),
    Word.THINK: _reply(texts.THOUGHTS_SHOWN, thinking=texts.THOUGHT),
    Word.FAST: Reply(
        (
            "```text\n",
            *(f"piece {n:04d} of {FAST_CHUNKS}.\n" for n in range(1, FAST_CHUNKS + 1)),
            f"```\n{texts.FAST_END}",
        ),
        pace=Pace.UNLIMITED,
    ),
    Word.STALL: _reply(texts.STALL, ending=Ending.STALLED),
    Word.SILENT: Silence(),
    Word.ERROR: Refusal(500, texts.FAILURE),
    Word.CUT: _reply(texts.CUT, ending=Ending.CUT),
}
"""What each word gets, except `continue`."""


def _rest(conversation: tuple[Said, ...]) -> Script | str:
    """The rest of the last interrupted reply, found by comparing its text with the possible texts.

    If all its calls were made, they are not repeated: the text reports only their results.
    """
    replied = False
    for at, said in reversed(list(enumerate(conversation))):
        if said.role is Role.TOOL and not replied:
            return unanswered(conversation[: at + 1])
        if said.role is Role.ASSISTANT:
            replied = True
            if not said.calls and (rest := _rest_of(said.text, conversation[:at])) is not None:
                return rest
    return texts.NOTHING_TO_CONTINUE


def _rest_of(part: str, before: tuple[Said, ...]) -> Script | None:
    said = part.strip()
    if said.startswith(SEEN):
        said = said.partition("\n\n")[2].strip()
    for script in _scripts(before):
        text = script.text
        # A long anchor finds the right one of many similar lines, a short one a part that was just begun.
        for anchor in (said[:LONG_ANCHOR], said[:SHORT_ANCHOR]):
            begin = text.find(anchor) if len(anchor) >= SHORT_ANCHOR else -1
            if begin >= 0:
                rest = text[begin + _shared_length(text[begin:], said) :]
                return Script(rest, script.calls) if rest.strip() or script.calls else None
    return None


def _scripts(before: tuple[Said, ...]) -> Iterator[Script]:
    """The possible replies after `before`, the likeliest first."""
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


def _quoted(message: str) -> str:
    short = message.strip()
    if len(short) > QUOTE_LIMIT:
        short = short[:QUOTE_LIMIT].rstrip() + " …"
    return "You wrote:\n\n" + "\n".join(f"> {line}".rstrip() for line in short.splitlines() or ["(nothing)"])


def _span(seconds: float) -> str:
    if seconds < 0.001:
        return "less than 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
