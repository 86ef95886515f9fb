"""How a reply ended: the one rule, and what the model and the person are told of it (P7).

Whatever keeps, shows, sends or judges a reply asks `ReplyEnd`. Nothing but `COMPLETE` and `CALLS` may be
taken for a whole reply.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

WORDS_SHOWN = 300
"""Characters of the provider's words that a sentence quotes."""


class FinishReason(StrEnum):
    """Why a reply ended, as the provider reports it."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    OTHER = "other"


class ReplyEnd(StrEnum):
    """How a reply ended. `INTERRUPTED` covers deadlines, the end of the program, and what is not recorded."""

    COMPLETE = "complete"
    CALLS = "asks for tools"
    CUT = "cut by length"
    FILTERED = "filtered or refused"
    EMPTY = "empty"
    UNKNOWN = "ended for an unknown reason"
    BROKEN_OFF = "broken off"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"

    @property
    def whole(self) -> bool:
        """The reply is all that the model wanted to say."""
        return self in (ReplyEnd.COMPLETE, ReplyEnd.CALLS)


def decide_end(
    finish: FinishReason | None,
    *,
    text: bool,
    calls: bool,
    unfinished: ReplyEnd = ReplyEnd.INTERRUPTED,
) -> ReplyEnd:
    """How a reply ended: by its provider's word, by whether it has `text` and `calls`, and, if the provider
    did not finish it, by what kept it from that."""
    match finish:
        case None:
            return unfinished
        case FinishReason.LENGTH:
            return ReplyEnd.CUT
        case FinishReason.CONTENT_FILTER:
            return ReplyEnd.FILTERED
        case FinishReason.OTHER:
            return ReplyEnd.UNKNOWN
        case FinishReason.STOP | FinishReason.TOOL_CALLS if calls:
            # Gemini and Ollama say "stop" in both cases.
            return ReplyEnd.CALLS
        case FinishReason.STOP | FinishReason.TOOL_CALLS if not text:
            return ReplyEnd.EMPTY
        case FinishReason.STOP:
            return ReplyEnd.COMPLETE
        case FinishReason.TOOL_CALLS:
            # The calls that it announces have not come.
            return ReplyEnd.UNKNOWN
        case _:
            assert_never(finish)


def describe_end(end: ReplyEnd, words: str = "") -> str:
    """A clause about "it", the reply, with the provider's `words`; empty for a whole one."""
    match end:
        case ReplyEnd.COMPLETE | ReplyEnd.CALLS:
            return ""
        case ReplyEnd.CUT:
            told = "it was cut off by the output limit"
        case ReplyEnd.FILTERED:
            told = "the provider has filtered or refused it"
        case ReplyEnd.EMPTY:
            told = "it came back empty"
        case ReplyEnd.UNKNOWN:
            told = "it ended for a reason that is not known"
        case ReplyEnd.BROKEN_OFF:
            told = "the server broke it off"
        case ReplyEnd.FAILED:
            told = "it failed"
        case ReplyEnd.STOPPED:
            told = "the user stopped it"
        case ReplyEnd.INTERRUPTED:
            told = "it was stopped"
        case _:
            assert_never(end)
    quoted = " ".join(words.split())
    if len(quoted) > WORDS_SHOWN:
        quoted = f"{quoted[:WORDS_SHOWN]}…"
    return f'{told}: "{quoted}"' if quoted else told


def note_for_model(end: ReplyEnd, words: str, *, above: bool) -> str:
    """The note before the next prompt; empty after a whole reply. `above`: some of the reply stands there."""
    if not (told := describe_end(end, words)):
        return ""
    begin = "The reply above is not complete" if above else "What stands above has no reply"
    return f"[{begin}: {told}.]"


def sentence_for_person(end: ReplyEnd, words: str, *, above: bool) -> str:
    """The same for the person. What to do next depends on where it is read, and follows there."""
    begin = "The reply is not complete" if above else "There is no reply"
    limit = " (max_output of the model in the settings moves it)" if end is ReplyEnd.CUT else ""
    return f"{begin}: {describe_end(end, words)}{limit}."
