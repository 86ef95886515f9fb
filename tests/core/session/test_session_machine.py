"""A session over random histories of what people and models do, against a model in plain Python."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.model.messages import AssistantMessage, FinishReason, Usage, UserMessage
from core.model.provider import FailureKind, Finished, ModelError, TextDelta
from core.operations.events import Outcome, Status, TurnStarted
from core.session.continuation import CONTINUE_PROMPT
from core.session.queue import SessionError
from tests.support.bound_tasks import rounds
from tests.support.cancel_sweep import in_thread
from tests.support.scripted_models import (
    ESCAPE,
    MODEL,
    USAGE,
    Conversation,
    DrivenProvider,
    assert_accepted,
    assert_in_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = ModelError(FailureKind.OVERLOADED, "The model is overloaded: try again.")


@dataclass(frozen=True)
class Running:
    prompt: str
    continued: bool = False
    shown: str = ""
    stopped: bool = False


class SessionMachine(RuleBasedStateMachine):
    """Rules act at once; whether the event loop goes round between two of them is drawn as well."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        # The model of the session.
        self.kept: list[tuple[str, str, bool]] = []
        self.running: Running | None = None
        self.queue: list[str] = []
        self.paused = False
        self.returned: str | None = None
        self.started: list[tuple[str, bool]] = []
        self.ended: list[Outcome] = []
        self.usage = Usage(0, 0)
        self.prompts = 0

    @initialize()
    def open(self) -> None:
        self.provider = DrivenProvider()

        async def make() -> Conversation:
            return Conversation(provider=self.provider)

        self.talk = self.loop.run_until_complete(make())

    def teardown(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await rounds()

        self.loop.run_until_complete(end())
        self.loop.close()
        assert_in_order(self.talk.events)

    # ---- the model

    def begin(self, prompt: str, *, continued: bool = False) -> None:
        self.running = Running(prompt, continued)
        self.returned = None
        self.started.append((prompt, continued))

    def end(self, outcome: Outcome, *, finished: bool = False) -> None:
        assert self.running is not None
        ended, self.running = self.running, None
        completed = outcome is Outcome.COMPLETED
        self.ended.append(outcome)
        if finished or ended.shown:
            self.kept.append((ended.prompt, ended.shown, not completed))
        elif ended.prompt != CONTINUE_PROMPT:
            self.returned = ended.prompt
        if finished:
            self.usage += USAGE
        self.paused = bool(self.queue) and (self.paused or not completed)
        if self.queue and not self.paused:
            self.begin(self.queue.pop(0))

    # ---- what people do

    @rule(settled=st.booleans())
    def submit(self, settled: bool) -> None:
        self.prompts += 1
        prompt = f"prompt {self.prompts}"
        self.call(lambda: self.talk.session.submit(prompt))
        if self.running is None:
            self.begin(prompt)
        else:
            self.queue.append(prompt)
        self.settle(settled)

    @rule(settled=st.booleans(), thread=st.booleans())
    def stop(self, settled: bool, thread: bool) -> None:
        answers: list[bool] = []

        def stop() -> None:
            answers.append(self.talk.session.stop(ESCAPE))

        self.call((lambda: in_thread(stop)) if thread else stop)
        assert answers == [self.running is not None and not self.running.stopped]
        if self.running is not None:
            self.running = replace(self.running, stopped=True)
        self.settle(settled)

    @rule(settled=st.booleans())
    def force(self, settled: bool) -> None:
        answers: list[bool] = []
        self.call(lambda: answers.append(self.talk.session.force()))
        assert answers == [self.running is not None and self.running.stopped]
        self.settle(settled)

    @rule(settled=st.booleans())
    def resume(self, settled: bool) -> None:
        errors: list[SessionError] = []

        def resume() -> None:
            try:
                self.talk.session.resume()
            except SessionError as error:
                errors.append(error)

        self.call(resume)
        if self.running is not None:
            assert errors
        elif self.returned is not None:
            self.begin(self.returned, continued=True)
            assert not errors
        elif self.kept and self.kept[-1][2]:
            self.begin(CONTINUE_PROMPT, continued=True)
            assert not errors
        else:
            assert errors
        self.settle(settled)

    @rule(settled=st.booleans())
    def send_queued(self, settled: bool) -> None:
        answers: list[bool] = []
        self.call(lambda: answers.append(self.talk.session.queue.unpause()))
        assert answers == [self.running is None and bool(self.queue)]
        if answers[0]:
            self.paused = False
            self.begin(self.queue.pop(0))
        self.settle(settled)

    @rule()
    def take_queue(self) -> None:
        taken: list[tuple[str, ...]] = []
        self.call(lambda: taken.append(self.talk.session.queue.take_all()))
        assert taken == [tuple(self.queue)]
        self.queue, self.paused = [], False
        self.settle(settled=False)

    # ---- what the model does

    @precondition(lambda self: self.running is not None and not self.running.stopped)
    @rule(text=st.sampled_from(["", "a ", "word "]))
    def say(self, text: str) -> None:
        assert self.running is not None
        self.order(TextDelta(text))
        self.running = replace(self.running, shown=self.running.shown + text)

    @precondition(lambda self: self.running is not None and not self.running.stopped)
    @rule(reason=st.sampled_from([FinishReason.STOP, FinishReason.STOP, *FinishReason]))
    def finish(self, reason: FinishReason) -> None:
        assert self.running is not None
        self.order(Finished(reason, USAGE, MODEL))
        whole = reason is FinishReason.STOP and bool(self.running.shown.strip())
        self.end(Outcome.COMPLETED if whole else Outcome.ERROR, finished=True)

    @precondition(lambda self: self.running is not None and not self.running.stopped)
    @rule()
    def fail(self) -> None:
        self.order(FAILED)
        self.end(Outcome.ERROR)

    # ---- what must hold after each step

    @invariant()
    def the_session_is_as_in_the_model(self) -> None:
        session = self.talk.session
        history = [
            (prompt.text, reply.text, not reply.end.whole)
            for prompt, reply in (step.messages for step in session.record.plain_steps)
            if isinstance(reply, AssistantMessage)
        ]
        assert history == self.kept
        assert (session.queue.texts, session.queue.paused) == (tuple(self.queue), self.paused)
        assert session.record.usage == self.usage
        assert self.talk.outcomes == self.ended
        started = [
            (event.prompt, event.continued) for event in self.talk.events if isinstance(event, TurnStarted)
        ]
        assert started == self.started
        assert_in_order(self.talk.events, still_running=self.running is not None)

    @invariant()
    def the_status_is_that_of_the_turn(self) -> None:
        if self.running is None:
            expected = Status.IDLE
        else:
            expected = Status.STOPPING if self.running.stopped else Status.RUNNING
        assert self.talk.session.status is expected
        assert len(self.talk.registry.snapshot()) <= (self.running is not None)

    @invariant()
    def every_stop_has_left_its_record(self) -> None:
        ended = self.ended.count(Outcome.CANCELLED)
        stopping = self.running is not None and self.running.stopped
        assert ended <= len(self.talk.registry.records) <= ended + stopping

    @invariant()
    def requests_are_well_formed_and_hold_what_was_kept(self) -> None:
        for request in self.provider.requests[-1:]:
            assert_accepted(request.messages)
            last = request.messages[-1]
            assert isinstance(last, UserMessage)
            if self.provider.streaming:
                assert self.running is not None
                assert last.text.endswith(self.running.prompt)
                said = [message.text for message in request.messages if isinstance(message, AssistantMessage)]
                assert said == [text for _, text, _ in self.kept if text]

    # ---- how

    def call(self, action: Callable[[], object]) -> None:
        """Act in the loop, and let it go no further: what this set going has not begun."""

        async def act() -> None:
            self.catch_up()
            action()

        self.loop.run_until_complete(act())

    def settle(self, settled: bool) -> None:
        if settled:
            self.loop.run_until_complete(rounds(30))
        self.catch_up()
        assert not settled or self.running is None or not self.running.stopped

    def catch_up(self) -> None:
        """A stopped turn ends when the event loop gets round to it."""
        if self.running is not None and self.running.stopped and len(self.talk.ended) > len(self.ended):
            self.end(Outcome.CANCELLED)

    def order(self, order: TextDelta | Exception | Finished) -> None:
        self.provider.orders.put_nowait(order)
        self.loop.run_until_complete(rounds(30))
        assert self.provider.orders.empty()


SessionMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
TestSessionMachine = pytest.mark.promise("U2", "U3", "U4", "H1", "H2", "H6", "H9", "S9", "T9")(
    SessionMachine.TestCase
)
