"""Items of a stored conversation, the last one first.

Pure and lazy functions of the record: what is far from the end costs nothing until needed. The place of a
compaction follows from its time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.base.values import Value
from core.model.messages import AssistantMessage, Text, ToolCall, UserMessage
from core.operations.events import Outcome, TurnEnded
from core.session.continuation import CONTINUE_PROMPT
from tui.transcript.feed import Above
from tui.transcript.notices import failure_notice, limit_notice, past_stop_notice, reply_mark
from tui.transcript.plain import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.model.messages import Part
    from core.storage.records import Compaction, LoadedSession, StoredStep, TurnRecord

FIRST_MESSAGES = 30
"""How many of the last messages are shown first."""
MOST_MESSAGES = 240
"""The maximum number of messages of a chunk; chunks grow up to this."""

DIED = "How this turn ended is unknown: Caesura died in it."
MAYBE_ALIVE = "How this turn goes on is not known here: another Caesura has this session open."


class PromptItem(Value):
    text: str


class ReplyItem(Value):
    """A step without its prompt. `mark` stands where the reply breaks off, if it does."""

    stored: StoredStep
    mark: str


class NoticeItem(Value):
    text: str
    kind: NoticeKind


class SummaryItem(Value):
    made: Compaction


StoredItem: TypeAlias = PromptItem | ReplyItem | NoticeItem | SummaryItem


class Chunk(Value):
    """Consecutive items in order of time, and what is right above the first of them."""

    items: tuple[StoredItem, ...]
    above: Above


def chunks_from_end(loaded: LoadedSession, *, read_only: bool) -> Iterator[Chunk]:
    """The whole session: first a chunk of the last `FIRST_MESSAGES` messages, then larger and larger ones."""
    items = _items_from_end(loaded, read_only=read_only)
    ahead: deque[StoredItem] = deque()
    most = FIRST_MESSAGES
    while True:
        chunk: list[StoredItem] = []
        messages = 0
        while messages < most and (item := ahead.popleft() if ahead else next(items, None)) is not None:
            chunk.append(item)
            messages += len(item.stored.step.messages) if isinstance(item, ReplyItem) else 0
        if not chunk:
            return
        yield Chunk(tuple(reversed(chunk)), _above(ahead, items))
        most = min(2 * most, MOST_MESSAGES)


def _above(ahead: deque[StoredItem], items: Iterator[StoredItem]) -> Above:
    """The lowest visible thing of the items above. Some items show nothing."""
    for item in ahead:
        if (left := _left_by(item)) is not None:
            return left
    for item in items:
        ahead.append(item)
        if (left := _left_by(item)) is not None:
            return left
    return Above.NOTHING


def _left_by(item: StoredItem) -> Above | None:
    match item:
        case PromptItem() | NoticeItem() | SummaryItem():
            return Above.TEXT
        case ReplyItem(stored):
            last = _parts(stored)[-1:]
            return (Above.CARD if isinstance(last[0], ToolCall) else Above.TEXT) if last else None
        case _:
            assert_never(item)


def _items_from_end(loaded: LoadedSession, *, read_only: bool) -> Iterator[StoredItem]:
    steps = loaded.steps
    summaries = list(loaded.compactions)

    def made_since(at: float) -> Iterator[StoredItem]:
        while summaries and summaries[-1].at >= at:
            yield SummaryItem(summaries.pop())

    for record, begin, end in _turns_from_end(steps, loaded.turns):
        any_text = any(
            isinstance(part, Text) and part.text for step in steps[begin:end] for part in _parts(step)
        )
        if end > begin:
            yield from made_since(steps[end - 1].at)
        elif record is not None:
            yield from made_since(record.at)
        if record is not None:
            maybe_alive = read_only and record is loaded.turns[-1]
            yield from _notice(record, any_text=any_text, maybe_alive=maybe_alive)
        for index in range(end - 1, begin - 1, -1):
            yield ReplyItem(steps[index], _mark(steps[index]) if any_text else "")
            if index > begin:
                yield from made_since(steps[index - 1].at)
        if record is not None:
            yield from made_since(record.at)
        yield from _prompt(record, steps[begin:end])
    yield from made_since(float("-inf"))


def _turns_from_end(
    steps: Sequence[StoredStep], turns: Sequence[TurnRecord]
) -> Iterator[tuple[TurnRecord | None, int, int]]:
    """Each turn with the range of its steps, the last one first. Steps without a record are a turn too."""
    end = len(steps)

    def begin_of(turn: int) -> int:
        begin = end
        while begin and steps[begin - 1].turn == turn:
            begin -= 1
        return begin

    for record in reversed(turns):
        while end and steps[end - 1].turn > record.turn:
            begin = begin_of(steps[end - 1].turn)
            yield None, begin, end
            end = begin
        begin = begin_of(record.turn)
        yield record, begin, end
        end = begin
    while end:
        begin = begin_of(steps[end - 1].turn)
        yield None, begin, end
        end = begin


def _parts(stored: StoredStep) -> tuple[Part, ...]:
    replies = [message for message in stored.step.messages if isinstance(message, AssistantMessage)]
    return tuple(part for reply in replies for part in reply.parts)


def _mark(stored: StoredStep) -> str:
    replies = (message for message in stored.step.messages if isinstance(message, AssistantMessage))
    return next((reply_mark(reply.end) for reply in replies if not reply.end.whole), "")


def _prompt(record: TurnRecord | None, steps: Sequence[StoredStep]) -> Iterator[PromptItem]:
    """The user's prompt. If it is not recorded, the user messages that the model was sent."""
    if record is not None:
        if not steps and not record.kept and record.outcome in (Outcome.CANCELLED, Outcome.TIMEOUT):
            return  # a rolled back turn is no part of the conversation (H1)
        text = record.prompt
    else:
        prompts = [message.text for message in steps[0].step.messages if isinstance(message, UserMessage)]
        text = "\n\n".join(prompts)
    if text:
        yield PromptItem("/continue" if text == CONTINUE_PROMPT else text)


