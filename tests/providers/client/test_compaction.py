"""Compactions over a real connection: stopped or failed in whatever phase of their request, nothing changes.

The session is in a file, the model process is the real one, and the server sees its socket close. Each way of
failing is tried with `/compact` and with a compaction in a turn, before a request that would not fit.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
import pytest

from core.cancel import CancelReason, Cause
from core.context.summary import ATTEMPTS
from core.model.messages import FinishReason, ToolResults, Usage, sendable
from core.model.provider import Closing, ModelChoice, ModelInfo, Phase
from core.operations.events import (
    CompactionEnded,
    CompactionStarted,
    Event,
    Outcome,
    StopReport,
    Trigger,
    TurnEnded,
)
from core.operations.operation import OperationKind, OperationState
from core.operations.registry import Registry
from core.session.session import Session
from core.storage.store import Store
from tests.providers.conftest import linux_only
from tests.providers.harness import BURST, ERROR_BODY, WORDS
from tests.providers.played_conversations import texts_of
from tests.providers.random_conversations import SUMMARY, TOO_LONG
from tests.servers.base import ThreadedServer
from tests.servers.blackhole import BlackHole
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import (
    Call,
    Cut,
    ErrorEvent,
    Garbage,
    Refusal,
    Refuse,
    Reset,
    Script,
    Silence,
    Stall,
    Truncate,
)
from tests.support.scripted_tools import equipped
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from providers.client.model_process import ModelProcess
    from tests.servers.base import Server
    from tests.servers.conversation import Conversation
    from tests.servers.record import Exchange, Request

OPENAI = PROTOCOLS["openai"]
LONG = Script(text=("word " * 400,), usage=Usage(600, 600))
TURNS = 4
USED = Usage(77, 11)
GOOD = Script(text=(SUMMARY,), usage=USED)
FULL = 1_500
"""A window that is so full by then that a request still goes in, but a summary is due."""
OVERFULL = 1_200
"""One in which the conversation has no room any more."""


class Way(Enum):
    ASKED = "/compact"
    IN_TURN = "in a turn"


@dataclass
class Talk:
    """A session that has had `TURNS` long turns, its server, and what its listener has heard."""

    session: Session
    server: Server
    store: Store
    registry: Registry
    events: list[Event] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    sent: object = None
    usage: Usage = field(default_factory=lambda: Usage(0, 0))

    async def prepare(self) -> None:
        for number in range(TURNS):
            self.session.submit(f"prompt {number}")
            await self.idle()
        self.written, self.sent = texts_of(self.session), self.session.record.messages()
        self.usage = self.session.record.usage
        self.session.subscribe(self.events.append)

    async def idle(self) -> None:
        await until(lambda: not self.session.operations.snapshot())
        await self.session.wait_idle()

    def begin(self, way: Way, window: int = FULL) -> None:
        """Have it compacted in this way."""
        match way:
            case Way.ASKED:
                self.session.compact()
            case Way.IN_TURN:
                self.session.record.info = ModelInfo(self.session.model.choice.model, window)
                self.session.submit("prompt 4")

    @property
    def begun(self) -> CompactionStarted:
        (begun,) = [event for event in self.events if isinstance(event, CompactionStarted)]
        return begun

    @property
    def ended(self) -> CompactionEnded:
        (ended,) = [event for event in self.events if isinstance(event, CompactionEnded)]
        return ended

    @property
    def turn(self) -> TurnEnded:
        return [event for event in self.events if isinstance(event, TurnEnded)][-1]

    @property
    def asked(self) -> list[Exchange]:
        """The requests since the long turns."""
        return self.server.exchanges[TURNS:]

    @property
    def conversations(self) -> list[Conversation]:
        return [exchange.request.conversation for exchange in self.asked]

    async def check_unchanged(self, *, used: Usage | None = None) -> None:
        """All is as it was, in memory and in the file; `used` is what was used for nothing."""
        record = self.session.record
        assert texts_of(self.session) == self.written
        assert record.messages() == self.sent
        assert record.compactions == ()
        assert self.ended.number is None
        assert self.ended.summary == ""
        assert self.session.record.usage == (self.usage if used is None else self.usage + used)
        assert self.registry.snapshot() == ()
        loaded = await self.store.load(self.session.session_id)
        assert loaded.steps == record.steps
        assert loaded.compactions == ()

    async def check_next_turn(self) -> None:
        """The next turn sends all that was said, and is answered."""
        self.server.script = Script(usage=USED)
        self.session.record.info = ModelInfo(self.session.model.choice.model)
        before = len(self.session.record.plain_steps)
        self.session.submit("and now?")
        await self.idle()
        assert self.turn.outcome is Outcome.COMPLETED, self.turn
        texts = [message.text for message in self.conversations[-1].messages]
        said = [m.text for m in sendable(self.session.record.messages()) if not isinstance(m, ToolResults)]
        assert texts == said[:-1]
        assert len(self.session.record.plain_steps) == before + 1
        assert self.server.complaints == []


@asynccontextmanager
async def talking(model: ModelProcess, folder: Path, protocol: WireProtocol = OPENAI) -> AsyncIterator[Talk]:
    store, registry = Store(folder / "caesura.db"), Registry()
    name = protocol.model.replace("/", "/responses/") if protocol.uses_responses else protocol.model
    with ThreadedServer(protocol.server(LONG)) as server:
        equipment = msgspec.structs.replace(
            equipped(), make_journal=lambda session: store.create(session, "/w", name)
        )
        session = Session(model, registry, ModelChoice(name, server.url), equipment)
        talk = Talk(session, server, store, registry)
        await talk.prepare()
        try:
            yield talk
        finally:
            await session.aclose(CancelReason(Cause.QUIT, "quit"))
            await store.aclose()


# -- stopped --


@dataclass(frozen=True)
class Situation:
    """Where the request for a summary is; `reached` tells from what the server has seen of it."""

    name: str
    script: Script
    reached: Callable[[Exchange], bool]

    def __str__(self) -> str:
        return self.name


SITUATIONS = (
    Situation("waiting for headers", Script(fault=Silence()), lambda _: True),
    Situation("after headers", Script(fault=Stall()), lambda seen: seen.headers_at is not None),
    Situation("streaming", Script(text=WORDS, delay=0.002), lambda seen: seen.deltas_sent >= 2),
    Situation("in a burst", BURST, lambda seen: seen.deltas_sent >= 2),
    Situation("stalled", Script(text=WORDS, fault=Stall(after=3)), lambda seen: seen.deltas_sent >= 3),
    Situation("in an error body", ERROR_BODY, lambda seen: seen.headers_at is not None),
)


def check_stopped(talk: Talk, way: Way, *closings: Closing | None) -> None:
    """The stop is told as one, with its proof, and nothing of it as a failure."""
    assert talk.ended.error is None
    assert talk.ended.usage is None
    proofs: list[StopReport | None] = [talk.ended.proof]
    if way is Way.IN_TURN:
        assert talk.turn.outcome is Outcome.CANCELLED
        assert talk.turn.returned_prompt == "prompt 4"
        proofs.append(talk.turn.proof)
    for proof in proofs:
        assert proof is not None
        assert (proof.source, proof.unconfirmed) == ("escape", ())
        assert proof.closing in closings
    record = talk.registry.records[-1]
    assert (record.kind, record.phase) == (OperationKind.COMPACTION, Phase.COMPACTION)
    assert record.state is OperationState.CANCELLED


@pytest.mark.promise("C1", "C2", "H6", "P1", "P2", "T9")
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
async def test_a_stop_closes_the_socket_and_changes_nothing(
    model: ModelProcess, tmp_path: Path, situation: Situation, way: Way
) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = situation.script
        talk.begin(way)
        await until(lambda: bool(talk.asked) and situation.reached(talk.asked[0]))
        assert talk.session.stop(CancelReason(Cause.USER, "escape"))
        await talk.idle()
        (exchange,) = talk.asked
        await until(lambda: exchange.closed_by_peer)
        assert exchange.completed_at is None
        check_stopped(talk, way, Closing.CLOSED)
        await talk.check_unchanged()
        await talk.check_next_turn()


@pytest.mark.promise("C1", "C2", "T3")
@pytest.mark.parametrize("way", Way)
async def test_a_stop_before_the_request_makes_none(model: ModelProcess, tmp_path: Path, way: Way) -> None:
    async with talking(model, tmp_path) as talk:
        stop_at(talk.session, CompactionStarted)
        talk.begin(way)
        await talk.idle()
        check_stopped(talk, way, None, Closing.NEVER_OPENED)
        assert talk.asked == []
        await talk.check_unchanged()
        await talk.check_next_turn()


def stop_at(session: Session, kind: type[Event]) -> None:
    """Stop what runs in the moment of that event."""

    def hear(event: Event) -> None:
        if isinstance(event, kind):
            session.stop(CancelReason(Cause.USER, "escape"))

    session.subscribe(hear)


@linux_only
@pytest.mark.promise("C1", "C2", "P2")
@pytest.mark.parametrize("way", Way)
async def test_a_stop_while_connecting(model: ModelProcess, tmp_path: Path, way: Way) -> None:
    async with talking(model, tmp_path) as talk:
        there = talk.session.model.choice
        with BlackHole() as hole:
            talk.session.record.choice = msgspec.structs.replace(there, api_base=hole.url)
            talk.begin(way)
            await until(lambda: hole.connecting == 1)
            assert talk.session.stop(CancelReason(Cause.USER, "escape"))
            await talk.idle()
            assert hole.connecting == 0
        talk.session.record.choice = there
        check_stopped(talk, way, Closing.NEVER_OPENED)
        await talk.check_unchanged()
        await talk.check_next_turn()


@pytest.mark.promise("C2")
async def test_a_stop_after_the_summary_does_not_take_it_back(model: ModelProcess, tmp_path: Path) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = GOOD
        stop_at(talk.session, CompactionEnded)
        talk.session.compact("names")
        await talk.idle()
        (made,) = talk.session.record.compactions
        assert (made.summary, made.usage, made.upto) == (SUMMARY, USED, TURNS - 1)
        assert talk.session.record.usage == talk.usage + USED
        assert texts_of(talk.session) == talk.written
        assert talk.session.record.messages() != talk.sent
        loaded = await talk.store.load(talk.session.session_id)
        assert loaded.compactions == (made,)
        await talk.check_next_turn()
        assert SUMMARY in talk.conversations[-1].messages[0].text
        talk.session.uncompact()
        assert talk.session.record.messages()[: 2 * TURNS] == talk.sent
        await talk.check_next_turn()
        assert not any(SUMMARY in message.text for message in talk.conversations[-1].messages)


# -- failed --

FAILURES: dict[str, tuple[Script, Usage | None]] = {
    "cut": (replace(GOOD, text=WORDS, fault=Cut(after=2)), None),
    "cut before its end": (replace(GOOD, fault=Cut(after=1)), None),
    "truncated": (replace(GOOD, text=WORDS, fault=Truncate(after=2)), None),
    "reset": (replace(GOOD, text=WORDS, fault=Reset(after=2)), None),
    "garbled": (replace(GOOD, text=WORDS, fault=Garbage(after=2)), None),
    "an error in the stream": (replace(GOOD, text=WORDS, fault=ErrorEvent(after=2)), None),
    "refused": (Script(fault=Refuse(Refusal.SERVER_ERROR)), None),
    "at the model's limit": (replace(GOOD, finish=FinishReason.LENGTH), USED),
    "empty": (replace(GOOD, text=()), USED),
    "too long to help": (replace(GOOD, text=("word " * 2_000,)), USED),
    "endless": (BURST, None),
    "a call": (replace(GOOD, calls=(Call("one", "read"),)), USED),
}


@pytest.mark.promise("C1", "H6", "P6")
@pytest.mark.parametrize(("script", "used"), FAILURES.values(), ids=list(FAILURES))
async def test_a_failure_changes_nothing(
    model: ModelProcess, tmp_path: Path, script: Script, used: Usage | None
) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = script
        talk.begin(Way.ASKED)
        await talk.idle()
        assert len(talk.asked) == 1, "a failure is not tried again"
        assert talk.ended.error
        assert talk.ended.proof is None
        assert talk.ended.usage == used
        await talk.check_unchanged(used=used)
        await talk.check_next_turn()
        # What was used for nothing is in the file with the step that came next.
        assert talk.session.record.steps[-1].subagent_usage == used
        loaded = await talk.store.load(talk.session.session_id)
        assert loaded.info.usage == talk.session.record.usage == talk.usage + USED + (used or Usage(0, 0))


@pytest.mark.promise("C1", "H6")
async def test_a_turn_goes_on_without_a_summary_that_failed(model: ModelProcess, tmp_path: Path) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = one_by_one(replace(GOOD, text=()), Script(usage=USED))
        talk.begin(Way.IN_TURN)
        await talk.idle()
        assert talk.turn.outcome is Outcome.COMPLETED
        assert talk.ended.error
        assert talk.begun.trigger is Trigger.AUTOMATIC
        assert len(talk.asked) == 2
        assert talk.session.record.compactions == ()
        assert texts_of(talk.session)[:-1] == talk.written
        assert talk.session.record.usage == talk.usage + USED + USED
        await talk.check_next_turn()


@pytest.mark.promise("C1", "H1")
async def test_a_turn_that_has_no_room_ends_with_its_failed_summary(
    model: ModelProcess, tmp_path: Path
) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = replace(GOOD, fault=Cut(after=1))
        talk.begin(Way.IN_TURN, OVERFULL)
        await talk.idle()
        assert talk.turn.outcome is Outcome.ERROR
        assert talk.turn.error
        assert talk.turn.returned_prompt == "prompt 4"
        assert len(talk.asked) == 1
        await talk.check_unchanged()
        await talk.check_next_turn()


# -- too long for the provider --


def one_by_one(*scripts: Script) -> Callable[[Request], Script]:
    left = list(scripts)
    return lambda _: left.pop(0)


@pytest.mark.promise("C1", "C3", "H6")
async def test_a_request_that_is_too_long_is_compacted_once_and_sent_again(
    model: ModelProcess, tmp_path: Path, protocol: WireProtocol
) -> None:
    async with talking(model, tmp_path, protocol) as talk:
        talk.server.script = one_by_one(Script(fault=TOO_LONG), GOOD, Script(usage=USED))
        talk.session.submit("prompt 4")
        await talk.idle()
        assert talk.turn.outcome is Outcome.COMPLETED, talk.turn
        assert talk.begun.trigger is Trigger.REFUSED
        refused, summary, retried = talk.conversations
        assert refused.messages[-1].text == retried.messages[-1].text == "prompt 4"
        assert len(refused.messages) == 2 * TURNS + 1
        assert [message.text[:9] for message in retried.messages[1:]] == ["word word", "prompt 4"]
        assert SUMMARY in retried.messages[0].text
        assert "[User]\nprompt 0" in summary.messages[0].text
        assert summary.tools == ()
        (made,) = talk.session.record.compactions
        assert made.summary == SUMMARY
        assert texts_of(talk.session)[:-1] == talk.written
        assert talk.session.record.usage == talk.usage + made_usage(made.usage) + made_usage(
            talk.session.record.last_usage
        )
        await talk.check_next_turn()


def made_usage(usage: Usage | None) -> Usage:
    assert usage is not None
    return usage


@pytest.mark.promise("C1")
async def test_a_retry_that_is_too_long_as_well_ends_the_turn(model: ModelProcess, tmp_path: Path) -> None:
    async with talking(model, tmp_path) as talk:
        # Steps that the first compaction keeps, so that there would be something to summarise again.
        talk.server.script = Script(usage=Usage(2_600, 5))
        for _ in range(2):
            talk.session.submit("a short one")
            await talk.idle()
        written, before = texts_of(talk.session), talk.session.record.usage
        too_long = Script(fault=TOO_LONG)
        talk.server.script = one_by_one(too_long, GOOD, too_long)
        talk.session.submit("prompt 4")
        await talk.idle()
        assert talk.turn.outcome is Outcome.ERROR
        assert talk.turn.error is not None
        assert "too long" in talk.turn.error
        assert talk.turn.returned_prompt == "prompt 4"
        assert len(talk.asked) == 2 + 3
        assert texts_of(talk.session) == written
        assert talk.session.record.usage == before + USED
        await talk.check_next_turn()


@pytest.mark.promise("C1")
async def test_a_summary_is_asked_for_a_bounded_number_of_times(model: ModelProcess, tmp_path: Path) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = Script(fault=TOO_LONG)
        talk.session.submit("prompt 4")
        await talk.idle()
        assert talk.turn.outcome is Outcome.ERROR
        assert 2 <= len(talk.asked) <= 1 + ATTEMPTS
        lengths = [len(asked.messages[0].text) for asked in talk.conversations[1:]]
        assert lengths == sorted(lengths, reverse=True)
        await talk.check_unchanged()
        await talk.check_next_turn()


@pytest.mark.promise("C1", "P1")
async def test_a_stop_after_a_refusal_sends_nothing_again(model: ModelProcess, tmp_path: Path) -> None:
    async with talking(model, tmp_path) as talk:
        talk.server.script = one_by_one(Script(fault=TOO_LONG), Script(fault=Silence()))
        talk.session.submit("prompt 4")
        await until(lambda: len(talk.asked) == 2)
        assert talk.session.stop(CancelReason(Cause.USER, "escape"))
        await talk.idle()
        await until(lambda: talk.asked[1].closed_by_peer)
        assert len(talk.asked) == 2
        check_stopped(talk, Way.IN_TURN, Closing.CLOSED)
        await talk.check_unchanged()
        await talk.check_next_turn()
