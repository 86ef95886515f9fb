"""A switch of the model stays at the server in use, and names another host before anything is sent there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest

from core.config.settings import Settings
from core.frontends.doctor.report import NOTHING_HIDDEN
from core.model.directory import ServerModels
from core.model.provider import Effort, ModelChoice, ModelInfo, Offer, OfferKind, TextDelta
from core.model.settings import ModelSettings, ServerAddress
from tests.providers.routing.routed import Stage as Inner
from tests.providers.routing.routed import router
from tests.providers.routing.test_names import answer
from tests.support.scripted_models import Conversation, Hold, say
from tests.tui.stage import Stage, staged
from tui.pane.preferences import Preferences, SessionModels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HERE = "http://127.0.0.1:8000/v1"
LOCAL = ModelChoice("openai/one", HERE)
TO_OPENAI = "requests go to api.openai.com instead of 127.0.0.1:8000."


def preferences(folder: Path) -> Preferences:
    team = ServerAddress(api_base="https://llm.example.com/v1", key="TEAM_KEY")
    directory = router(Inner(answer), ModelSettings({"team": team}))
    return Preferences(
        Settings(folder, frozenset), directory, LOCAL, checks=lambda *_: (), redaction=lambda: NOTHING_HIDDEN
    )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The application at a server of the person's own."""
    async with staged() as stage:
        commands = stage.pane.commands
        commands._services = commands._services._replace(preferences=preferences(tmp_path))
        stage.session.model.use(LOCAL)
        yield stage


async def send_at_once(stage: Stage, *texts: str) -> None:
    """Send all of them before anything else is done."""
    for text in texts:
        stage.pane._sender.submit(text, stage.now)
    await stage.pilot.pause()


@pytest.mark.promise("P9")
@pytest.mark.parametrize("name", ["two", "openai/two"])
async def test_a_name_stays_at_the_server_in_use(stage: Stage, name: str) -> None:
    await send_at_once(stage, f"/model {name}", "hello")
    await stage.model.asked()
    assert (stage.model.requests[0].model, stage.model.requests[0].api_base) == ("openai/two", HERE)
    assert "requests go to" not in stage.transcript
    await stage.finish()


@pytest.mark.promise("P9")
async def test_another_host_is_named_before_anything_is_sent_there(stage: Stage) -> None:
    await send_at_once(stage, "/model team/two", "hello")
    await stage.until_said("From now on requests go to llm.example.com instead of 127.0.0.1:8000.")
    await stage.model.asked()
    assert (stage.model.requests[0].model, stage.model.requests[0].api_base) == ("team/two", None)
    assert stage.transcript.index("From now on") < stage.transcript.index("hello")
    await stage.finish()


@pytest.mark.promise("P9")
async def test_a_model_of_the_catalog_is_its_providers_and_that_is_said(tmp_path: Path) -> None:
    talk = Conversation((TextDelta("part"), Hold()), say("two"))
    talk.session.model.use(LOCAL)
    own = preferences(tmp_path)
    models = SessionModels(talk.session, own)
    assert await models.pick("openai/gpt", None, from_catalog=True) == f"From now on {TO_OPENAI}"
    assert talk.session.record.choice == own.choice == ModelChoice("openai/gpt")
    assert await models.pick("openai/gpt", None, from_catalog=True) == "openai/gpt answers already."
    assert await models.pick("three", Effort.LOW) == ""
    assert talk.session.record.choice.model == "openai/three"
    talk.session.model.use(LOCAL)
    await talk.begin("ask")
    # The running turn ends where it has begun.
    assert await models.pick("openai/gpt", None, from_catalog=True) == f"From the next turn on {TO_OPENAI}"
    assert talk.session.record.choice.api_base == HERE
    await talk.stop()
    assert talk.session.record.choice == ModelChoice("openai/gpt")


async def test_the_status_tells_the_address_of_a_server_and_where_it_is_named(stage: Stage) -> None:
    await send_at_once(stage, "/status")
    await stage.until_said(f"Address      {HERE}")
    await send_at_once(stage, "/model team/two", "/status")
    await stage.until_said("https://llm.example.com/v1 ([providers.team] api_base)")


async def test_what_a_server_lists_is_known_of_the_model_in_use(tmp_path: Path) -> None:
    talk = Conversation()
    talk.session.model.use(ModelChoice("team/one"))
    await asyncio.gather(*talk.session.model.tasks)
    talk.session.record.info = ModelInfo("team/one")
    served = ServerModels((Offer(ModelInfo("team/one", 8192), OfferKind.SERVER),))
    own = preferences(tmp_path)
    own.server_models = AsyncMock(return_value=served)  # type: ignore[method-assign]
    await SessionModels(talk.session, own).server_models()
    await asyncio.gather(*talk.session.model.tasks)
    assert talk.session.record.info.context_window is not None
