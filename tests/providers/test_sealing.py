"""A request goes to the address that the person has set: no file, no variable and no redirect changes it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from core.model.provider import FailureKind
from tests.providers.conftest import linux_only
from tests.providers.harness import Asked, environment_of_child, plant, request, start
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.raw import Raw
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from providers.client.model_process import ModelProcess

pytestmark = linux_only

VENDORS = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "gemini": "generativelanguage.googleapis.com",
    "ollama": "localhost",
    "responses": "api.openai.com",
}
"""Where a request goes for which no address is set. Azure has no such place."""

ADDRESSES = (
    "OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL", "GEMINI_API_BASE",
    "OLLAMA_API_BASE", "OLLAMA_HOST", "LITELLM_PROXY_API_BASE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy",
    "https_proxy", "ALL_PROXY",
)  # fmt: skip
OTHERS = {
    "OPENAI_API_KEY": "sk-of-somebody-else",
    "OPENAI_ORGANIZATION": "somebody-else",
    "SSL_VERIFY": "False",
    "SSL_CERT_FILE": "/nowhere",
    "AWS_CONFIG_FILE": "/nowhere",
    "LITELLM_LOG": "DEBUG",
    "CAESURA_PLANTED_BY_A_FILE": "yes",
}


class Trap:
    """A folder with `.env` files in it and above it, which name a server that must see nothing."""

    def __init__(self, folder: Path, server: OpenAIServer) -> None:
        self.server = server
        self.asked = folder / "asked"
        self.report = folder / "report"
        inner = folder / "repository" / "source"
        inner.mkdir(parents=True)
        lines = [f"{name}={server.url}" for name in ADDRESSES]
        lines += [f"{name}={value}" for name, value in OTHERS.items()]
        for place in (folder / "repository", inner):
            (place / ".env").write_text("\n".join(lines))
            (place / ".netrc").write_text("default login thief password thief\n")
        self.inner = inner

    @property
    def names_asked(self) -> set[str]:
        return set(self.asked.read_text().split()) if self.asked.exists() else set()


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    with ThreadedServer(OpenAIServer()) as server:
        yield Trap(tmp_path_factory.mktemp("trap"), server)


@pytest.fixture(scope="module")
def trapped(trap: Trap) -> Iterator[ModelProcess]:
    """A model process that was started in the folder of the trap, with a variable that nobody listed."""
    with pytest.MonkeyPatch.context() as environment:
        environment.chdir(trap.inner)
        plant(
            environment,
            HOME=str(trap.inner),
            CAESURA_CHILD_ASKED=str(trap.asked),
            CAESURA_CHILD_REPORT=str(trap.report),
            OPENAI_API_TYPE="azure",
            REQUESTS_CA_BUNDLE="/nowhere",
            SSL_CERT_DIR="certificates",
            NO_PROXY="127.0.0.1",
        )
        process = start()
    yield process
    process.close()


@pytest.mark.promise("P9")
@pytest.mark.parametrize("name", VENDORS)
async def test_a_file_of_the_folder_sends_nothing_elsewhere(
    trapped: ModelProcess, trap: Trap, name: str
) -> None:
    asked = Asked(trapped, request(PROTOCOLS[name], None))
    assert (await asked.failure()).kind in {FailureKind.NAME_NOT_FOUND, FailureKind.UNREACHABLE}
    assert trap.server.connections == []
    assert trap.names_asked <= set(VENDORS.values())
    assert VENDORS[name] == "localhost" or VENDORS[name] in trap.names_asked


@pytest.mark.promise("P9")
async def test_a_file_of_the_folder_changes_neither_key_nor_sign_in(
    trapped: ModelProcess, protocol: WireProtocol
) -> None:
    with ThreadedServer(protocol.server()) as server:
        asked = Asked(trapped, request(protocol, server.url))
        await asked.outcome()
        headers = server.exchanges[0].request.headers
    assert asked.text == "Hello, world."
    assert not any("somebody-else" in value or "thief" in value for value in headers.values())
    assert not headers.get("authorization", "").startswith("Basic")


@pytest.mark.promise("P9")
async def test_libraries_find_listed_variables_alone(trapped: ModelProcess, trap: Trap) -> None:
    assert trapped.pid is not None
    await until(lambda: trapped.spare_pids)
    for pid in (trapped.pid, *trapped.spare_pids):
        found = environment_of_child(pid, trap.report)
        # Listed, and so handed on, but as an absolute path: the process has another folder.
        assert found["SSL_CERT_DIR"] == str(trap.inner / "certificates")
        assert found["NO_PROXY"] == "127.0.0.1"
        assert not found.keys() & {"OPENAI_API_KEY", "OPENAI_API_TYPE", "REQUESTS_CA_BUNDLE"}
        assert not found.items() & {*OTHERS.items(), *((name, trap.server.url) for name in ADDRESSES)}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Raw]:
    with Raw(b"HTTP/1.1 418 Here\r\nContent-Length: 0\r\n\r\n") as raw:
        yield raw


@pytest.fixture(scope="module")
def behind_a_proxy(proxy: Raw, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProcess]:
    folder = tmp_path_factory.mktemp("proxy")
    with pytest.MonkeyPatch.context() as environment:
        asked = str(folder / "asked")
        plant(environment, HOME=str(folder), CAESURA_CHILD_ASKED=asked, HTTP_PROXY=proxy.url, NO_PROXY="")
        process = start()
    yield process
    process.close()


@pytest.mark.promise("P9")
async def test_the_persons_own_proxy_is_used(
    behind_a_proxy: ModelProcess, proxy: Raw, protocol: WireProtocol
) -> None:
    before = proxy.accepted
    failure = await Asked(behind_a_proxy, request(protocol, "http://provider.test")).failure()
    assert proxy.accepted == before + 1
    assert failure.status == 418


@pytest.mark.promise("P9")
@pytest.mark.parametrize(("status", "streaming"), [(302, True), (307, True), (307, False)])
async def test_a_redirect_is_not_followed(
    model: ModelProcess, protocol: WireProtocol, status: int, streaming: bool
) -> None:
    with ExitStack() as stack:
        elsewhere = stack.enter_context(Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
        head = f"HTTP/1.1 {status} Go\r\nLocation: {elsewhere.url}/v1?x=1\r\nContent-Length: 0\r\n\r\n"
        here = stack.enter_context(Raw(head.encode()))
        failure = await Asked(model, request(protocol, here.url, streaming=streaming)).failure()
        assert (here.accepted, elsewhere.accepted) == (1, 0)
    assert failure.kind is FailureKind.REDIRECTED
    assert f"redirects to {elsewhere.url} ({status})" in str(failure)


@pytest.mark.promise("P9")
@pytest.mark.parametrize("name", ["nlp_cloud/dolphin", "aiohttp_openai/gpt-4o"])
async def test_other_clients_of_the_library_follow_no_redirect_either(model: ModelProcess, name: str) -> None:
    """One that is synchronous, in a thread, and one of aiohttp."""
    with ExitStack() as stack:
        elsewhere = stack.enter_context(Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
        head = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}/v1\r\nContent-Length: 0\r\n\r\n"
        here = stack.enter_context(Raw(head.encode()))
        await Asked(model, request(WireProtocol("other", OpenAIServer, name), here.url + "/")).failure()
        assert (here.accepted > 0, elsewhere.accepted) == (True, 0)
