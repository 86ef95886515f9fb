"""A turn of two steps with calls, a question and a sub-agent, stopped at every single await."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

import pytest

from core.model.messages import ResultStatus, Step
from core.model.provider import ReasoningDelta
from core.operations.events import Answer, AnswerKind, Event, Outcome, QuestionAsked
from core.operations.operation import OperationKind
from tests.core.engine.test_dispatch import CLICK, Talk, asks, call
from tests.support.cancel_sweep import Ended, Trial, in_thread, sweep
from tests.support.scripted_models import ESCAPE, USAGE, ScriptedProvider, say
from tests.support.scripted_tools import AskingTool, PlayedTool, equipped

if TYPE_CHECKING:
    from core.model.provider import Emit, Finished, ModelRequest


class By(StrEnum):
    LOOP = "session.stop in the loop"
    THREAD = "session.stop in a thread"
    TWICE = "a stop and a second one at once"
    FIRST_CALL = "the oldest call that is alive"
    LAST_CALL = "the youngest call that is alive"
    OUTER = "the cancel of the turn's task"


class ByPrompt(ScriptedProvider):
    """Answers the sub-agent's requests apart from those of the conversation, whichever comes first."""

    async def stream(self, request: ModelRequest, token: Any, emit: Emit) -> Finished:
        count = sum(type(message).__name__ == "ToolResults" for message in request.messages)
        self.scripts = [SUB[count] if "look" in str(request.messages[0]) else MAIN[count]] * 99
        return await super().stream(request, token, emit)


MAIN = [
    (
        ReasoningDelta("why", "signed"),
        *asks(
            call(0, "read", "", say="a"),
            call(1, "server", "", say="b"),
            call(2, "agent", "", task="look"),
            text="first",
        ),
    ),
    asks(call(0, "read", "", say="c")),
    say("done"),
]
SUB = [asks(call(0, "read", "", say="inner")), say("found")]


@dataclass
class Visit:
    by: By
    talk: Talk = field(init=False)
    after: tuple[Step, ...] = ()
    stopped: bool = False

    async def run(self) -> None:
        tools = (PlayedTool("read"), AskingTool("server"))
        self.talk = Talk(provider=ByPrompt(), equipment=equipped(*tools, agents=True))
        loop = asyncio.get_running_loop()

        def allow(event: Event) -> None:
            if isinstance(event, QuestionAsked):
                loop.call_soon(
                    lambda: loop.call_soon(
                        self.talk.session.questions.answer, event.question.ask_id, Answer(AnswerKind.ONCE)
                    )
                )

        self.talk.session.subscribe(allow)
        self.talk.session.submit("ask")
        await self.talk.session.wait_idle()
        self.after = self.talk.session.record.plain_steps

    def stop(self, _: asyncio.Task[Any]) -> None:
        session = self.talk.session
        match self.by:
            case By.LOOP:
                self.stopped = session.stop(ESCAPE)
            case By.THREAD:
                in_thread(lambda: session.stop(ESCAPE))
            case By.TWICE:
                self.stopped = session.stop(ESCAPE)
                session.force()
            case By.FIRST_CALL | By.LAST_CALL:
                calls = [view for view in session.operations.snapshot() if view.kind is OperationKind.CALL]
                if calls:
                    session.operations.cancel(calls[0 if self.by is By.FIRST_CALL else -1].call_id, CLICK)
            case By.OUTER:
                for turn in asyncio.all_tasks():
                    if turn.get_name().startswith("turn "):
                        turn.cancel()
            case _:
                assert_never(self.by)

    def check(self, ended: Ended) -> None:
        assert ended.error is None
        assert ended.complaints == ()
        assert ended.leftover == () or self.by is By.OUTER
        talk = self.talk
        talk.check()
        (end,) = talk.ended
        alone = self.by in (By.FIRST_CALL, By.LAST_CALL)
        assert end.outcome is Outcome.COMPLETED or (not alone and end.outcome is Outcome.CANCELLED)
        if self.stopped:
            assert end.outcome is Outcome.CANCELLED, "stop() had said that it stops this turn"
        if end.outcome is Outcome.COMPLETED and not alone:
            assert set(talk.cards().values()) == {ResultStatus.COMPLETED}
        assert (end.returned_prompt is None) is bool(self.after)
        counted = talk.session.record.usage.output_tokens // USAGE.output_tokens
        assert counted <= 5
        asyncio.run(self.go_on())

    async def go_on(self) -> None:
        before = len(self.talk.cards())
        self.talk.provider.scripts[:] = [say("fine")]
        self.talk.provider.__class__ = ScriptedProvider
        assert (await self.talk.turn("again")).outcome is Outcome.COMPLETED
        assert len(self.talk.cards()) == before


@pytest.mark.promise("H4", "H5", "S1", "S4", "S5", "S9", "X5", "E4", "U6", "U8", "T9")
@pytest.mark.parametrize("by", By)
def test_a_turn_with_calls_is_stopped_at_every_await(by: By) -> None:
    def trial() -> Trial:
        current = Visit(by)
        return Trial(current.run, current.stop, current.check)

    assert sweep(trial) >= 60
