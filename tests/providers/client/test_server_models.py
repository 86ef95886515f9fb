"""What servers list, as the model process asks for it: with keys that it finds, beside all its other work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from keyrings.alt.file import PlaintextKeyring

from core.model.directory import OwnServer
from core.model.provider import Finished, ModelChoice, ModelInfo
from core.model.server_options import Reader
from core.model.settings import ModelSettings, NamedModel, ServerAddress
from providers.client import spawn
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, plant, request, start
from tests.providers.routing.routed import router
from tests.providers.setup.test_discovery import Listener, answer, listed, listening
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.directory import ServerModels
    from providers.client.model_process import ModelProcess

TYPED, KEPT = "sk-typed-2b7f", "sk-kept-91aa"
PATIENT = f"import providers.worker.server_models as asked; asked.ANSWER_WITHIN_S = {10 * GENEROUS_S}; "
"""What the compiler runs first, so that only its parent gives a server up."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProcess]:
    """One that a keyring with `KEPT_KEY` belongs to. No other key is there."""
    home = tmp_path_factory.mktemp("keyring")
    backend = PlaintextKeyring()
    backend.file_path = str(home / "python_keyring" / "keyring_pass.cfg")
    backend.set_password("caesura", "KEPT_KEY", KEPT)
    with pytest.MonkeyPatch.context() as environment:
        plant(
            environment,
            XDG_DATA_HOME=str(home),
            PYTHON_KEYRING_BACKEND="keyrings.alt.file.PlaintextKeyring",
        )
        environment.setattr(spawn, "CODE", PATIENT + spawn.CODE)
        started = start()
    yield started
    started.close()


@pytest.fixture(autouse=True)
def no_keyring_here(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """The program itself asks no keyring."""

    def read(*_: object) -> str:
        raise AssertionError("the keyring was asked by the program")

    monkeypatch.setattr("providers.keys.system_keyring.Keyring.read", read)


def own(listener: Listener, key: str) -> OwnServer:
    return OwnServer("team", "team/", "openai", f"http://127.0.0.1:{listener.port}/v1", key)


def names(found: ServerModels) -> list[str]:
    return [offer.info.model for offer in found.offers]


def connects(pid: int, listener: Listener) -> bool:
    """Whether the process has a connection to it."""
    peers = (each.raddr for each in psutil.Process(pid).net_connections("tcp"))
    return any(peer and peer.port == listener.port for peer in peers)


async def test_a_key_of_the_keyring_is_found_and_sent(process: ModelProcess) -> None:
    with listening(listed("one", "two")) as listener:
        found = await process.models_of(own(listener, "KEPT_KEY"))
    assert names(found) == ["team/one", "team/two"]
    assert f"Bearer {KEPT}".encode() in listener.received


async def test_a_key_that_was_typed_for_this_run_is_sent(process: ModelProcess) -> None:
    process.use_key("TYPED_KEY", TYPED)
    with listening(listed("one")) as listener:
        found = await process.models_of(own(listener, "TYPED_KEY"))
    assert names(found) == ["team/one"]
    assert f"Bearer {TYPED}".encode() in listener.received


@linux_only
async def test_only_the_model_process_connects_and_what_nobody_waits_for_is_closed(
    process: ModelProcess,
) -> None:
    with Listener(holds=True) as silent:
        asking = asyncio.create_task(process.models_of(own(silent, "KEPT_KEY")))
        await until(lambda: silent.received.endswith(b"\r\n\r\n"))
        assert process.pid is not None
        assert connects(process.pid, silent)
        assert not connects(os.getpid(), silent)
        asking.cancel()
        # The listener gives up by itself after all of it.
        await until(silent.closed.is_set, timeout=GENEROUS_S / 2)
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("reader", list(Reader))
async def test_a_silent_server_holds_up_neither_a_reply_nor_the_catalogue(
    process: ModelProcess, reader: Reader
) -> None:
    protocol = replace(PROTOCOLS["openai"], reader=reader)
    with Listener(holds=True) as silent, ThreadedServer(protocol.server()) as server:
        asking = asyncio.create_task(process.models_of(own(silent, "KEPT_KEY")))
        await until(lambda: silent.received.endswith(b"\r\n\r\n"))
        assert isinstance(await Asked(process, request(protocol, server.url)).outcome(), Finished)
        assert (await process.describe("openai/gpt-4o")).context_window
        assert not asking.done()
        asking.cancel()
        await asyncio.wait([asking])


async def test_the_servers_of_the_settings_are_asked_the_one_in_use_first(process: ModelProcess) -> None:
    with listening(listed("one")) as here, listening(b"rubbish\r\n\r\n") as broken:
        addresses = {
            "a": ServerAddress(api_base=f"http://127.0.0.1:{broken.port}"),
            "b": ServerAddress("litellm_proxy", own(here, "").api_base, key="KEPT_KEY"),
        }
        asking = router(process, ModelSettings(addresses))
        found = await asking.server_models(ModelChoice("b/other"))
    assert names(found) == ["b/one"]
    assert f"Bearer {KEPT}".encode() in here.received
    (problem,) = found.problems
    assert problem.startswith("a lists no models: it cannot be reached ")


@pytest.mark.parametrize(
    ("more", "window"),
    [
        ({"meta": {"n_ctx": 8192, "n_ctx_train": 131_072}}, 8192),
        ({"meta": {"n_ctx_train": 131_072}}, None),
        ({"max_model_len": 32_768}, 32_768),
    ],
    ids=["llama.cpp", "trained for", "vLLM"],
)
async def test_a_window_that_the_list_tells_is_that_of_its_models_unless_the_settings_have_one(
    process: ModelProcess, more: dict[str, object], window: int | None
) -> None:
    body = json.dumps({"data": [{"id": "one", **more}, {"id": "two"}]}).encode()
    with listening(answer(body)) as here:
        address = own(here, "").api_base
        named = {"fast": NamedModel("a/one"), "small": NamedModel("a/one", context_window=5)}
        asking = router(
            process,
            ModelSettings(
                {
                    "a": ServerAddress(api_base=address),
                    "b": ServerAddress(api_base=address, context_window=7),
                },
                named,
            ),
        )
        found = await asking.server_models(ModelChoice("a/one"))
    windows = [offer.info.context_window for offer in found.offers]
    assert windows == [window, None, 7, 7]
    described = [await asking.describe(name) for name in ("a/one", "a/two", "b/one", "fast", "small")]
    assert [info.context_window for info in described] == [window, None, 7, window, 5]
    assert here.connections == 2


async def test_a_list_of_ollama_tells_no_window(process: ModelProcess) -> None:
    body = json.dumps({"models": [{"name": "one", "context_length": 131_072}]}).encode()
    with listening(answer(body)) as here:
        server = OwnServer("ollama", "ollama/", "ollama_chat", f"http://127.0.0.1:{here.port}")
        (offer,) = (await process.models_of(server)).offers
    assert offer.info == ModelInfo("ollama/one")


@linux_only
async def test_a_process_that_has_died_lists_nothing_and_says_so(process: ModelProcess) -> None:
    with Listener(holds=True) as silent:
        asking = asyncio.create_task(process.models_of(own(silent, "")))
        await until(lambda: silent.received.endswith(b"\r\n\r\n"))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        found = await asking
    assert found.offers == ()
    assert found.problems == (
        "team lists no models: the process that asks for them does not answer; open the list again.",
    )