def _notice(record: TurnRecord, *, any_text: bool, maybe_alive: bool) -> Iterator[NoticeItem]:
    """The notice about the end of a turn, without temporary facts, such as where its prompt is."""
    ended = TurnEnded(
        record.turn,
        record.outcome or Outcome.ERROR,
        "any text" if any_text else "",
        record.error,
        record.proof,
        returned_prompt=None if record.kept else record.prompt,
    )
    match record.outcome:
        case Outcome.COMPLETED:
            pass
        case None if maybe_alive:
            yield NoticeItem(MAYBE_ALIVE, NoticeKind.INFO)
        case None:
            kept = " What had arrived is kept; /continue goes on from there." if record.kept else ""
            yield NoticeItem(DIED + kept, NoticeKind.ERROR)
        case Outcome.CANCELLED | Outcome.TIMEOUT if record.proof is not None:
            yield NoticeItem(past_stop_notice(ended), NoticeKind.STOPPED)
        case Outcome.CANCELLED:
            kept = " /continue goes on." if record.kept else " Nothing of the turn was kept."
            yield NoticeItem("Stopped." + kept, NoticeKind.STOPPED)
        case Outcome.TIMEOUT if not record.kept:
            yield NoticeItem("Time is up. Nothing of the turn was kept.", NoticeKind.STOPPED)
        case Outcome.TIMEOUT | Outcome.MAX_TURNS_REACHED | Outcome.MAX_BUDGET_REACHED:
            yield NoticeItem(limit_notice(ended, returned=False), NoticeKind.STOPPED)
        case Outcome.ERROR if record.error is None:
            yield NoticeItem("The turn failed.", NoticeKind.ERROR)
        case Outcome.ERROR:
            text = failure_notice(ended, returned=False) if record.kept else record.error
            yield NoticeItem(text, NoticeKind.ERROR)
        case _:
            assert_never(record.outcome)
