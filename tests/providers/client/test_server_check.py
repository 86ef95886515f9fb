"""`caesura config check --server`: what it finds out of a server, and that what it proposes is enough.

The servers are real ones on the loopback, each odd in one way; the proposal is carried out as it is printed.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from core.base.folders import config_path
from core.config.load import load_config
from core.frontends.config import run_config
from core.frontends.server_check.addresses import other_addresses
from core.frontends.server_check.command import run_server_check
from providers.reading.model_list import context_window
from providers.routing.router import Router
from tests.providers.tls import TlsFront
from tests.servers.base import Aside, Form, Server, ThreadedServer
from tests.servers.http import LAST_CHUNK, chunk
from tests.servers.ollama import OllamaServer
from tests.servers.openai import OpenAIServer
from tests.servers.raw import Raw
from tests.servers.reply import Reply
from tests.servers.script import Refusal, Refuse, Script
from tests.support.settings_examples import written
from tui.cli.config import config_command
from tui.cli.parser import parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from core.frontends.server_check.asking import ServerAsker
    from core.model.settings import ModelSettings
    from providers.client.model_process import ModelProcess
    from tests.servers.http import Wire
    from tests.servers.record import Exchange, Request

SECRET = "sk-test"
"""The key that `tests.servers.registry` plants."""
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 23\r\n\r\n<html>Welcome!</html>\r\n"
THINKING = Script(text=("<think>hm</think>", "ok"))


class LocalServer(OpenAIServer):
    """A server of OpenAI's protocol below `prefix` that lists its models. `objects` says why it does not take
    a request; one that `ignores` the wish for a stream answers with a document."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        prefix: str = "/v1",
        objects: Callable[[Request], str | None] = lambda request: None,
        ignores: bool = False,
        listed: dict[str, Any] | None = None,
        props: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(script)
        self._prefix = prefix
        self._objects = objects
        self._ignores = ignores
        self._listed = {"id": "small"} | (listed or {})
        self._props = props

    def form(self, request: Request) -> Form | Aside | None:  # type: ignore[override]
        match request.path.removeprefix(self._prefix) if request.path.startswith(self._prefix) else "":
            case "/chat/completions":
                return Form.STREAM if request.body.get("stream") and not self._ignores else Form.WHOLE
            case "/models":
                return Aside({"data": [self._listed, {"id": "other"}]})
        return Aside(self._props) if request.path == "/props" and self._props is not None else None

    def complaint(self, request: Request) -> str | None:
        return super().complaint(request) or self._objects(request)


class WithPages(LocalServer):
    """Shows people a page wherever the interface is not."""

    async def _answer(self, wire: Wire, exchange: Exchange) -> None:
        if self.form(exchange.request) is not None:
            await super()._answer(wire, exchange)
            return
        reply = Reply(self._record, wire, exchange, Script())
        await reply.send_head(200, {"content-type": "text/html"})
        await wire.write(chunk(b"<html>Welcome!</html>") + LAST_CHUNK)


class LocalOllama(OllamaServer):
    def __init__(
        self, script: Script | None = None, *, objects: Callable[[Request], str | None] = lambda request: None
    ) -> None:
        super().__init__(script)
        self._objects = objects

    def form(self, request: Request) -> Form | Aside | None:
        if request.path == "/api/ps":
            return Aside({"models": [{"name": "llama3.1:latest", "context_length": 4096}]})
        return super().form(request)

    def complaint(self, request: Request) -> str | None:
        return super().complaint(request) or self._objects(request)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def line(self, title: str) -> str:
        (found,) = [line for line in self.out.splitlines() if f" {title}: " in line]
        return found

    @property
    def commands(self) -> list[list[str]]:
        return [shlex.split(line)[1:] for line in self.out.splitlines() if line.startswith("caesura config")]

    @property
    def proposed(self) -> dict[str, Any]:
        """The proposal as TOML has it."""
        _, begun, rest = self.out.partition("[providers.team]\n")
        table: dict[str, Any] = tomllib.loads(rest.partition("\n\n")[0]) if begun else {}
        return table


