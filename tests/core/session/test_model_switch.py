"""A switch of the model: at once while nothing runs, else when the turn is over, and told either way."""

from __future__ import annotations

from dataclasses import replace

from core.events import CallNamed, ModelDescribed, ModelSwitched, Outcome
from core.messages import FinishReason
from core.model import Effort, Finished, ModelChoice, Parameters, TextDelta, ToolCallDelta
from core.operations import OperationKind
from tests.core.providers import ESCAPE, MODEL, USAGE, Conversation, Hold, say
from tests.core.tools_played import equipped

OTHER = "other/model"


async def test_an_idle_session_asks_the_other_model_next() -> None:
    talk = Conversation(say("one"), say("two"))
    await talk.turn()
    talk.session.use_model(ModelChoice(OTHER))
    await talk.turn()
    assert [request.model for request in talk.provider.requests] == [MODEL, OTHER]
    assert ModelSwitched(OTHER, None) in talk.events
    await talk.until(
        lambda: talk.session.info.model == OTHER and talk.session.info.context_window is not None
    )
    assert any(isinstance(event, ModelDescribed) for event in talk.events)


async def test_a_running_turn_ends_with_the_model_it_has_begun_with() -> None:
    talk = Conversation((TextDelta("part"), Hold()), say("two"))
    talk.session.submit("ask")
    await talk.waiting()
    talk.session.use_model(ModelChoice(OTHER))
    talk.session.use_effort(Effort.HIGH)
    assert (talk.session.choice.model, talk.session.record.choice.model) == (OTHER, MODEL)

    assert talk.session.stop(ESCAPE)
    await talk.idle()
    assert talk.session.history[0].model == MODEL
    assert (await talk.turn()).outcome is Outcome.COMPLETED
    assert talk.provider.requests[-1].model == OTHER
    assert talk.provider.requests[-1].parameters == Parameters(Effort.HIGH)


async def test_what_the_model_is_told_first_outlives_a_switch() -> None:
    talk = Conversation((TextDelta("part"), Hold()), say("two"))
    talk.session.submit("ask")
    await talk.waiting()
    talk.session.use_model(ModelChoice(OTHER))
    talk.session.use_notes("be brief", (), noting=False)
    assert talk.session.choice == replace(ModelChoice(OTHER), system="be brief")


async def test_a_sub_agent_of_a_running_turn_is_asked_and_named_as_its_turn_is() -> None:
    call = (
        ToolCallDelta(0, '{"task": "help"}', "call-1", "agent"),
        Finished(FinishReason.TOOL_CALLS, USAGE, MODEL),
    )
    talk = Conversation(call, (TextDelta("part"), Hold()), equipment=equipped(agents=True))
    talk.session.subscribe(
        lambda event: talk.session.use_model(ModelChoice(OTHER)) if isinstance(event, CallNamed) else None
    )
    talk.session.submit("ask")
    await talk.until(lambda: len(talk.provider.requests) == 2)
    assert [request.model for request in talk.provider.requests] == [MODEL, MODEL]
    streams = [view.title for view in talk.session.operations() if view.kind is OperationKind.STREAM]
    assert streams == [MODEL]
    assert talk.session.stop(ESCAPE)
    await talk.idle()
