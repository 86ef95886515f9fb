"""Random conversations with tools over a real connection: whatever is stopped, no request is ever refused.

The server is strict (`tests.servers.strict`): it answers 400 to every history that a provider would not take
back. A person stops calls, answers questions and presses Esc at random events; the server breaks streams off.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.cancel import CancelReason, Cause
from core.events import Answer, AnswerKind, CallEnded, CallStarted, Event, Outcome, QuestionAsked, TurnEnded
from core.messages import ResultStatus, ToolResults
from core.operations import Registry
from core.results import REMINDER
from core.model import ModelChoice
from core.session import Session
from tests.core.providers import ESCAPE, assert_in_order
from tests.core.tools_played import AskingTool, Do, PlayedTool, equipped
from tests.providers.harness import DEADLINE_S
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, Cut, Script

if TYPE_CHECKING:
    from core.messages import ToolResult
    from providers.process import ModelProcess
    from tests.servers.base import Server
    from tests.servers.record import Request

CLICK = CancelReason(Cause.USER, "click", words="not now")
BEGINNINGS = {
    ResultStatus.DENIED: "Denied, it did not run",
    ResultStatus.STOPPED: "Stopped after ",
    ResultStatus.NOT_STARTED: "Not started",
}


@dataclass(frozen=True)
class Step:
    """One reply of the server: its calls, and after how many deltas it breaks off, if it does."""

    calls: tuple[Call, ...]
    cut: int | None


@dataclass(frozen=True)
class Plan:
    """What happens in one turn. `esc` is the number of the event at which the person presses it."""

    steps: tuple[Step, ...]
    stopped: frozenset[str]
    answers: tuple[AnswerKind, ...]
    esc: int | None


def call(do: Do, name: str, say: str, given: str | None, broken: bool) -> Call:
    text = json.dumps({"do": do, "say": say})
    return Call(given, name, (text[:5], text[5:-1] if broken else text[5:]))


CALLS = st.builds(
    call,
    # Nothing waits for ever that nobody stops: what holds is stopped at its start, if not before.
    st.sampled_from([Do.RETURN, Do.RETURN, Do.FAIL, Do.BREAK, Do.HOLD, Do.CHANGE, Do.SWALLOW]),
    st.sampled_from(["read", "write", "server", "unknown"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["one", "two", "two", None]),
    st.sampled_from([False, False, False, True]),
)
STEPS = st.builds(
    Step,
    st.lists(CALLS, max_size=4).map(tuple),
    st.none() | st.integers(0, 5),
)
PLANS = st.builds(
    Plan,
    st.lists(STEPS, max_size=3).map(tuple),
    st.frozensets(st.sampled_from(["a", "b", "c"])),
    st.lists(st.sampled_from([AnswerKind.ONCE, AnswerKind.DENY, AnswerKind.SESSION]), min_size=1).map(tuple),
    st.none() | st.integers(0, 20),
)


class Person:
    """Listens, and does what the plan says."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.plan = Plan((), frozenset(), (AnswerKind.ONCE,), None)
        self.events: list[Event] = []
        self.heard = 0
        self.asked = 0
        session.subscribe(self.hear)

    def begin(self, plan: Plan) -> None:
        self.plan, self.heard, self.asked = plan, 0, 0

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if self.heard == self.plan.esc:
            self.session.stop(ESCAPE)
        self.heard += 1
        match event:
            case CallStarted(call_id=call_id, title=title):
                do, _, say = title.partition(" ")
                if do not in (Do.RETURN, Do.FAIL, Do.BREAK) or say in self.plan.stopped:
                    self.soon(self.session.stop_call, call_id, CLICK)
            case QuestionAsked(question=question):
                kind = self.plan.answers[self.asked % len(self.plan.answers)]
                self.asked += 1
                self.soon(self.session.answer, question.ask_id, Answer(kind, "because"))
            case _:
                pass

    def soon(self, *what: object) -> None:
        """A few steps of the loop later: now a call waits, now it runs."""
        loop = asyncio.get_running_loop()
        action, *arguments = what
        loop.call_soon(lambda: loop.call_soon(action, *arguments))  # type: ignore[arg-type]


def script_of(step: Step) -> Script:
    fault = None if step.cut is None else Cut(step.cut)
    return Script(text=("so ", "be it"), calls=step.calls, fault=fault)


async def converse(process: ModelProcess, server: Server, plans: list[Plan]) -> tuple[Session, Person]:
    tools = (PlayedTool("read"), PlayedTool("write", changing=True), AskingTool("server"))
    registry = Registry()
    choice = ModelChoice("openai/gpt-4o", server.url)
    session = Session(process, registry, choice, equipped(*tools))
    person = Person(session)
    for plan in plans:
        waiting = [script_of(step) for step in plan.steps]

        def choose(_: Request, waiting: list[Script] = waiting) -> Script:
            return waiting.pop(0) if waiting else Script()

        server.script = choose
        person.begin(plan)
        session.submit("go on")
        async with asyncio.timeout(DEADLINE_S):
            await session.wait_idle()
        assert registry.snapshot() == ()
        assert session.questions == ()
        assert all(tool.running == [] for tool in tools)
    server.script = Script()
    person.begin(Plan((), frozenset(), (AnswerKind.ONCE,), None))
    session.submit("and now?")
    async with asyncio.timeout(DEADLINE_S):
        await session.wait_idle()
    return session, person


@pytest.mark.promise("H4", "H5", "S3", "S8", "S9", "U8")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans=st.lists(PLANS, min_size=1, max_size=3))
def test_no_interrupted_conversation_is_refused(shared: ModelProcess, plans: list[Plan]) -> None:
    with ThreadedServer(PROTOCOLS["openai"].server(Script())) as server:
        session, person = asyncio.run(converse(shared, server, plans))
        requests = [exchange.request.conversation for exchange in server.exchanges]
        assert server.complaints == []
    assert_in_order(person.events)
    last = [event for event in person.events if isinstance(event, TurnEnded)][-1]
    assert last.outcome is Outcome.COMPLETED
    messages = [message for step in session.history for message in step.messages]
    cards = {event.call_id: event for event in person.events if isinstance(event, CallEnded)}
    results = [result for part in messages if isinstance(part, ToolResults) for result in part.results]
    for result in results:
        check_result(result, cards[result.call_id])
    sent = {result.call_id: result.text for result in requests[-1].results}
    assert sent == {result.call_id: result.text for result in results}


def check_result(result: ToolResult, card: CallEnded) -> None:
    """The model and the person are told the same, in words that fit."""
    assert card.status is result.status
    for status, beginning in BEGINNINGS.items():
        assert result.text.startswith(beginning) is (result.status is status)
    assert result.text.count(REMINDER) <= 1
