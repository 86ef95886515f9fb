"""R2 and S4 in a session: a back-off is shown, ended by a key or by a stop, and belongs to its call.

The waits are those of `providers.routing.router`, over a model that ends through its token only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from core.model.directory import ServerCatalog, ServerModels
from core.model.messages import FinishReason, ResultStatus
from core.model.provider import (
    Closing,
    Emit,
    FailureKind,
    Finished,
    ModelChoice,
    ModelError,
    ModelInfo,
    ModelRequest,
    Offer,
    Phase,
    ToolCallDelta,
)
from core.model.settings import ModelSettings, RetryPolicy, Route
from core.operations.events import (
    BackOffEnded,
    BackOffStarted,
    CallEnded,
    CompactionEnded,
    ModelFailedOver,
    Outcome,
    StepCommitted,
)
from core.operations.operation import CancelAnswer, OperationKind
from providers.routing.router import Router
from tests.support.scripted_models import (
    DONE,
    ESCAPE,
    MODEL,
    USAGE,
    Conversation,
    ScriptedProvider,
    assert_in_order,
    say,
)
from tests.support.scripted_tools import equipped

if TYPE_CHECKING:
    from core.cancel import CancelToken
    from core.model.directory import OwnServer

OVERLOADED = ModelError(FailureKind.OVERLOADED, "It is overloaded.", retry_after_s=3_000)
HELP = ToolCallDelta(0, '{"task": "help"}', "call-1", "agent")
CALL = (HELP, Finished(FinishReason.TOOL_CALLS, USAGE, MODEL))


class Routed(ScriptedProvider):
    """Scripts behind a router, whose waits nobody shortens but a key or a stop."""

    def __init__(self, *scripts: tuple[object, ...], settings: ModelSettings) -> None:
        super().__init__(*scripts)  # type: ignore[arg-type]
        scripted = self

        class Inner(ServerCatalog):
            async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
                return await ScriptedProvider.stream(scripted, request, token, emit)

            async def describe(self, model: str) -> ModelInfo:
                return ModelInfo(model, 1_000, input_price=1.0 if model == "b/b" else 2.0, output_price=0.0)

            async def offers(self) -> tuple[Offer, ...]:
                return ()

            async def models_of(self, server: OwnServer) -> ServerModels:
                return ServerModels()

            async def window_of(self, server: OwnServer, model: str) -> int | None:
                return None

        async def read() -> ModelSettings:
            return settings

        self.router = Router(Inner(), read)

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        return await self.router.stream(request, token, emit)

    async def describe(self, model: str) -> ModelInfo:
        return await self.router.describe(model)


PATIENT = ModelSettings(retry=RetryPolicy(retries=2, backoff=1_000, max_wait=2_000))


def waiting(talk: Conversation) -> bool:
    return talk.session.backoffs.soonest is not None


@pytest.mark.promise("R2")
async def test_a_wait_is_told_with_its_end_and_a_key_has_the_next_attempt_made_now() -> None:
    talk = Conversation(provider=Routed((OVERLOADED,), say("here"), settings=PATIENT))
    talk.session.submit("ask")
    await talk.until(lambda: waiting(talk))
    (started,) = [event for event in talk.events if isinstance(event, BackOffStarted)]
    assert (started.seconds, started.attempt, started.attempts) == (2_000, 2, 3)
    (operation,) = talk.session.operations.snapshot()
    assert (operation.call_id, operation.phase) == (started.call_id, Phase.BACK_OFF)
    assert talk.session.backoffs.skip_all()
    await talk.idle()
    assert talk.outcomes == [Outcome.COMPLETED]
    assert [event for event in talk.events if isinstance(event, BackOffEnded)] == [
        BackOffEnded(1, started.call_id)
    ]
    assert len(talk.provider.requests) == 2
    assert not talk.session.backoffs.skip_all()
    assert_in_order(talk.events)


@pytest.mark.promise("R2", "H1", "T9")
async def test_a_stop_ends_the_wait_and_no_attempt_follows() -> None:
    talk = Conversation(provider=Routed((OVERLOADED,), say("here"), settings=PATIENT))
    talk.session.submit("ask")
    await talk.until(lambda: waiting(talk))
    await talk.stop()
    assert talk.outcomes == [Outcome.CANCELLED]
    assert talk.ended[-1].returned_prompt == "ask"
    assert len(talk.provider.requests) == 1
    assert talk.session.backoffs.soonest is None
    (record,) = talk.registry.records
    assert record.phase is Phase.BACK_OFF
    # Something had been sent; only nothing was under way.
    proof = talk.ended[-1].proof
    assert proof is not None
    assert proof.closing is Closing.NOT_OPEN
    assert any(isinstance(event, BackOffEnded) for event in talk.events)
    assert_in_order(talk.events)


@pytest.mark.promise("S4", "S5", "R2")
async def test_a_call_in_its_own_back_off_is_stopped_alone() -> None:
    provider = Routed(CALL, (OVERLOADED,), say("without help"), settings=PATIENT)
    talk = Conversation(provider=provider, equipment=equipped(agents=True))
    talk.session.submit("ask")
    await talk.until(lambda: waiting(talk))
    (call,) = [view for view in talk.session.operations.snapshot() if view.kind is OperationKind.CALL]
    assert talk.session.operations.cancel(call.call_id, ESCAPE).answer is CancelAnswer.CANCELLED
    await talk.idle()
    assert talk.outcomes == [Outcome.COMPLETED]
    (ended,) = [event for event in talk.events if isinstance(event, CallEnded)]
    assert ended.status is ResultStatus.STOPPED
    assert talk.replies[-1] == "without help"
    # The reply that asked for the call, the sub-agent's one attempt, and the reply after it.
    assert len(talk.provider.requests) == 3
    assert talk.registry.snapshot() == ()


@pytest.mark.promise("R4", "H6")
async def test_a_reply_of_another_member_is_told_kept_and_paid_as_that_members() -> None:
    settings = ModelSettings(routes={MODEL: Route(fallback=("a/a", "b/b"))})
    provider = Routed((OVERLOADED,), (*say("from b")[:-1], DONE), settings=settings)
    talk = Conversation(provider=provider)
    await talk.session.model.describe()
    assert (await talk.turn()).outcome is Outcome.COMPLETED
    (over,) = [event for event in talk.events if isinstance(event, ModelFailedOver)]
    assert (over.failed, over.model) == ("a/a", "b/b")
    assert talk.session.record.plain_steps[-1].model == "b/b"
    assert [event.model for event in talk.events if isinstance(event, StepCommitted)] == ["b/b"]
    assert talk.session.record.spending.dollars == pytest.approx(USAGE.input_tokens * 1.0)


async def compacting(*scripts: tuple[object, ...]) -> Conversation:
    """A conversation that waits for the second attempt at its summary."""
    provider = Routed(say("one " * 400), say("two"), (OVERLOADED,), *scripts, settings=PATIENT)
    talk = Conversation(provider=provider)
    await talk.turn()
    await talk.turn()
    talk.session.compact()
    await talk.until(lambda: waiting(talk))
    return talk


@pytest.mark.promise("R2", "C2")
async def test_the_wait_of_a_compaction_is_told_and_skipped_like_any_other() -> None:
    talk = await compacting(say("## Goal\n", "a short one"))
    (started,) = [event for event in talk.events if isinstance(event, BackOffStarted)]
    (operation,) = talk.session.operations.snapshot()
    assert (started.turn_id, started.call_id, started.seconds) == (None, operation.call_id, 2_000)
    assert talk.session.backoffs.skip_all()
    await talk.idle()
    assert BackOffEnded(None, started.call_id) in talk.events
    (ended,) = [event for event in talk.events if isinstance(event, CompactionEnded)]
    assert (ended.number, ended.summary) == (1, "## Goal\na short one")
    assert talk.session.backoffs.soonest is None
    assert len(talk.provider.requests) == 4


@pytest.mark.promise("R2", "C1", "C2")
async def test_a_stop_in_the_wait_of_a_compaction_changes_nothing_and_asks_no_more() -> None:
    talk = await compacting()
    before = talk.session.record.plain_steps
    await talk.stop()
    (ended,) = [event for event in talk.events if isinstance(event, CompactionEnded)]
    assert ended.number is None
    assert ended.proof is not None
    assert ended.proof.closing is Closing.NOT_OPEN
    assert any(isinstance(event, BackOffEnded) for event in talk.events)
    assert (talk.session.backoffs.soonest, talk.session.record.plain_steps) == (None, before)
    assert len(talk.provider.requests) == 3


@pytest.mark.promise("H6")
async def test_a_job_costs_what_its_own_model_does_also_after_a_switch() -> None:
    settings = ModelSettings(routes={MODEL: Route(fallback=("a/a", "b/b"))})
    session = Conversation(provider=Routed(settings=settings)).session
    await session.model.describe()
    spend = session.record.spend_job
    spend(USAGE, MODEL, "b/b")
    assert session.record.spending.dollars == pytest.approx(USAGE.input_tokens * 1.0)
    spend(USAGE, MODEL, "a/a")
    assert session.record.spending.dollars == pytest.approx(USAGE.input_tokens * 3.0)
    # A job of the model before: what that costs is not known any more, and never the price of the new one.
    session.model.use(ModelChoice("b/b"))
    await asyncio.gather(*session.model.tasks)
    assert session.record.info.input_price == 1.0
    spend(USAGE, MODEL, "a/a")
    assert session.record.spending.dollars is None