@dataclass
class Desk:
    """`caesura config check --server team` at a person's own settings."""

    model: ModelProcess
    folder: Path
    capture: pytest.CaptureFixture[str]
    asked: list[ModelSettings] = field(default_factory=list)

    def write(self, url: str, **options: object) -> None:
        told = {"protocol": "openai", "api_base": url, "key": "OPENAI_API_KEY"} | options
        lines = (f"{name} = {_toml(value)}" for name, value in told.items())
        written(config_path(), "# mine\n[providers.team]\n" + "\n".join(lines) + "\n")

    def check(self, *, name: str = "team", model: str | None = None) -> Said:
        before = config_path().read_bytes()
        loaded = load_config(config_path(), self.folder, environment={})
        code = run_server_check(name, model, loaded, self._make)
        out, err = self.capture.readouterr()
        assert config_path().read_bytes() == before, "nothing is written"
        assert SECRET not in out + err
        return Said(int(code), out, err)

    def obey(self, said: Said) -> None:
        """Do what the check proposes, and see that nothing is proposed any more."""
        assert said.code == 1
        assert said.commands
        for arguments in said.commands:
            command = config_command(parser().parse_args(arguments))
            assert run_config(command, config_path(), self.folder, environment={}) == 0
        assert tomllib.loads(config_path().read_text())["providers"]["team"].items() >= said.proposed.items()
        assert "# mine" in config_path().read_text()
        self.capture.readouterr()
        again = self.check()
        assert (again.code, again.commands) == (0, []), again.out

    @contextlib.contextmanager
    def _make(self) -> Iterator[Callable[[ModelSettings], ServerAsker]]:
        yield lambda settings: Router(self.model, _constant(settings))


def _constant(settings: ModelSettings) -> Any:
    async def get() -> ModelSettings:
        return settings

    return get


def _toml(value: object) -> str:
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)


