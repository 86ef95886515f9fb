"""A switch of the model: at once while nothing runs, else when the turn is over, and told either way."""

from __future__ import annotations

from dataclasses import replace

from core.events import ModelDescribed, ModelSwitched, Outcome
from core.model import Effort, ModelChoice, ModelInfo, Parameters
from tests.core.providers import ESCAPE, MODEL, Conversation, Hold, TextDelta, say

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


async def test_what_the_settings_name_gives_way_to_what_the_person_chose() -> None:
    talk = Conversation(say("one"))
    session = talk.session
    session.model.adopt(OTHER)
    assert session.choice.model == OTHER
    session.use_model(ModelChoice("mine/model"))
    session.model.adopt(OTHER)
    assert session.choice.model == "mine/model"
    # The settings say nothing: everything stays.
    session.model.adopt("")
    assert session.choice.model == "mine/model"


async def test_what_the_model_is_told_first_outlives_a_switch() -> None:
    talk = Conversation((TextDelta("part"), Hold()), say("two"))
    talk.session.submit("ask")
    await talk.waiting()
    talk.session.use_model(ModelChoice(OTHER))
    talk.session.use_notes("be brief", (), noting=False)
    assert talk.session.choice == replace(ModelChoice(OTHER), system="be brief")
