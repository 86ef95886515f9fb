"""A stored conversation as the things that are shown of it, the last one first.

Pure functions of the record, and lazy: what is far from the end costs nothing until it is asked for. A
compaction stands where the clock says that it was made.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.events import Outcome, TurnEnded
from core.messages import AssistantMessage, Text, ToolCall, UserMessage
from core.session import CONTINUE_PROMPT
from core.values import dataclass
from tui.notices import failure_notice, limit_notice, past_stop_notice
from tui.widgets.transcript_feed import Above
from tui.widgets.transcript_plain import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.messages import Part
    from core.records import Compaction, LoadedSession, StoredStep, TurnRecord

FIRST_MESSAGES = 30
"""So many of the last messages are shown before any other is read."""
MOST_MESSAGES = 240
"""So many are put above at a time, once what is near is there."""

DIED = "How this turn ended is unknown: Caesura died in it."
MAYBE_ALIVE = "How this turn goes on is not known here: another Caesura has this session open."


@dataclass(frozen=True, slots=True)
class PromptScene:
    text: str


@dataclass(frozen=True, slots=True)
class ReplyScene:
    """A step without its prompt. `interrupted` if the reply is to be marked where it breaks off."""

    stored: StoredStep
    interrupted: bool


@dataclass(frozen=True, slots=True)
class NoticeScene:
    text: str
    kind: NoticeKind


@dataclass(frozen=True, slots=True)
class SummaryScene:
    made: Compaction


Scene: TypeAlias = PromptScene | ReplyScene | NoticeScene | SummaryScene


@dataclass(frozen=True, slots=True)
class Act:
    """Scenes that follow each other, in order of time, and what stands right above the first of them."""

    scenes: tuple[Scene, ...]
    above: Above


def acts_from_end(loaded: LoadedSession, *, read_only: bool) -> Iterator[Act]:
    """All of the session, the last `FIRST_MESSAGES` messages first, then larger and larger parts."""
    scenes = _scenes_from_end(loaded, read_only=read_only)
    ahead: deque[Scene] = deque()
    most = FIRST_MESSAGES
    while True:
        act: list[Scene] = []
        messages = 0
        while messages < most and (scene := ahead.popleft() if ahead else next(scenes, None)) is not None:
            act.append(scene)
            messages += len(scene.stored.step.messages) if isinstance(scene, ReplyScene) else 0
        if not act:
            return
        yield Act(tuple(reversed(act)), _above(ahead, scenes))
        most = min(2 * most, MOST_MESSAGES)


def _above(ahead: deque[Scene], scenes: Iterator[Scene]) -> Above:
    """What the first scene from the end on leaves on the screen that leaves anything."""
    for scene in ahead:
        if (left := _left_by(scene)) is not None:
            return left
    for scene in scenes:
        ahead.append(scene)
        if (left := _left_by(scene)) is not None:
            return left
    return Above.NOTHING


def _left_by(scene: Scene) -> Above | None:
    match scene:
        case PromptScene() | NoticeScene() | SummaryScene():
            return Above.TEXT
        case ReplyScene(stored):
            last = _parts(stored)[-1:]
            return (Above.CARD if isinstance(last[0], ToolCall) else Above.TEXT) if last else None
        case _:
            assert_never(scene)


def _scenes_from_end(loaded: LoadedSession, *, read_only: bool) -> Iterator[Scene]:
    steps = loaded.steps
    summaries = list(loaded.compactions)

    def made_since(at: float) -> Iterator[Scene]:
        while summaries and summaries[-1].at >= at:
            yield SummaryScene(summaries.pop())

    for record, begin, end in _turns_from_end(steps, loaded.turns):
        said = any(isinstance(part, Text) and part.text for step in steps[begin:end] for part in _parts(step))
        if end > begin:
            yield from made_since(steps[end - 1].at)
        elif record is not None:
            yield from made_since(record.at)
        if record is not None:
            maybe_alive = read_only and record is loaded.turns[-1]
            yield from _notice(record, said=said, maybe_alive=maybe_alive)
        for index in range(end - 1, begin - 1, -1):
            yield ReplyScene(steps[index], said and _breaks_off(steps[index]))
            if index > begin:
                yield from made_since(steps[index - 1].at)
        if record is not None:
            yield from made_since(record.at)
        yield from _prompt(record, steps[begin:end])
    yield from made_since(float("-inf"))


def _turns_from_end(
    steps: Sequence[StoredStep], turns: Sequence[TurnRecord]
) -> Iterator[tuple[TurnRecord | None, int, int]]:
    """Each turn with the range of its steps. Steps of a turn without a record are a turn as well."""
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


def _breaks_off(stored: StoredStep) -> bool:
    return any(
        isinstance(message, AssistantMessage) and message.interrupted for message in stored.step.messages
    )


def _prompt(record: TurnRecord | None, steps: Sequence[StoredStep]) -> Iterator[PromptScene]:
    """What the person wrote; where that is not recorded, what the model was told."""
    if record is not None:
        if not steps and not record.kept and record.outcome in (Outcome.CANCELLED, Outcome.TIMEOUT):
            return  # rolled back: it is no part of the conversation (H1)
        text = record.prompt
    else:
        told = [message.text for message in steps[0].step.messages if isinstance(message, UserMessage)]
        text = "\n\n".join(told)
    if text:
        yield PromptScene("/continue" if text == CONTINUE_PROMPT else text)


def _notice(record: TurnRecord, *, said: bool, maybe_alive: bool) -> Iterator[NoticeScene]:
    """What was said about the end of a turn, without what was true only then, such as where its prompt is."""
    ended = TurnEnded(
        record.turn,
        record.outcome or Outcome.ERROR,
        "said" if said else "",
        record.error,
        record.proof,
        returned_prompt=None if record.kept else record.prompt,
    )
    match record.outcome:
        case Outcome.COMPLETED:
            pass
        case None if maybe_alive:
            yield NoticeScene(MAYBE_ALIVE, NoticeKind.INFO)
        case None:
            kept = " What had arrived is kept; /continue goes on from there." if record.kept else ""
            yield NoticeScene(DIED + kept, NoticeKind.ERROR)
        case Outcome.CANCELLED | Outcome.TIMEOUT if record.proof is not None:
            yield NoticeScene(past_stop_notice(ended), NoticeKind.STOPPED)
        case Outcome.CANCELLED:
            kept = " /continue goes on." if record.kept else " Nothing of the turn was kept."
            yield NoticeScene("Stopped." + kept, NoticeKind.STOPPED)
        case Outcome.TIMEOUT if not record.kept:
            yield NoticeScene("Time is up. Nothing of the turn was kept.", NoticeKind.STOPPED)
        case Outcome.TIMEOUT | Outcome.MAX_TURNS_REACHED | Outcome.MAX_BUDGET_REACHED:
            yield NoticeScene(limit_notice(ended, returned=False), NoticeKind.STOPPED)
        case Outcome.ERROR if record.error is None:
            yield NoticeScene("The turn failed.", NoticeKind.ERROR)
        case Outcome.ERROR:
            text = failure_notice(ended, returned=False) if record.kept else record.error
            yield NoticeScene(text, NoticeKind.ERROR)
        case _:
            assert_never(record.outcome)