@pytest.fixture
def desk(model: ModelProcess, own_home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Desk:
    return Desk(model, tmp_path, capfd)


def ollama(desk: Desk, server: Server, **options: object) -> None:
    desk.write(server.url, protocol="ollama_chat", key="", **{"context_window": 4096, **options})


def refusing(name: str) -> Callable[[Request], str | None]:
    return lambda request: f"unknown field: {name}" if request.body.get(name) else None


# -- servers that need nothing --


def test_a_server_that_takes_everything_needs_one_request(desk: Desk) -> None:
    with ThreadedServer(LocalServer(listed={"max_model_len": 8192})) as server:
        desk.write(f"{server.url}/v1", context_window=8192)
        said = desk.check()
        asked = [exchange.request for exchange in server.exchanges if exchange.request.body]
    assert (said.code, said.commands, said.err) == (0, [], "")
    assert said.line("Models").endswith("small, other")
    for title in ("Tools", "Streaming", "Token counts"):
        assert said.line(title).endswith("accepted")
    assert "small answered after " in said.line("First word")
    assert said.line("Context window").endswith("8192 tokens; the server says 8192")
    (request,) = asked
    assert request.body["max_tokens"] == 16
    assert request.body["tools"]
    assert said.out.endswith(
        "Sent: 1 request for a reply of at most 16 tokens, besides questions about its models. "
        "No setting was changed.\n"
    )


def test_an_ollama_that_takes_everything_needs_one_request(desk: Desk) -> None:
    with ThreadedServer(LocalOllama()) as server:
        ollama(desk, server)
        said = desk.check()
        asked = [exchange for exchange in server.exchanges if exchange.request.path == "/api/chat"]
    assert said.code == 0, said.out
    assert said.line("Models").endswith("llama3.1:latest")
    assert len(asked) == 1


def test_the_model_is_that_of_the_settings_or_of_the_command_line(desk: Desk) -> None:
    with ThreadedServer(LocalServer()) as server:
        desk.write(f"{server.url}/v1", context_window=8192)
        with config_path().open("a") as file:
            file.write('[models.mine]\nmodel = "team/other"\n[routes.all]\nrotate = ["openai/x", "mine"]\n')
        assert "other answered" in desk.check().line("First word")
        assert "small answered" in desk.check(model="small").line("First word")
        assert "small answered" in desk.check(model="team/small").line("First word")


# -- what a server does not take --


@pytest.mark.parametrize(
    ("name", "title", "proposed"),
    [
        ("stream_options", "Token counts", {"stream_options": False}),
        ("stream", "Streaming", {"stream": False}),
        ("tools", "Tools", {"tools": False}),
    ],
)
def test_what_is_refused_is_proposed_to_be_left_out(
    desk: Desk, name: str, title: str, proposed: dict[str, Any]
) -> None:
    with ThreadedServer(LocalServer(objects=refusing(name))) as server:
        desk.write(f"{server.url}/v1", context_window=8192)
        said = desk.check()
        assert said.code == 1
        assert said.proposed == proposed
        assert said.line(title).endswith(f"refused: “unknown field: {name}”")
        desk.obey(said)


@pytest.mark.parametrize(("name", "title"), [("stream", "Streaming"), ("tools", "Tools")])
def test_what_an_ollama_refuses_is_proposed_to_be_left_out(desk: Desk, name: str, title: str) -> None:
    with ThreadedServer(LocalOllama(objects=refusing(name))) as server:
        ollama(desk, server)
        said = desk.check()
        assert said.proposed == {name: False}
        assert "refused: " in said.line(title)
        desk.obey(said)


def test_all_of_it_together(desk: Desk) -> None:
    def objects(request: Request) -> str | None:
        return refusing("tools")(request) or refusing("stream_options")(request)

    with ThreadedServer(LocalServer(THINKING, objects=objects, listed={"max_model_len": 8192})) as server:
        desk.write(f"{server.url}", fold_thinking=False, first_byte_timeout=0.000_01)
        said = desk.check()
        assert said.proposed == {
            "first_byte_timeout": 60,
            "stream_options": False,
            "tools": False,
            "fold_thinking": True,
            "api_base": f"{server.url}/v1",
            "context_window": 8192,
        }
        desk.obey(said)


def test_tools_are_worth_more_than_streaming(desk: Desk) -> None:
    def objects(request: Request) -> str | None:
        return "no tools in a stream" if request.body.get("tools") and request.body.get("stream") else None

    with ThreadedServer(LocalServer(objects=objects)) as server:
        desk.write(f"{server.url}/v1", context_window=8192)
        said = desk.check()
        assert said.proposed == {"stream": False}
        # All of it, none of it, with tools, and with a stream. Tokens are counted in streams alone.
        assert "Sent: 4 requests" in said.out
        desk.obey(said)


def test_a_document_in_place_of_a_stream_is_noticed(desk: Desk) -> None:
    with ThreadedServer(LocalServer(ignores=True)) as server:
        desk.write(f"{server.url}/v1", context_window=8192)
        said = desk.check()
        assert said.proposed == {"stream": False}
        assert said.line("Streaming").endswith("asked for in pieces, the reply came as a whole")
        desk.obey(said)


@pytest.mark.parametrize("make", [LocalServer, LocalOllama])
def test_reasoning_in_the_text_is_proposed_to_be_folded(desk: Desk, make: Any) -> None:
    with ThreadedServer(make(THINKING)) as server:
        if make is LocalOllama:
            ollama(desk, server, fold_thinking=False)
        else:
            desk.write(f"{server.url}/v1", context_window=8192, fold_thinking=False)
        said = desk.check()
        assert said.proposed == {"fold_thinking": True}
        assert said.line("Reasoning").endswith("in the text of the reply, and not folded")
        desk.obey(said)
        assert desk.check().line("Reasoning").endswith("in the text of the reply, where it is folded")


def test_a_limit_that_the_first_word_nearly_passes_is_proposed_to_be_longer(desk: Desk) -> None:
    with ThreadedServer(LocalServer()) as server:
        desk.write(f"{server.url}/v1", context_window=8192, first_byte_timeout=0.000_01)
        said = desk.check()
        assert said.proposed == {"first_byte_timeout": 60}
        assert "the limit is 1e-05 s, and a long prompt would take longer" in said.line("First word")
        desk.obey(said)


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"listed": {"max_model_len": 2048}}, 2048),
        ({"props": {"default_generation_settings": {"n_ctx": 512}}}, 512),
    ],
    ids=["vLLM", "llama.cpp"],
)
def test_the_context_window_that_a_server_tells_is_proposed(
    desk: Desk, options: dict[str, Any], tokens: int
) -> None:
    with ThreadedServer(LocalServer(**options)) as server:
        desk.write(f"{server.url}/v1")
        said = desk.check()
        assert said.proposed == {"context_window": tokens}
        desk.obey(said)


