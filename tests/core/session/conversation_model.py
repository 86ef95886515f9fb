"""What a conversation must be after whatever was done to it, in plain Python: the model of a state machine.

It says what history, queue, usage and the next request have to be, and never asks the code that is tested.
All texts of a conversation hold marks (`%p1%`), each once, so that a request can be looked through for what
it holds and in which order. What the code may choose freely (ids, when a context is compacted) is handed in.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from core.model.messages import ResultStatus, Usage
from core.model.reply_end import ReplyEnd
from core.operations.events import AnswerKind, Outcome
from core.session.continuation import CONTINUE_PROMPT

NOTHING = Usage(0, 0)
_MARK = re.compile(r"%\w+%")


def marks(text: str) -> list[str]:
    """The marks in a text, each once, in the order in which they come first."""
    return list(dict.fromkeys(_MARK.findall(text)))


# -- the queue --


@dataclass(frozen=True)
class Waiting:
    number: int
    text: str
    urgent: bool = False


@dataclass
class QueueModel:
    """Prompts that wait; urgent ones first. `undo` holds what each change has taken away, and from where."""

    prompts: list[Waiting] = field(default_factory=list)
    paused: bool = False
    edited: int | None = None
    undo: list[tuple[list[tuple[int, Waiting]], bool]] = field(default_factory=list)
    last: int = 0

    @property
    def urgent(self) -> int:
        return sum(prompt.urgent for prompt in self.prompts)

    def place(self, number: int) -> int | None:
        return next((at for at, prompt in enumerate(self.prompts) if prompt.number == number), None)

    def add(self, text: str, *, urgent: bool = False) -> None:
        self.last += 1
        at = self.urgent if urgent else len(self.prompts)
        self.prompts.insert(at, Waiting(self.last, text, urgent))

    def pause(self) -> None:
        self.paused = True
        self.settle()

    def settle(self) -> None:
        if all(prompt.urgent for prompt in self.prompts):
            self.paused = False
        if self.edited is not None and self.place(self.edited) is None:
            self.edited = None

    def make_urgent(self, number: int) -> None:
        at = self.place(number)
        assert at is not None
        if not self.prompts[at].urgent:
            prompt = self.prompts.pop(at)
            self.prompts.insert(self.urgent, replace(prompt, urgent=True))
        self.settle()

    def edit(self, number: int, text: str) -> None:
        at = self.place(number)
        assert at is not None
        self.edited = None if self.edited == number else self.edited
        self.undo.append(([(at, self.prompts[at])], self.paused))
        self.prompts[at] = replace(self.prompts[at], text=text)

    def remove(self, number: int) -> None:
        at = self.place(number)
        assert at is not None
        self.undo.append(([(at, self.prompts.pop(at))], self.paused))
        self.settle()

    def take_all(self) -> tuple[str, ...]:
        taken, self.prompts = self.prompts, []
        if taken:
            self.undo.append((list(enumerate(taken)), self.paused))
        self.settle()
        return tuple(prompt.text for prompt in taken)

    def put_back(self) -> bool:
        if not self.undo:
            return False
        before, paused = self.undo.pop()
        for at, prompt in before:
            now = self.place(prompt.number)
            if now is None:
                self.prompts.insert(max(at, self.urgent), replace(prompt, urgent=False))
            else:
                self.prompts[now] = replace(self.prompts[now], text=prompt.text)
        if paused:
            self.pause()
        return True

    def take_next(self) -> str | None:
        if not self.prompts:
            return None
        first = self.prompts[0]
        if first.number == self.edited or (self.paused and not first.urgent):
            return None
        del self.prompts[0]
        left = [([one for one in change if one[1].number != first.number], was) for change, was in self.undo]
        self.undo = [change for change in left if change[0]]
        self.settle()
        return first.text

    def reopened(self) -> QueueModel:
        """What an earlier run has left waits for the person."""
        again = QueueModel()
        for prompt in self.prompts:
            again.add(prompt.text)
        again.pause()
        return again


# -- the running turn --


class CallState(StrEnum):
    WAITING = "waiting"
    ASKING = "asking"
    RUNNING = "running"
    ENDED = "ended"


@dataclass
class CallModel:
    """`arguments` as far as they have come, `rest` what has not; `mark` is in them and in what it returns."""

    call_id: str
    name: str
    mark: str
    arguments: str
    rest: str
    state: CallState = CallState.WAITING
    status: ResultStatus = ResultStatus.NOT_STARTED
    told: tuple[str, ...] = ()
    """The marks that its result holds."""

    def end(self, status: ResultStatus, *told: str) -> None:
        self.state, self.status, self.told = CallState.ENDED, status, told


class PieceKind(StrEnum):
    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"
    MORE = "more"
    BEGUN = "begun"
    RESULT = "result"


@dataclass(frozen=True)
class PieceModel:
    """A piece of a draft: a text, or what happened to the call `index`."""

    kind: PieceKind
    text: str = ""
    index: int = 0
    call: CallModel | None = None


@dataclass
class ReplyModel:
    """One reply under way. The first `drafted` of its `pieces` are in the file."""

    text: str = ""
    thought: str = ""
    calls: list[CallModel] = field(default_factory=list)
    pieces: list[PieceModel] = field(default_factory=list)
    drafted: int = 0
    finished: bool = False
    end: ReplyEnd | None = None
    usage: Usage | None = None

    @property
    def started(self) -> bool:
        return bool(self.text or self.thought or self.calls)

    def note(self, kind: PieceKind, text: str = "", *, call: CallModel | None = None) -> None:
        index = -1 if call is None else self.calls.index(call)
        self.pieces.append(PieceModel(kind, text, index, deepcopy(call)))

    def died(self) -> ReplyModel:
        """What a crash leaves of it."""
        left = ReplyModel()
        for piece in self.pieces[: self.drafted]:
            match piece.kind, piece.call:
                case PieceKind.TEXT, _:
                    left.text += piece.text
                case PieceKind.THOUGHT, _:
                    left.thought += piece.text
                case PieceKind.CALL, CallModel() as call:
                    left.calls.append(deepcopy(call))
                case PieceKind.MORE, _:
                    call = left.calls[piece.index]
                    call.arguments, call.rest = call.arguments + call.rest, ""
                case PieceKind.BEGUN, _:
                    # It ran, and nobody knows how far it has got.
                    left.calls[piece.index].end(ResultStatus.STOPPED)
                    left.finished = True
                case PieceKind.RESULT, CallModel() as call:
                    left.calls[piece.index].end(call.status, *call.told)
                    # A call may be stopped while it is being named; all other results follow a whole reply.
                    left.finished = left.finished or call.status is not ResultStatus.NOT_STARTED
        return left


@dataclass(frozen=True)
class KeptCall:
    call_id: str
    name: str
    arguments: str
    status: ResultStatus
    told: tuple[str, ...]


@dataclass(frozen=True)
class KeptStep:
    turn: int
    prompt: str | None
    text: str
    thought: str
    end: ReplyEnd
    calls: tuple[KeptCall, ...]
    usage: Usage | None
    beside: Usage = NOTHING

    @property
    def marks(self) -> list[str]:
        """What of it stands in a request, in order."""
        found = marks(self.prompt or "")
        if self.text.strip() or self.calls:
            found += marks(self.text)
            found += [mark for call in self.calls for mark in marks(call.arguments)]
            found += [mark for call in self.calls for mark in call.told]
        return found


@dataclass(frozen=True)
class KeptTurn:
    number: int
    prompt: str
    continued: bool
    outcome: Outcome | None
    kept: bool


@dataclass(frozen=True)
class KeptCompaction:
    number: int
    upto: int
    summary: str
    usage: Usage
    undone: bool = False


@dataclass
class TurnModel:
    number: int
    prompt: str
    continued: bool = False
    kept: bool = False
    beside: Usage = NOTHING
    reply: ReplyModel = field(default_factory=ReplyModel)


class Doing(StrEnum):
    IDLE = "idle"
    STREAMING = "streaming"
    CALLING = "calling"
    COMPACTING = "compacting"


ASKING = frozenset({"ask", "write"})
CHANGING = frozenset({"write"})
TOOLS = ("read", *sorted(ASKING))


@dataclass
class ConversationModel:
    steps: list[KeptStep] = field(default_factory=list)
    turns: list[KeptTurn] = field(default_factory=list)
    compactions: list[KeptCompaction] = field(default_factory=list)
    queue: QueueModel = field(default_factory=QueueModel)
    turn: TurnModel | None = None
    summarising: bool = False
    by_hand: bool = False
    closed: bool = False
    allowed: set[str] = field(default_factory=set)
    returned: str | None = None
    unfinished: bool = False
    turns_begun: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    """Of the turns that have ended since it was opened."""
    beside: Usage = NOTHING
    """What was used by no turn, and is written down with the next step."""

    # -- what there is --

    @property
    def doing(self) -> Doing:
        if self.summarising or self.by_hand:
            return Doing.COMPACTING
        if self.turn is None:
            return Doing.IDLE
        return Doing.CALLING if self.turn.reply.finished else Doing.STREAMING

    @property
    def reply(self) -> ReplyModel:
        assert self.turn is not None
        return self.turn.reply

    @property
    def calls(self) -> list[CallModel]:
        return [] if self.turn is None else self.turn.reply.calls

    def calls_in(self, *states: CallState) -> list[CallModel]:
        return [call for call in self.calls if call.state in states]

    @property
    def usage(self) -> Usage:
        total = self.beside
        for step in self.steps:
            total = total + (step.usage or NOTHING) + step.beside
        for compaction in self.compactions:
            total += compaction.usage
        return total

    @property
    def newest(self) -> KeptCompaction | None:
        usable = [each for each in self.compactions if not each.undone and each.upto <= len(self.steps)]
        return max(usable, key=lambda each: each.number, default=None)

    @property
    def upto(self) -> int:
        return 0 if self.newest is None else self.newest.upto

    @property
    def request_marks(self) -> list[str]:
        """What the next request must hold, without the prompt that is being asked."""
        found = []
        if self.newest is not None and self.upto:
            found = marks(self.newest.summary)
            if self.upto < len(self.steps) and self.steps[self.upto].prompt is None:
                found += marks(next(step.prompt for step in reversed(self.steps[: self.upto]) if step.prompt))
        return found + [mark for step in self.steps[self.upto :] for mark in step.marks]

    @property
    def notes(self) -> list[tuple[ReplyEnd, bool]]:
        """The ends that a request has to speak of, each in the prompt after its reply, and whether something
        of that reply stands above."""
        behind = self.steps[self.upto :]
        asked = self.turn is not None and not self.turn.kept
        prompted = [step.prompt is not None for step in behind[1:]] + [asked]
        return [
            (step.end, bool(step.text.strip() or step.calls))
            for step, is_noted in zip(behind, prompted, strict=False)
            if is_noted and not step.end.whole
        ]

    def can_compact(self) -> bool:
        """Whether `/compact` has anything to do: the latest step is always kept."""
        return len(self.steps) - self.upto >= 2

    @property
    def continuing(self) -> str | None:
        """The prompt of `/continue`, None if there is nothing to continue."""
        if self.returned is not None:
            return self.returned
        return CONTINUE_PROMPT if self.unfinished and self.steps else None

    # -- turns --

    def submit(self, prompt: str) -> None:
        if self.doing is Doing.IDLE:
            self.begin(prompt)
        else:
            self.queue.add(prompt)

    def begin(self, prompt: str, *, continued: bool = False) -> None:
        assert self.turn is None
        self.turns_begun += 1
        self.turn = TurnModel(self.turns_begun, prompt, continued)
        self.returned = None

    def begin_next(self) -> bool:
        if self.doing is not Doing.IDLE or self.closed or (prompt := self.queue.take_next()) is None:
            return False
        self.begin(prompt)
        return True

    def commit(self, unfinished: ReplyEnd = ReplyEnd.INTERRUPTED) -> None:
        """The reply as it is becomes a step; its calls have ended. A call that only the provider's failure
        has cut short is kept like a whole one."""
        turn, reply = self.turn, self.reply
        assert turn is not None
        end = reply.end or (ReplyEnd.CALLS if reply.finished else unfinished)
        calls = tuple(
            KeptCall(call.call_id, call.name, call.arguments, call.status, call.told)
            for call in reply.calls
            if reply.finished or not call.rest or unfinished is ReplyEnd.FAILED
        )
        prompt = None if turn.kept else turn.prompt
        beside = turn.beside + self.beside
        step = KeptStep(
            turn.number,
            prompt,
            reply.text,
            reply.thought,
            end,
            calls,
            reply.usage,
            beside,
        )
        self.steps.append(step)
        turn.kept, turn.beside, turn.reply, self.beside = True, NOTHING, ReplyModel(), NOTHING

    def finish(self, usage: Usage | None, *, cut: bool) -> None:
        """The reply has come to its end; calls run, or the turn ends."""
        reply = self.reply
        reply.finished, reply.usage = True, usage
        if cut:
            reply.end = ReplyEnd.CUT
        elif reply.calls:
            reply.end = ReplyEnd.CALLS
        else:
            reply.end = ReplyEnd.COMPLETE if reply.text.strip() else ReplyEnd.EMPTY
        if reply.calls:
            for call in self.calls_in(CallState.WAITING):
                if cut and (call.rest or call is reply.calls[-1]):
                    self.end_call(call, ResultStatus.NOT_STARTED)
                elif call.rest:
                    self.end_call(call, ResultStatus.FAILED)
            self.advance()
        else:
            self.commit()
            self.end(Outcome.COMPLETED if self.steps[-1].end.whole else Outcome.ERROR)

    def advance(self) -> None:
        """Every call that need not wait any longer goes on; if all have ended, so has the step."""
        reply = self.reply
        for call in self.calls_in(CallState.WAITING):
            before = reply.calls[: reply.calls.index(call)]
            if call.name not in CHANGING:
                before = [other for other in before if other.name in CHANGING]
            if all(other.state is CallState.ENDED for other in before):
                if call.name in ASKING and call.name not in self.allowed:
                    call.state = CallState.ASKING
                else:
                    self.begin_call(call)
        if all(call.state is CallState.ENDED for call in reply.calls):
            self.commit()
            last = self.steps[-2:]
            if len(last) == 2 and last[0].turn == last[1].turn and {s.end for s in last} == {ReplyEnd.CUT}:
                self.end(Outcome.ERROR)

    def begin_call(self, call: CallModel) -> None:
        call.state = CallState.RUNNING
        self.reply.note(PieceKind.BEGUN, call=call)
        # It is about to change the world: that is in the file before.
        self.reply.drafted = len(self.reply.pieces)

    def end_call(self, call: CallModel, status: ResultStatus, *told: str) -> None:
        call.end(status, *told)
        self.reply.note(PieceKind.RESULT, call=call)

    def stop_call(self, call: CallModel) -> None:
        if call.state is CallState.RUNNING:
            self.end_call(call, ResultStatus.STOPPED, call.mark)
        else:
            self.end_call(call, ResultStatus.NOT_STARTED)
        if self.doing is Doing.CALLING:
            self.advance()

    def answer(self, call: CallModel, kind: AnswerKind, *words: str) -> None:
        match kind:
            case AnswerKind.DENY:
                self.end_call(call, ResultStatus.DENIED, *words)
            case AnswerKind.SESSION | AnswerKind.ALWAYS:
                self.allowed.add(call.name)
                for other in self.calls_in(CallState.ASKING):
                    if other.name == call.name:
                        self.begin_call(other)
            case AnswerKind.ONCE:
                self.begin_call(call)
        self.advance()

    def end(self, outcome: Outcome, unfinished: ReplyEnd = ReplyEnd.FAILED) -> None:
        """The turn is over; `unfinished` is how a reply ended that was still under way."""
        turn = self.turn
        assert turn is not None
        if turn.reply.started:
            for call in self.calls_in(CallState.WAITING, CallState.ASKING):
                call.end(ResultStatus.NOT_STARTED)
            for call in self.calls_in(CallState.RUNNING):
                call.end(ResultStatus.STOPPED, call.mark)
            self.commit(unfinished)
        self.summarising = False
        self.turn = None
        if turn.kept:
            self.beside += turn.beside
        completed = outcome is Outcome.COMPLETED
        self.outcomes.append(outcome)
        self.turns.append(KeptTurn(turn.number, turn.prompt, turn.continued, outcome, turn.kept))
        rolled_back = not turn.kept and turn.prompt != CONTINUE_PROMPT
        self.returned = turn.prompt if rolled_back else None
        self.unfinished = not completed and (self.unfinished or not rolled_back)
        if not completed:
            self.queue.pause()
        self.begin_next()

    # -- compaction --

    def compacted(self, number: int, upto: int, summary: str, usage: Usage) -> None:
        self.compactions.append(KeptCompaction(number, upto, summary, usage))

    def refused_summary(self, usage: Usage) -> None:
        """A summary that is none was counted by its provider all the same."""
        if self.turn is None:
            self.beside += usage
        else:
            self.turn.beside += usage

    def compaction_over(self, *, stopped: bool) -> None:
        """One that was asked for has ended."""
        self.by_hand = False
        if stopped:
            self.queue.pause()
        self.begin_next()

    def uncompact(self) -> bool:
        newest = self.newest
        if newest is None:
            return False
        self.compactions[self.compactions.index(newest)] = replace(newest, undone=True)
        return True

    # -- ends of the program, copies --

    def opened(self) -> Self:
        """As it is when it is opened from the file."""
        model = deepcopy(self)
        model.turn, model.summarising, model.by_hand, model.closed = None, False, False, False
        model.queue = self.queue.reopened()
        model.allowed, model.outcomes, model.beside = set(), [], NOTHING
        model.turns_begun = self.turns[-1].number if self.turns else 0
        last = self.turns[-1] if self.turns else None
        model.unfinished = last is not None and (
            last.outcome is not Outcome.COMPLETED or bool(self.steps and not self.steps[-1].end.whole)
        )
        model.returned = None
        if (
            last is not None
            and last.outcome is not Outcome.COMPLETED
            and not last.kept
            and last.prompt != CONTINUE_PROMPT
        ):
            model.returned = last.prompt
        return model

    def crashed(self) -> Self:
        """As it is when it is opened after the program died."""
        model = deepcopy(self)
        turn = model.turn
        if turn is not None:
            turn.beside = model.beside = NOTHING
            turn.reply = turn.reply.died()
            if turn.reply.started:
                model.commit()
            model.turns.append(KeptTurn(turn.number, turn.prompt, turn.continued, None, turn.kept))
        return model.opened()

    def forked(self, count: int) -> Self:
        """The first `count` steps as another conversation, opened."""
        model = deepcopy(self)
        model.steps = self.steps[:count]
        kept = {step.turn for step in model.steps}
        model.turns = [turn for turn in self.turns if turn.number in kept]
        if self.turn is not None and self.turn.number in kept:
            turn = self.turn
            model.turns.append(KeptTurn(turn.number, turn.prompt, turn.continued, None, kept=True))
        model.compactions = [each for each in self.compactions if each.upto <= count]
        model.queue = QueueModel()
        return model.opened()
