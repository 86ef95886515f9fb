"""The models that can be chosen, as the model process lists them."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.model.provider import Closing, ModelInfo, OfferKind
from core.model.server_options import Reader
from providers.catalog import entry_for, listed_models
from providers.wire import KnownModel, Listed, Stopped, dump, load_to_parent
from providers.worker.offers import is_usable, known_models
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, request
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script, Stall
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from core.model.provider import Offer
    from providers.client.model_process import ModelProcess
    from providers.wire import ToParent

OPENAI = PROTOCOLS["openai"]
COST_MAP: dict[str, dict[str, object]] = {
    "sample_spec": {"mode": "one of: chat, embedding", "litellm_provider": "one of them"},
    "openai/*": {"mode": "chat", "litellm_provider": "openai"},
    "gpt-5": {"mode": "chat", "litellm_provider": "openai", "max_input_tokens": 1},
    "gpt-5-pro": {"mode": "responses", "litellm_provider": "openai", "supports_vision": True},
    "text-embedding-3": {"mode": "embedding", "litellm_provider": "openai"},
    "deepseek-chat": {"mode": "chat", "litellm_provider": "deepseek", "max_input_tokens": 2},
    "deepseek/deepseek-chat": {"mode": "chat", "litellm_provider": "deepseek", "max_input_tokens": 3},
    "gemini-3": {"mode": "chat", "litellm_provider": "vertex_ai-language-models"},
    "vertex_ai/claude": {"mode": "chat", "litellm_provider": "vertex_ai-anthropic_models"},
    "amazon.nova": {"mode": "chat", "litellm_provider": "bedrock_converse", "max_input_tokens": 4},
    "amazon-nova/nova": {"mode": "chat", "litellm_provider": "amazon_nova"},
    "ollama/llama3": {"mode": "chat", "litellm_provider": "ollama"},
    "nobody/model": {"mode": "chat", "litellm_provider": "nobody"},
    "unsaid": {},
}
PROVIDERS = frozenset({"openai", "deepseek", "vertex_ai", "bedrock", "amazon_nova", "ollama"})


def test_only_what_one_can_converse_with_is_listed_once_and_under_a_name_to_ask_for() -> None:
    listed = {info.model: info for _, info in listed_models(COST_MAP, PROVIDERS)}
    assert list(listed) == [
        "openai/gpt-5",
        "openai/responses/gpt-5-pro",
        "deepseek/deepseek-chat",
        "vertex_ai/gemini-3",
        "vertex_ai/claude",
        "bedrock/amazon.nova",
        "amazon_nova/nova",
        "ollama/llama3",
    ]
    assert len(list(listed_models(COST_MAP, PROVIDERS))) == len(listed)
    assert listed["deepseek/deepseek-chat"].context_window == 3
    assert listed["openai/responses/gpt-5-pro"].vision is True
    # What is listed is found again under its name.
    assert all(entry_for(model, COST_MAP) is not None for model in listed)


@pytest.mark.parametrize(
    ("provider", "usable"),
    [
        ("groq", True),
        ("mistral", True),
        ("anthropic", False),
        ("ollama", True),
        ("bedrock", None),
        ("xai", True),
    ],
)
def test_a_model_is_usable_with_a_key_in_the_environment_or_without_need_of_one(
    provider: str, usable: bool | None
) -> None:
    environment = {"GROQ_API_KEY": "gsk-x", "ANTHROPIC_API_KEY": " "}
    assert is_usable(provider, {"MISTRAL_API_KEY", "xai"}, environment) is usable


def test_the_list_crosses_the_pipe_as_it_is() -> None:
    unknown = KnownModel(ModelInfo("a/b", input_price=0.0, tools=False), None)
    listed = Listed(1, (*known_models(COST_MAP, PROVIDERS, (), {}), unknown), last=True)
    assert load_to_parent(dump(listed)) == listed


def by_name(offers: tuple[Offer, ...]) -> dict[str, Offer]:
    return {offer.info.model: offer for offer in offers}


async def test_all_models_of_the_catalogue_can_be_chosen(model: ModelProcess) -> None:
    offers = await model.offers()
    named = by_name(offers)
    assert len(named) == len(offers) > 2000
    assert {offer.kind for offer in offers} == {OfferKind.CATALOG}
    assert not [name for name in named if "*" in name or "embedding" in name or "whisper" in name]
    assert await model.offers() is offers
    for name in ("anthropic/claude-sonnet-4-5", "openai/gpt-5.1", "openai/responses/gpt-5-pro"):
        assert named[name].info == await model.describe(name)
        assert named[name].info.efforts
        assert named[name].info.vision
        assert named[name].usable
    assert named["ollama/llama3.1"].usable is True


async def test_a_key_for_this_run_makes_its_models_usable(model: ModelProcess) -> None:
    name = "moonshot/kimi-k2.6"
    assert by_name(await model.offers())[name].usable is False
    model.use_key("MOONSHOT_API_KEY", "sk-moon")
    try:
        assert by_name(await model.offers())[name].usable is True
    finally:
        model.use_key("MOONSHOT_API_KEY", "")
    assert by_name(await model.offers())[name].usable is False


@pytest.mark.promise("P1")
async def test_the_list_holds_up_no_stop(model: ModelProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    model.use_key("NOBODYS_API_KEY", "")  # the list is asked for anew
    said: list[ToParent] = []
    compiler = model._compiler
    take = compiler._receive

    def listen(message: ToParent) -> None:
        said.append(message)
        take(message)

    monkeypatch.setattr(compiler, "_receive", listen)
    with ThreadedServer(OPENAI.server(Script(fault=Stall(after=2)))) as server:
        by_litellm = replace(OPENAI, reader=Reader.LITELLM)
        asked = Asked(model, request(by_litellm, server.url))
        await until(lambda: asked.shown)
        listing = asyncio.create_task(model.offers())
        await until(lambda: any(isinstance(message, Listed) for message in said))
        assert (await asked.stop()).how is Closing.CLOSED
        assert len(await listing) > 2000
    kinds = [type(message) for message in said]
    assert Listed in kinds[: kinds.index(Stopped)]
    assert Listed in kinds[kinds.index(Stopped) :]


@linux_only
@pytest.mark.promise("P4")
async def test_nobody_waits_for_a_list_that_does_not_come(
    mortal: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process may take long to start, this one or the next. One that was never ready is not replaced.
    monkeypatch.setattr("providers.client.catalog_queries.ANSWER_WITHIN_S", GENEROUS_S)
    await mortal.describe("openai/gpt-4o")
    pid = mortal.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with monkeypatch.context() as hasty:
            hasty.setattr("providers.client.catalog_queries.ANSWER_WITHIN_S", 0.05)
            assert await mortal.offers() == ()
        asking = asyncio.create_task(mortal.offers())
        await asyncio.sleep(0)
    finally:
        os.kill(pid, signal.SIGKILL)
    # It has gone: that is said at once. The next one knows.
    assert await asking == ()
    await until(lambda: mortal.pid not in (pid, None))
    assert len(await mortal.offers()) > 2000