def test_an_ollama_tells_what_it_has_loaded_and_not_what_a_model_was_trained_for(desk: Desk) -> None:
    with ThreadedServer(LocalOllama()) as server:
        ollama(desk, server, context_window=131_072)
        said = desk.check()
        assert said.proposed == {"context_window": 4096}
        desk.obey(said)


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        (b'{"parameters": "stop x\\nnum_ctx    8192", "model_info": {"llama.context_length": 131072}}', 8192),
        (b'{"parameters": "stop x", "model_info": {"llama.context_length": 131072}}', None),
        (b'{"data": [{"id": ["small"]}, {"id": "small", "context_length": 5}]}', 5),
        (b'{"data": [{"id": "small", "context_length": true}]}', None),
        (b'{"data": [{"id": "small", "context_length": -1, "context_window": 7}]}', 7),
        (b'{"data": 3}', None),
        (b"[]", None),
    ],
)
def test_only_a_plain_number_is_a_context_window(answer: bytes, tokens: int | None) -> None:
    assert context_window(answer, "small") == tokens


# -- servers that are not where they should be --


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("prefix", "path"),
    [("/v1", ""), ("/v1", "/v1/models"), ("/v1", "/api"), ("/api/v2", "/api/v2/models")],
)
def test_an_address_that_is_near_is_found_at_the_same_host(desk: Desk, prefix: str, path: str) -> None:
    with ThreadedServer(LocalServer(prefix=prefix)) as server:
        desk.write(f"{server.url}{path}", context_window=8192)
        said = desk.check()
        assert said.code == 1
        assert said.proposed == {"api_base": f"{server.url}{prefix}"}
        desk.obey(said)


@pytest.mark.promise("P9")
def test_an_address_behind_a_page_is_found(desk: Desk) -> None:
    with ThreadedServer(WithPages()) as server:
        desk.write(server.url, context_window=8192)
        said = desk.check(model="small")
        assert said.proposed == {"api_base": f"{server.url}/v1"}
        desk.obey(said)


class OtherApi(LocalServer):
    """Has no interface for models, but answers each request below `/`."""

    def form(self, request: Request) -> Form | Aside | None:  # type: ignore[override]
        return None if request.path.startswith("/v1") else Aside({"hello": "there"})


@pytest.mark.promise("P9")
def test_an_address_at_which_something_else_answers_is_not_proposed(desk: Desk) -> None:
    with ThreadedServer(OtherApi()) as server:
        desk.write(f"{server.url}/v1")
        said = desk.check(model="small")
        asked = {exchange.request.path for exchange in server.exchanges}
    assert "/chat/completions" in asked
    assert (said.code, said.proposed) == (1, {})
    assert " Address: " not in said.out
    assert f"The server at {server.url}/v1 has nothing there (404)" in said.line("Reply")


def test_an_ollama_is_found_below_the_path_of_the_other_protocol(desk: Desk) -> None:
    with ThreadedServer(LocalOllama()) as server:
        ollama(desk, server, api_base=f"{server.url}/v1")
        said = desk.check()
        assert said.proposed == {"api_base": server.url}
        desk.obey(said)


@pytest.mark.parametrize("api_base", ["https://u:p@h:1/x/v1?a=b", "http://h", "http://[::1]:8/v1/"])
@pytest.mark.parametrize("protocol", ["openai", "ollama_chat"])
def test_every_other_address_is_of_the_same_host(api_base: str, protocol: str) -> None:
    host = api_base.partition("/x")[0].removesuffix("/v1/")
    assert all(each == host or each.startswith(f"{host}/") for each in other_addresses(api_base, protocol))


