"""Export a session as Markdown, for people to read. It cannot be imported again.

No message can change how the text after it is displayed: a fence is longer than any fence in its content, and
a reply that leaves a fence or a comment open is quoted. Control characters are replaced.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, assert_never

from core.base.sanitize import printable
from core.model.messages import (
    AssistantMessage,
    Reasoning,
    Text,
    ToolCall,
    ToolResults,
    UserMessage,
    read_arguments,
)
from core.model.reply_end import describe_end
from core.operations.events import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.model.messages import ToolResult, Usage
    from core.storage.records import CallCard, Compaction, LoadedSession, StoredStep, TurnRecord

_TICKS = re.compile(r"`+")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~&])")
_BEHIND = "behind"


class ReasoningChoice(Enum):
    """Whether the export includes the reasoning of the model."""

    LEFT_OUT = "left out"
    INCLUDED = "included"


def to_markdown(loaded: LoadedSession, reasoning: ReasoningChoice = ReasoningChoice.LEFT_OUT) -> str:
    """Export the whole session. Blocks, for seconds if the session is large."""
    blocks = [*_head(loaded)]
    records = {turn.turn: turn for turn in loaded.turns}
    done = 0
    for turn, steps in groupby(loaded.steps, key=lambda stored: stored.turn):
        of_turn = tuple(steps)
        blocks += _turn(of_turn, records.get(turn), reasoning)
        done += len(of_turn)
        blocks += _summaries(loaded.compactions, done - len(of_turn), done)
    return "\n\n".join(blocks) + "\n"


def _head(loaded: LoadedSession) -> Iterator[str]:
    info = loaded.info
    yield f"# {_line(info.title) or 'Conversation'}"
    facts = (
        f"Begun {_date(info.created_at)}, last changed {_date(info.updated_at)}",
        f"Model {_code(info.model)}, in {_code(info.workspace)}",
        _spent(info.usage, info.cost),
    )
    yield "\n".join(f"- {fact}" for fact in facts)


def _turn(
    steps: tuple[StoredStep, ...], record: TurnRecord | None, reasoning: ReasoningChoice
) -> Iterator[str]:
    yield f"## Turn {steps[0].turn}, {_date(steps[0].at if record is None else record.at)}"
    prompted = False
    for stored in steps:
        cards = {card.call_id: card for card in stored.cards}
        calls: dict[str, ToolCall] = {}
        for message in stored.step.messages:
            match message:
                case UserMessage(text):
                    # The record has the prompt that the user wrote, without the notes for the model.
                    yield _quoted(record.prompt if record is not None and not prompted else text)
                    prompted = True
                case AssistantMessage():
                    calls = {call.call_id: call for call in message.calls}
                    yield from _reply(message, reasoning)
                case ToolResults(results):
                    for result in results:
                        yield from _call(calls.get(result.call_id), result, cards.get(result.call_id))
                case _:
                    assert_never(message)
    if (ending := _ending(record)) is not None:
        yield f"*{ending}*"


def _reply(message: AssistantMessage, choice: ReasoningChoice) -> Iterator[str]:
    for part in message.parts:
        match part:
            case Text(text):
                if text.strip():
                    yield _contained(printable(text).strip("\n"))
            case Reasoning(text):
                if choice is ReasoningChoice.INCLUDED and text.strip():
                    yield "*Reasoning:*"
                    yield _quoted(text)
            case ToolCall():
                pass  # exported with its result
            case _:
                assert_never(part)
    if told := describe_end(message.end, message.words or ""):
        yield f"*The reply is not complete: {_line(told)}.*"


def _call(call: ToolCall | None, result: ToolResult, card: CallCard | None) -> Iterator[str]:
    seconds = "" if card is None or card.seconds is None else f", {card.seconds:.1f} s"
    yield f"**Call** {_code(result.name)}: **{result.status}**{seconds}"
    if call is not None and call.arguments.strip():
        read = read_arguments(call.arguments)
        pretty = call.arguments if read is None else json.dumps(read, ensure_ascii=False, indent=2)
        yield _fenced(pretty, "json")
    yield _fenced(result.in_words().text, "text")


_ENDINGS = {
    Outcome.CANCELLED: "The turn was stopped.",
    Outcome.TIMEOUT: "The turn was stopped: its time was up.",
    Outcome.MAX_TURNS_REACHED: "The turn had taken as many steps as it might.",
    Outcome.MAX_BUDGET_REACHED: "The turn had used up its budget.",
    Outcome.ERROR: "The turn failed.",
}


def _ending(record: TurnRecord | None) -> str | None:
    """Return a sentence about how a turn ended, None if it completed."""
    if record is None or record.outcome is Outcome.COMPLETED:
        return None
    if record.outcome is None:
        return "How the turn ended is not known: Caesura died in it, or it had not ended yet."
    error = f" {_line(record.error)}" if record.error else ""
    return f"{_ENDINGS[record.outcome]}{error}"


def _summaries(compactions: Iterable[Compaction], after: int, upto: int) -> Iterator[str]:
    for made in compactions:
        if after < made.made_after <= upto and made.summary.strip():
            undone = ", which was undone later" if made.undone else ""
            yield f"*Summary of the first {made.upto} steps for the model{undone}:*"
            yield _quoted(made.summary)


def _spent(usage: Usage, cost: float | None) -> str:
    tokens = f"{usage.input_tokens:,} tokens read, {usage.output_tokens:,} written"
    return f"{tokens}, cost unknown" if cost is None else f"{tokens}, ${cost:.4f}"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _line(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(printable(text).split()))


def _code(text: str) -> str:
    line = " ".join(printable(text).split()) or " "
    ticks = "`" * (_longest(line) + 1)
    return f"{ticks} {line} {ticks}" if len(ticks) > 1 else f"`{line}`"


def _fenced(text: str, language: str) -> str:
    """Return a text in a fence that it cannot close."""
    text = printable(text).strip("\n")
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest(text: str) -> int:
    return max(map(len, _TICKS.findall(text)), default=0)


def _quoted(text: str) -> str:
    """Quote a text. A fence or comment that it leaves open ends with the quotation."""
    lines = printable(text).strip("\n").split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _contained(text: str) -> str:
    """Return Markdown unchanged, or quoted if it would include the text after it."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(f"{text}\n\n{_BEHIND}")
    last = tokens[-2:]
    own = [token.type for token in last] == ["inline", "paragraph_close"]
    return text if own and last[0].content == _BEHIND and last[1].level == 0 else _quoted(text)
