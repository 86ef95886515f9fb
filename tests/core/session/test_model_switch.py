"""A switch of the model: at once while nothing runs, else when the turn is over, and told either way."""

from __future__ import annotations

from msgspec.structs import replace

from core.model.messages import FinishReason
from core.model.provider import Effort, Finished, ModelChoice, Parameters, TextDelta, ToolCallDelta
from core.operations.events import CallNamed, ModelDescribed, ModelSwitched, Outcome
from core.operations.operation import OperationKind
from tests.support.scripted_models import MODEL, USAGE, Conversation, Hold, say
from tests.support.scripted_tools import equipped

OTHER = "other/model"


async def test_an_idle_session_asks_the_other_model_next() -> None:
    talk = Conversation(say("one"), say("two"))
    await talk.turn()
    talk.session.model.use(ModelChoice(OTHER))
    await talk.turn()
    assert [request.model for request in talk.provider.requests] == [MODEL, OTHER]
    assert ModelSwitched(OTHER, None) in talk.events
    await talk.until(
        lambda: (
            talk.session.record.info.model == OTHER and talk.session.record.info.context_window is not None
        )
    )
    assert any(isinstance(event, ModelDescribed) for event in talk.events)


async def test_the_same_name_at_another_address_is_another_model() -> None:
    talk = Conversation(say("one"))
    talk.session.model.use(ModelChoice(MODEL, "http://127.0.0.1:1", key_name="OWN_KEY"))
    await talk.until(lambda: any(isinstance(event, ModelDescribed) for event in talk.events))
    await talk.turn()
    (request,) = talk.provider.requests
    assert (request.api_base, request.key_name) == ("http://127.0.0.1:1", "OWN_KEY")


async def test_a_running_turn_ends_with_the_model_it_has_begun_with() -> None:
    talk = Conversation((TextDelta("part"), Hold()), say("two"))
    await talk.begin("ask")
    talk.session.model.use(ModelChoice(OTHER))
    talk.session.model.use_effort(Effort.HIGH)
    assert (talk.session.model.choice.model, talk.session.record.choice.model) == (OTHER, MODEL)

    await talk.stop()
    assert talk.session.record.plain_steps[0].model == MODEL
    assert (await talk.turn()).outcome is Outcome.COMPLETED
    assert talk.provider.requests[-1].model == OTHER
    assert talk.provider.requests[-1].parameters == Parameters(Effort.HIGH)


async def test_what_the_model_is_told_first_outlives_a_switch() -> None:
    talk = Conversation((TextDelta("part"), Hold()), say("two"))
    await talk.begin("ask")
    talk.session.model.use(ModelChoice(OTHER))
    talk.session.settings.use_notes("be brief", ())
    assert talk.session.model.choice == replace(ModelChoice(OTHER), system="be brief")


async def test_a_sub_agent_of_a_running_turn_is_asked_and_named_as_its_turn_is() -> None:
    call = (
        ToolCallDelta(0, '{"task": "help"}', "call-1", "agent"),
        Finished(FinishReason.TOOL_CALLS, USAGE, MODEL),
    )
    talk = Conversation(call, (TextDelta("part"), Hold()), equipment=equipped(agents=True))
    talk.session.subscribe(
        lambda event: talk.session.model.use(ModelChoice(OTHER)) if isinstance(event, CallNamed) else None
    )
    talk.session.submit("ask")
    await talk.until(lambda: len(talk.provider.requests) == 2)
    assert [request.model for request in talk.provider.requests] == [MODEL, MODEL]
    streams = [view.title for view in talk.session.operations.snapshot() if view.kind is OperationKind.STREAM]
    assert streams == [MODEL]
    await talk.stop()
