"""What the first start does for a person: a key is tried on a real connection, and kept where they say."""

from __future__ import annotations

import asyncio
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest

from core.base.folders import config_path
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.config.settings import Settings
from core.model.provider import ModelChoice
from core.model.setup import KeyHome, LocalServer, ModelChosen, model_of, model_on
from providers.keys.default_models import DEFAULT_MODELS
from providers.keys.file import KeyFile
from providers.keys.store import KeyStore
from providers.setup.first_setup import FirstSetup
from tests.servers.openai import OpenAIServer
from tests.servers.script import Refusal, Refuse, Script, Silence

if TYPE_CHECKING:
    from pathlib import Path

    from providers.client.model_process import ModelProcess

SECRET = "gsk-typed-by-hand-91aa04"
OLLAMA = LocalServer("ollama", "Ollama", "ollama_chat", "http://127.0.0.1:11434", ("llama3.2:latest",))


def make_setup(process: ModelProcess, folder: Path) -> FirstSetup:
    """One that writes into the settings of this test's own home."""
    store = KeyStore({}, file=KeyFile(folder / "keys.toml"))
    settings = Settings(folder, lambda _: frozenset(), {})
    return FirstSetup(process, settings.save_choice, {}, store=store, usual=())


def at(server: OpenAIServer) -> ModelChosen:
    """A model of Groq, whose key no test has planted, at an address of ours."""
    return ModelChosen(ModelChoice("groq/llama-3.3-70b", server.url), "groq/llama-3.3-70b")


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_typed_key_is_tried_with_one_small_request_and_dropped_again(
    model: ModelProcess, tmp_path: Path
) -> None:
    setup = make_setup(model, tmp_path)
    async with OpenAIServer(Script(text=("ok",))) as server:
        setup.take_key("groq", SECRET)
        assert await setup.test(at(server), CancelToken("test")) == ""
        setup.drop_key("groq")
        assert await setup.test(at(server), CancelToken("test")) == ""
        with_key, without = (exchange.request for exchange in server.exchanges)
        assert with_key.headers["authorization"] == f"Bearer {SECRET}"
        assert with_key.body["max_tokens"] == 16
        assert SECRET not in str(without.headers)
    assert not files_in(tmp_path)


async def test_a_refused_key_is_a_sentence_without_it(model: ModelProcess, tmp_path: Path) -> None:
    setup = make_setup(model, tmp_path)
    async with OpenAIServer(Script(fault=Refuse(Refusal.WRONG_KEY))) as server:
        setup.take_key("groq", SECRET)
        failure = await setup.test(at(server), CancelToken("test"))
        setup.drop_key("groq")
        assert failure.startswith(f"The server at {server.url} refused the key")
        assert "caesura keys set groq" in failure
        assert SECRET not in failure
        assert len(server.exchanges) == 1, "a person waits: nothing is tried twice"


@pytest.mark.promise("P1", "P2")
async def test_a_stop_of_the_test_closes_its_connection(model: ModelProcess, tmp_path: Path) -> None:
    setup = make_setup(model, tmp_path)
    async with OpenAIServer(Script(fault=Silence())) as server:
        token = CancelToken("test")
        trial = asyncio.create_task(setup.test(at(server), token))
        await server.until(lambda: len(server.exchanges) == 1)
        token.cancel(CancelReason(Cause.USER, "Esc"))
        with pytest.raises(Cancelled):
            await trial
        await server.until(lambda: server.open_connections == 0)
        with pytest.raises(Cancelled):
            await setup.test(at(server), token)
        assert len(server.exchanges) == 1


async def test_of_a_provider_a_cheap_model_is_asked(model: ModelProcess, tmp_path: Path) -> None:
    setup = make_setup(model, tmp_path)
    groq = next(provider for provider in setup.providers if provider.name == "groq")
    chosen = model_of(groq)
    async with OpenAIServer(Script(text=("ok",))) as server:
        there = ModelChosen(ModelChoice(chosen.choice.model, server.url), chosen.setting)
        assert await setup.test(there, CancelToken("test")) == ""
        assert f"groq/{server.exchanges[0].request.model}" == DEFAULT_MODELS["groq"].test


async def test_a_key_is_kept_in_a_file_only_if_somebody_asks_for_it(
    model: ModelProcess, tmp_path: Path
) -> None:
    setup = make_setup(model, tmp_path)
    setup.take_key("groq", SECRET)
    refused = await setup.keep_key("groq", KeyHome.KEYRING)
    assert refused.failure == "There is no keyring on this machine. Nothing was stored."
    assert not files_in(tmp_path)
    kept = await setup.keep_key("groq", KeyHome.FILE)
    path = tmp_path / "keys.toml"
    assert not kept.failure
    assert str(path) in kept.note
    assert "not encrypted" in kept.note
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tomllib.loads(path.read_text()) == {"GROQ_API_KEY": SECRET}
    found: list[object] = []
    await setup.look(found.append)
    assert [str(getattr(one, "home", "")) for one in found] == ["file"]
    model.use_key("GROQ_API_KEY", "")


async def test_a_key_for_this_run_is_in_no_file(model: ModelProcess, tmp_path: Path) -> None:
    setup = make_setup(model, tmp_path)
    setup.take_key("groq", SECRET)
    kept = await setup.keep_key("groq", KeyHome.THIS_RUN)
    assert "this run only" in kept.note
    assert not files_in(tmp_path)
    assert SECRET not in repr(vars(setup))
    model.use_key("GROQ_API_KEY", "")


async def test_a_choice_is_written_down_and_the_rest_of_the_file_stays(
    model: ModelProcess, tmp_path: Path
) -> None:
    setup = make_setup(model, tmp_path)
    path = config_path()
    path.parent.mkdir(parents=True)
    path.write_text('# mine\ntheme = "auto"\n')
    assert not (await setup.save(model_on(OLLAMA, "llama3.2:latest"))).failure
    text = path.read_text()
    assert text.startswith("# mine\n")
    assert tomllib.loads(text) == {
        "theme": "auto",
        "model": "ollama/llama3.2:latest",
        "providers": {"ollama": {"protocol": "ollama_chat", "api_base": "http://127.0.0.1:11434"}},
    }
    assert not (await setup.save(model_of(setup.providers[0]))).failure
    assert tomllib.loads(path.read_text())["model"] == setup.providers[0].model


async def test_a_broken_file_stays_as_it_is_and_is_named(model: ModelProcess, tmp_path: Path) -> None:
    setup = make_setup(model, tmp_path)
    path = config_path()
    path.parent.mkdir(parents=True)
    path.write_text("model = [\n")
    saved = await setup.save(model_of(setup.providers[0]))
    assert str(path) in saved.failure
    assert path.read_text() == "model = [\n"


def test_providers_and_their_keys_have_names_of_people(model: ModelProcess, tmp_path: Path) -> None:
    providers = make_setup(model, tmp_path).providers
    assert [provider.title for provider in providers[:3]] == ["Anthropic", "OpenAI", "Gemini"]
    assert len({provider.variable for provider in providers}) == len(providers)
