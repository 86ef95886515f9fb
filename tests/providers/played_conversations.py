"""Plays conversations with the model process, a strict server, a file of sessions, and a person.

After each turn it looks whether anything is left alive, whether the history is what it was, and whether what
the session has used is what the server has reported, each report counted once. Where that does not hold it
raises `AssertionError`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from core.cancel import CancelReason, Cause
from core.context.window import text_tokens
from core.model.messages import REMINDER, AssistantMessage, ResultStatus, ToolResults, Usage
from core.model.provider import ModelChoice, ModelInfo
from core.operations.events import (
    Answer,
    CallEnded,
    CallStarted,
    CompactionEnded,
    CompactionStarted,
    Event,
    Outcome,
    QuestionAsked,
    StepCommitted,
    Trigger,
    TurnEnded,
    TurnStarted,
)
from core.operations.operation import OperationKind
from core.operations.registry import Registry
from core.session.queue import SessionError
from core.session.session import Session
from core.storage.codec import to_text
from core.storage.records import NOTHING_USED
from core.storage.store import Store
from tests.providers.random_conversations import (
    TOO_LONG,
    Act,
    Between,
    How,
    Interruption,
    Plan,
    RandomConversation,
)
from tests.servers.script import Script, Silence, Stall
from tests.support.scripted_models import assert_in_order
from tests.support.scripted_tools import AskingTool, Do, PlayedTool, equipped
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.model.messages import ToolResult
    from core.model.provider import ModelProvider
    from core.storage.journal import OpenedSession
    from core.storage.records import StoredStep
    from tests.servers.base import Server
    from tests.servers.record import Request

MODEL = "openai/gpt-4o"
MARK = re.compile(r"<(\d+)>")
"""Of a prompt: the number of its turn."""

BEGINNINGS = {
    ResultStatus.DENIED: "Denied, it did not run",
    ResultStatus.STOPPED: "Stopped after ",
    ResultStatus.NOT_STARTED: "Not started",
}


@dataclass
class Figures:
    """What has been played. `refusals` count requests that the server found too long; of 400s for any other
    reason there must be none: those are `complaints`."""

    conversations: int = 0
    turns: int = 0
    requests: int = 0
    stops: int = 0
    compactions: int = 0
    compactions_in_vain: int = 0
    refusals: int = 0
    reopened: int = 0
    rewound: int = 0
    complaints: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)


@dataclass
class Model:
    """The server's side of a conversation: what it answers and what it reports. `script` runs in its thread.

    Each reply reports its own number as the tokens that came from a cache, so that no two reports are equal.
    """

    real_window: int | None
    on_stuck: Callable[[], None]
    replies: list[Script] = field(default_factory=list)
    summaries: list[Script] = field(default_factory=list)
    reported: dict[int, Usage] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    """How often a request of the turn with this number was found too long."""

    def script(self, request: Request) -> Script:
        texts = [message.text for message in request.conversation.messages]
        summary = (request.conversation.system or "").startswith("You summarise")
        scripts = self.summaries if summary else self.replies
        script = scripts.pop(0) if scripts else Script()
        tokens = text_tokens(json.dumps(request.body))
        number = len(self.reported) + 1
        self.reported[number] = usage = Usage(tokens, 1 + text_tokens("".join(script.text)), number)
        if self.real_window is not None and tokens > self.real_window:
            script = replace(script, fault=TOO_LONG)
        if script.fault == TOO_LONG and not summary:
            marks = [int(mark) for text in texts for mark in MARK.findall(text)]
            self.refused[max(marks, default=0)] += 1
        if isinstance(script.fault, Stall | Silence):
            self.on_stuck()
        return replace(script, usage=usage)


@dataclass
class InVain:
    """What compactions that came to nothing have used: it belongs to the next step that is committed (H6).

    In a turn of which nothing is kept it does not count.
    """

    before_turn: Usage = NOTHING_USED
    in_turn: Usage = NOTHING_USED
    kept: bool = False

    def take(self, ended: CompactionEnded) -> None:
        used = ended.usage or NOTHING_USED
        if ended.turn_id is None:
            self.before_turn += used
        else:
            self.in_turn += used

    def claim(self) -> Usage:
        claimed = self.before_turn + self.in_turn
        self.before_turn = self.in_turn = NOTHING_USED
        self.kept = True
        return claimed

    def end_turn(self) -> None:
        if self.kept:
            self.before_turn += self.in_turn
        self.in_turn, self.kept = NOTHING_USED, False


class Person:
    """Listens to one session, does what the plan says, and remembers what was told."""

    def __init__(self, session: Session, cards: dict[str, CallEnded], figures: Figures) -> None:
        self.session = session
        self.plan = Plan()
        self.interruption: Interruption | None = None
        self.events: list[Event] = []
        self.interfered = False
        self.retired = False
        self.quit: asyncio.Task[None] | None = None
        self._cards = cards
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._asked = 0
        self._before_compaction: object = None
        self._in_vain = InVain()
        self.failures: list[Exception] = []
        session.subscribe(self.hear)

    def begin(self, plan: Plan, interruption: Interruption | None) -> None:
        self.plan, self.interruption, self._asked = plan, interruption, 0
        self.interfered = False
        self._heard = 0

    def hear(self, event: Event) -> None:
        """A session only logs what its listener raises: here it is kept, for whoever plays."""
        try:
            self._hear(event)
        except Exception as error:  # noqa: BLE001 - raised again by the player
            self.failures.append(error)

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        interruption = self.interruption
        if interruption is not None and self._heard == interruption.event:
            self.later(interruption.rounds, lambda: self.interrupt(interruption.how))
        self._heard += 1
        match event:
            case CallStarted(call_id=call_id, title=title):
                do, _, said = title.partition(" ")
                if do not in (Do.RETURN, Do.FAIL, Do.BREAK) or said[:1] in self.plan.stopped:
                    self.later(2, lambda: self.session.operations.cancel(call_id, click()))
            case QuestionAsked(question=question):
                answer = Answer(self.plan.answers[self._asked % len(self.plan.answers)], "because")
                self._asked += 1
                self.later(2, lambda: self.session.questions.answer(question.ask_id, answer))
            case CallEnded():
                self._cards[event.call_id] = event
            case CompactionStarted():
                self._before_compaction = self.sent()
            case CompactionEnded(number=None):
                self._figures.compactions_in_vain += 1
                assert self.sent() == self._before_compaction, "a compaction in vain has changed something"
                self._in_vain.take(event)
            case CompactionEnded():
                self._figures.compactions += 1
            case StepCommitted():
                self._check_step(self.session.record.steps[-1])
            case TurnEnded():
                self._in_vain.end_turn()
                self._figures.turns += 1
                self._figures.outcomes[event.outcome] += 1
            case _:
                pass

    def later(self, rounds: int, action: Callable[[], object]) -> None:
        """A few rounds of the loop from now: in the meantime something may begin, wait or end."""
        if rounds == 0:
            action()
        else:
            self._loop.call_soon(lambda: self.later(rounds - 1, action))

    def interrupt(self, how: How) -> None:
        if self.retired:
            return
        self.interfered = True
        self._figures.stops += 1
        match how:
            case How.ESCAPE:
                self.session.stop(escape())
            case How.TWICE:
                self.session.stop(escape())
                self.session.force()
            case How.ROW:
                for view in self.session.operations.snapshot():
                    if view.kind in (OperationKind.STREAM, OperationKind.COMPACTION):
                        self.session.operations.cancel(view.call_id, click())
            case How.QUIT:
                self.quit = self.quit or asyncio.create_task(
                    self.session.aclose(CancelReason(Cause.QUIT, "quit"))
                )

    def check(self) -> None:
        """Raises what did not hold when it was heard."""
        if self.failures:
            raise ExceptionGroup("what was heard is wrong", self.failures)
        assert_in_order(in_turns(self.events))

    @property
    def unclaimed(self) -> Usage:
        """What was used for nothing and is in no step yet."""
        return self._in_vain.before_turn

    def _check_step(self, stored: StoredStep) -> None:
        """Its calls have one result each (H4), which tells what its card does (H5)."""
        assert (stored.subagent_usage or NOTHING_USED) == self._in_vain.claim()
        messages = stored.step.messages
        calls = [call.call_id for m in messages if isinstance(m, AssistantMessage) for call in m.calls]
        results = [result for m in messages if isinstance(m, ToolResults) for result in m.results]
        assert [result.call_id for result in results] == calls
        for result in results:
            check_result(result, self._cards[result.call_id])

    def sent(self) -> object:
        """What the next request would say of the conversation, and all that it is made from."""
        record = self.session.record
        return record.messages(), record.compactions, texts_of(self.session)


@dataclass(frozen=True)
class Line:
    """What conversations go over. `server` is the one that answers in the end, `url` is where requests go.

    `counts_pass` says that what it reports arrives as it is: a proxy may make counts of its own.
    """

    process: ModelProvider
    server: Server
    url: str
    counts_pass: bool = True


class Player:
    """Plays one conversation over `line`, in a session of `file`."""

    def __init__(self, line: Line, file: Path, conversation: RandomConversation) -> None:
        self.figures = Figures(conversations=1)
        self.cards: dict[str, CallEnded] = {}
        self.registry = Registry()
        self._line = line
        self._asked_before = len(asked(line.server))
        self._conversation = conversation
        self._choice = ModelChoice(MODEL, line.url)
        self._tools = (PlayedTool("read"), PlayedTool("write", changing=True), AskingTool("server"))
        self._file = file
        self._store = Store(file)
        loop = asyncio.get_running_loop()
        self._model = Model(
            conversation.real_window, lambda: ignore(loop.call_soon_threadsafe(self._unstick))
        )
        self.session = self._make(None)
        self._person = Person(self.session, self.cards, self.figures)
        self._number = 0

    async def play(self) -> None:
        """All of the conversation, and a last turn that nothing is in the way of."""
        self._line.server.script = self._model.script
        for plan in self._conversation.turns:
            for between in plan.before:
                await self._act(between)
            await self._turn(plan)
        self._person.retired = True
        self._model.real_window = None
        self.session.record.info = msgspec.structs.replace(self.session.record.info, context_window=None)
        await self._turn(Plan(prompt="and now?"))
        ended = [event for event in self._person.events if isinstance(event, TurnEnded)][-1]
        assert ended.outcome is Outcome.COMPLETED, ended
        self._check_last_request()
        await self._close()
        await self._store.aclose()
        self.figures.requests = len(asked(self._line.server)) - self._asked_before
        self.figures.refusals = self._model.refused.total()
        self.figures.complaints = len(self._line.server.complaints)

    # -- what a person does --

    async def _turn(self, plan: Plan) -> None:
        self._model.replies, self._model.summaries = list(plan.replies), list(plan.summaries)
        self._number += 1
        mark, prompt = self._number, f"<{self._number}> {plan.prompt}"
        self._person.begin(plan, plan.interruption)
        try:
            if not plan.continued:
                raise SessionError("The plan wants a prompt.")
            self.session.resume()
            mark = 0
        except SessionError:
            self.session.submit(prompt)
        if plan.queued and self._person.quit is None:
            self._number += 1
            self.session.submit(f"<{self._number}> and then?")
        began = len(self._person.events)
        await self._idle()
        while self.session.queue.texts and self._person.quit is None:
            self._person.begin(plan, None)
            self.session.queue.unpause()
            await self._idle()
        await self._settle()
        if mark:
            self._check_retries(mark, self._person.events[began:])

    async def _act(self, between: Between) -> None:
        before = texts_of(self.session)
        match between.act:
            case Act.REOPEN:
                await self._reopen(self.session.session_id)
            case Act.REWIND:
                await self._rewind()
                return
            case Act.COMPACT:
                self._person.begin(Plan(), between.interruption)
                sent, made = self._person.sent(), len(self.session.record.compactions)
                self.session.compact("the names of files")
                await self._idle()
                if len(self.session.record.compactions) == made:
                    assert self._person.sent() == sent
                await self._settle()
            case Act.UNCOMPACT:
                self._uncompact()
        assert texts_of(self.session) == before

    def _uncompact(self) -> None:
        live = [each for each in self.session.record.compactions if not each.undone]
        try:
            self.session.uncompact()
        except SessionError:
            assert not live
        else:
            assert [each for each in self.session.record.compactions if not each.undone] == live[:-1]

    async def _rewind(self) -> None:
        """A fork from before the turn in the middle."""
        steps = self.session.record.steps
        turns = sorted({stored.turn for stored in steps})
        if not turns:
            return
        before = [stored for stored in steps if stored.turn < turns[len(turns) // 2]]
        session_id = self.session.session_id
        await self._close()
        await self._reopen(await self._store.fork(session_id, len(before)))
        assert texts_of(self.session) == [to_text(stored.step) for stored in before]
        self.figures.rewound += 1

    # -- how --

    def _make(self, opened: OpenedSession | None) -> Session:
        equipment = msgspec.structs.replace(
            equipped(*self._tools),
            make_journal=lambda session_id: self._store.create(session_id, "/workspace", self._choice.model),
        )
        session = Session(self._line.process, self.registry, self._choice, equipment, opened)
        session.record.info = ModelInfo(self._choice.model, self._conversation.window)
        return session

    def _unstick(self) -> None:
        """The server says nothing more: whoever waits for it has to be stopped."""
        self._person.later(self._number % 7, lambda: self._person.interrupt(How.ESCAPE))

    async def _idle(self) -> None:
        async with asyncio.timeout(GENEROUS_S):
            await self.session.wait_idle()

    async def _settle(self) -> None:
        """Nothing is left alive, and all is counted; a session that was closed is open again."""
        if self._person.quit is not None:
            await self._reopen(self.session.session_id)
        self._person.check()
        assert self.registry.snapshot() == ()
        assert self.session.questions.open == ()
        assert all(tool.running == [] for tool in self._tools)
        self._check_usage()

    async def _close(self) -> None:
        async with asyncio.timeout(GENEROUS_S):
            await self.session.aclose(CancelReason(Cause.QUIT, "quit"))
        self._person.check()

    async def _reopen(self, session_id: str) -> None:
        """Close the session and the file, and open both again: this one, or another of the file."""
        was, person = self.session, self._person
        await self._close()
        await self._store.aclose()
        self._store = Store(self._file)
        # A session gets into the file with its first turn.
        known = session_id != was.session_id or bool(was.record.turns)
        opened = await self._store.open(session_id) if known else None
        self.session = self._make(opened)
        if opened is not None and session_id == was.session_id:
            assert texts_of(self.session) == texts_of(was)
            assert self.session.record.compactions == was.record.compactions
            # What no step has claimed is nowhere written down.
            assert self.session.record.usage == opened.loaded.info.usage
            assert was.record.usage == self.session.record.usage + person.unclaimed
            assert self.session.queue.texts == was.queue.texts
            self.session.queue.take_all()
        self._person = Person(self.session, self.cards, self.figures)
        self._person.begin(person.plan, None)
        self.figures.reopened += 1

    # -- what must hold --

    def _check_usage(self) -> None:
        """Each report counts once at most, as it was, and every reply that came to its end has one (H6)."""
        record = self.session.record
        counted = [stored.step.usage for stored in record.steps if stored.step.usage is not None]
        # A compaction that only trims has used nothing.
        made = [compaction.usage for compaction in record.compactions if compaction.usage != NOTHING_USED]
        counted += [usage for usage in made if usage is not None]
        beside = [stored.subagent_usage for stored in record.steps if stored.subagent_usage is not None]
        assert self.session.record.usage == sum([*counted, *beside, self._person.unclaimed], NOTHING_USED)
        if not self._line.counts_pass:
            return
        assert None not in made
        for stored in record.steps:
            (reply,) = [m for m in stored.step.messages if isinstance(m, AssistantMessage)]
            assert (stored.step.usage is None) is reply.interrupted
        assert all(usage == self._model.reported[usage.cached_tokens] for usage in counted)
        assert len({usage.cached_tokens for usage in counted}) == len(counted), "counted twice"

    def _check_retries(self, mark: int, events: list[Event]) -> None:
        """Where the provider has found a request too long, there was one compaction and one retry."""
        if self._person.interfered or not any(isinstance(event, TurnStarted) for event in events):
            return
        ended = [event for event in events if isinstance(event, TurnEnded)]
        made = [e for e in events if isinstance(e, CompactionStarted) and e.trigger is Trigger.REFUSED]
        if len(ended) == 1 and ended[0].outcome is Outcome.COMPLETED:
            assert len(made) == self._model.refused[mark], "a refusal is answered by one compaction"

    def _check_last_request(self) -> None:
        """What the server was sent last is the conversation as it is kept: every result that is visible."""
        kept = [m for m in self.session.record.messages() if isinstance(m, ToolResults)]
        (*_, last) = asked(self._line.server)
        sent = [result.text for result in last.conversation.results]
        assert sent == [result.text for part in kept for result in part.results]


async def play(line: Line, folder: Path, conversation: RandomConversation) -> Figures:
    """Play `conversation` in a file of its own. Raises what does not hold."""
    player = Player(line, folder / "caesura.db", conversation)
    await player.play()
    return player.figures


def asked(server: Server) -> list[Request]:
    """The requests for a reply: a proxy asks for other things as well."""
    return [each.request for each in server.exchanges if each.request.path.endswith("/chat/completions")]


def texts_of(session: Session) -> list[str]:
    """The history, byte for byte."""
    return [to_text(step) for step in session.record.plain_steps]


def in_turns(events: list[Event]) -> list[Event]:
    """Without what belongs to no turn."""
    return [event for event in events if getattr(event, "turn_id", 0) is not None]


def escape() -> CancelReason:
    return CancelReason(Cause.USER, "escape")


def click() -> CancelReason:
    return CancelReason(Cause.USER, "click", words="not now")


def ignore(_: object) -> None:
    return None


def check_result(result: ToolResult, card: CallEnded) -> None:
    """The model and the person are told the same, in words that fit."""
    assert card.status is result.status
    for status, beginning in BEGINNINGS.items():
        assert result.text.startswith(beginning) is (result.status is status)
    assert result.text.count(REMINDER) <= 1