def test_a_page_for_people_is_said(desk: Desk) -> None:
    with Raw(PAGE) as raw:
        desk.write(f"{raw.url}/v1")
        said = desk.check(model="small")
    assert said.code == 1
    assert f"The server at {raw.url}/v1 answered with a web page" in said.line("Reply")
    assert said.commands == []


def test_a_server_that_is_not_there_is_asked_once(desk: Desk) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        desk.write(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")
        said = desk.check()
    assert said.code == 1
    assert "cannot be reached" in said.line("Reply")
    assert "Sent: 1 request " in said.out


def test_a_name_that_nobody_knows_is_said(desk: Desk) -> None:
    desk.write("http://wait-0.unknown-check.test/v1")
    assert "its host name was not found" in desk.check().line("Reply")


def test_a_key_that_is_refused_is_said_and_not_shown(desk: Desk) -> None:
    with ThreadedServer(LocalServer(Script(fault=Refuse(Refusal.WRONG_KEY)))) as server:
        desk.write(f"{server.url}/v1")
        said = desk.check()
    assert said.code == 1
    assert "refused the key" in said.line("Reply")
    assert said.commands == []


@pytest.mark.promise("P9")
def test_a_certificate_of_ones_own_is_said_to_need_a_file(desk: Desk, tmp_path: Path) -> None:
    front = TlsFront(tmp_path)
    with ThreadedServer(LocalServer()) as server, front.before(server) as url:
        desk.write(f"{url}/v1", context_window=8192)
        assert "name its file as `ca_file`" in desk.check().line("Reply")
        assert server.exchanges == []
        desk.write(f"{url}/v1", context_window=8192, ca_file=str(front.certificate))
        assert desk.check().code == 0


def test_a_password_in_an_address_is_not_shown(desk: Desk) -> None:
    with ThreadedServer(LocalServer()) as server:
        desk.write(server.url.replace("://", "://me:hunter2@"), context_window=8192, tools=True)
        said = desk.check(model="small")
    assert "hunter2" not in said.out + said.err
    assert f"but answers at {server.url}/v1" in said.line("Address")
    assert said.proposed == {"api_base": f"{server.url}/v1"}
    assert "# With the name and the password that your address has:" in said.out
    # It would put the address there without the password.
    assert said.commands == []


def test_a_server_that_fails_whatever_is_asked_gets_no_proposal(desk: Desk) -> None:
    with ThreadedServer(LocalServer(objects=lambda request: "out of order")) as server:
        desk.write(f"{server.url}/v1")
        said = desk.check()
        assert len([exchange for exchange in server.exchanges if exchange.request.body]) == 2
    assert (said.code, said.commands) == (1, [])
    assert "It says: “out of order”" in said.line("Reply")


def test_a_server_without_a_list_wants_a_name(desk: Desk) -> None:
    def objects(request: Request) -> str | None:
        return None if request.model == "small" else f"unknown model {request.model}"

    with ThreadedServer(LocalServer(objects=objects)) as server:
        server._listed = {"id": "an embedding"}
        desk.write(f"{server.url}/v1")
        server.form = _without_list(server.form)  # type: ignore[method-assign]
        said = desk.check()
        assert said.code == 1
        assert said.line("Model").endswith("there is none to ask for: name one with --model")
        assert "small answered" in desk.check(model="small").line("First word")


def _without_list(form: Callable[[Request], Any]) -> Callable[[Request], Any]:
    return lambda request: None if request.path.endswith("/models") else form(request)


def test_a_server_that_the_settings_do_not_have(desk: Desk) -> None:
    desk.write("http://127.0.0.1:9/v1")
    said = desk.check(name="taem")
    assert (said.code, said.out) == (2, "")
    assert said.err == "caesura: The settings have no [providers.taem]: did you mean team?\n"
    written(config_path(), "")
    assert "name no server" in desk.check().err
