"""Images in results of tools go to models that see, in the shape of each protocol, byte for byte (P8)."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from core.cancel import CancelReason, Cause
from core.engine.toolset import Toolset
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    ResultStatus,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
)
from core.model.provider import ModelChoice
from core.model.server_options import Reader, ServerOptions
from core.operations.events import CallEnded, Outcome, TurnEnded
from core.operations.registry import Registry
from core.permissions.policy import Mode, Permissions
from core.session.dependencies import SessionDependencies
from core.session.session import Session
from core.storage.store import Store
from core.tools.schema import spec_of
from providers.worker.images import MOST_BYTES
from tests.core.tools.mcp_calls import own_server, running
from tests.providers.client.test_tools import asking
from tests.providers.harness import Asked
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, Script, Stall, in_turn
from tests.support.no_tools import NoTools
from tests.support.pictures import block, image, png, result, text64, words
from tests.support.scripted_tools import WORKSPACE
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from core.cancel import CancelToken
    from core.model.images import Image
    from core.model.provider import Emit, Finished, ModelInfo, ModelRequest
    from core.operations.events import Event
    from core.tools.mcp.tools import Servers
    from providers.client.model_process import ModelProcess
    from tests.servers.base import Server
    from tests.servers.registry import WireProtocol

pytestmark = pytest.mark.promise("P8")

ONE, TWO = png(2, 3), png(5, 7, more=1_000)
URLS = [f"data:image/png;base64,{text64(content)}" for content in (ONE, TWO)]
CALLS = (ToolCall("a", "read", "{}"), ToolCall("b", "now", "{}"))
UNSEEN = "[image, image/png, 70 bytes: this model cannot see it]"
UNSEEN_TWO = "[image, image/png, 1 KB: this model cannot see it]"


def called(*images: Image) -> tuple[AssistantMessage, ToolResults]:
    """Two calls: one with words and the first image, one with the others and no words."""
    reply = AssistantMessage(CALLS, "test", FinishReason.TOOL_CALLS)
    first = ToolResult("a", "read", ResultStatus.COMPLETED, "words", images[:1])
    return reply, ToolResults((first, ToolResult("b", "now", ResultStatus.COMPLETED, "", images[1:])))


def shared_message(text: Callable[[str], Any], picture: Callable[[str], Any]) -> list[Any]:
    """The message after the results, for protocols whose results are text."""
    told = [text(f"[From the result of {name}, not from the user: image/png, {size}]") for name, size in TOLD]
    return [told[0], picture(URLS[0]), told[1], picture(URLS[1]), text("go on")]


TOLD = (("read", "70 bytes"), ("now", "1 KB"))


def chat(body: Any) -> None:
    first, second, after = body["messages"][-3:]
    assert first["content"] == "words\n[image, image/png, 70 bytes: in the next message]"
    assert second["content"] == "[image, image/png, 1 KB: in the next message]"
    parts = shared_message(words, lambda url: {"type": "image_url", "image_url": {"url": url}})
    assert after == {"role": "user", "content": parts}


def ollama(body: Any) -> None:
    first, second, after = body["messages"][-3:]
    assert (first["role"], first["images"], second["images"]) == ("tool", [], [])
    assert (after["role"], after["images"]) == ("user", [text64(ONE), text64(TWO)])
    assert after["content"].startswith("[From the result of read, not from the user: image/png, 70 bytes]")
    assert after["content"].endswith("go on")


def anthropic(body: Any) -> None:
    def block_of(content: bytes) -> dict[str, Any]:
        source = {"type": "base64", "media_type": "image/png", "data": text64(content)}
        return {"type": "image", "source": source}

    assert body["messages"][-1]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": [words("words"), block_of(ONE)]},
        {"type": "tool_result", "tool_use_id": "b", "content": [block_of(TWO)]},
        words("go on"),
    ]


def documented(body: Any) -> Any:
    """With Google's own names, as we send them; litellm sends others alone, which Google takes too."""
    names = {"inline_data": "inlineData", "mime_type": "mimeType", "function_response": "functionResponse"}
    text = json.dumps(body)
    if '"functionResponse"' in text:
        return body
    for theirs, name in names.items():
        text = text.replace(f'"{theirs}"', f'"{name}"')
    return json.loads(text)


def gemini(body: Any) -> None:
    def picture(url: str) -> dict[str, Any]:
        return {"inlineData": {"data": url.partition(",")[2], "mimeType": "image/png"}}

    results, after = documented(body["contents"][-2:])
    outputs = [part["functionResponse"]["response"]["output"] for part in results["parts"]]
    assert outputs == [
        "words\n[image, image/png, 70 bytes: in the next message]",
        "[image, image/png, 1 KB: in the next message]",
    ]
    assert after["parts"] == shared_message(lambda text: {"text": text}, picture)


def gemini_3(body: Any) -> None:
    results, after = documented(body["contents"][-2:])
    first, second = (part["functionResponse"] for part in results["parts"])
    assert (first["response"], second["response"]) == ({"output": "words"}, {"output": ""})
    for response, content in ((first, ONE), (second, TWO)):
        assert response["parts"] == [{"inlineData": {"data": text64(content), "mimeType": "image/png"}}]
    assert after["parts"] == [{"text": "go on"}]


def responses(body: Any) -> None:
    first, second, after = body["input"][-3:]
    one, two = ({"type": "input_image", "image_url": url} for url in URLS)
    assert (first["call_id"], second["call_id"]) == ("a", "b")
    assert first["output"] == [{"type": "input_text", "text": "words"}, one]
    assert second["output"] == [two]
    assert after == {"role": "user", "content": "go on"}


SHAPES = {
    "openai": chat,
    "azure": chat,
    "anthropic": anthropic,
    "gemini": gemini,
    "ollama": ollama,
    "responses": responses,
}


async def sent(
    model: ModelProcess, protocol: WireProtocol, *history: Any, name: str = "", images: bool | None = None
) -> Any:
    """The body of a request with this history."""
    with ThreadedServer(protocol.server()) as server:
        request = asking(protocol, server, *history)
        options = msgspec.structs.replace(request.server, images=images)
        asked = Asked(model, msgspec.structs.replace(request, model=name or request.model, server=options))
        await asked.outcome()
        assert server.complaints == []
        (exchange,) = server.exchanges
        return exchange.request.body


def seeing(protocol: WireProtocol) -> bool | None:
    """What the settings have to say: the catalogue knows of the other models that they see."""
    return True if protocol.name == "ollama" else None


async def test_a_model_that_sees_gets_them(model: ModelProcess, either_reader: WireProtocol) -> None:
    history = (*called(image(ONE), image(TWO)), UserMessage("go on"))
    SHAPES[either_reader.name](await sent(model, either_reader, *history, images=seeing(either_reader)))


@pytest.mark.parametrize("reader", Reader)
async def test_gemini_takes_them_in_its_results_from_version_3_on(
    model: ModelProcess, reader: Reader
) -> None:
    protocol = replace(PROTOCOLS["gemini"], reader=reader)
    history = (*called(image(ONE), image(TWO)), UserMessage("go on"))
    gemini_3(await sent(model, protocol, *history, name="gemini/gemini-3-pro-preview", images=True))


async def test_a_model_that_does_not_see_is_told(model: ModelProcess, either_reader: WireProtocol) -> None:
    """Whatever the settings or the catalogue say it by: of Ollama's model only the latter does."""
    images = None if either_reader.name == "ollama" else False
    with ThreadedServer(either_reader.server()) as server:
        request = asking(either_reader, server, *called(image(ONE), image(TWO)))
        options = msgspec.structs.replace(request.server, images=images)
        await Asked(model, msgspec.structs.replace(request, server=options)).outcome()
        assert server.complaints == []
        (exchange,) = server.exchanges
        texts = [it.text for it in exchange.request.conversation.messages[-1].results]
        assert texts == [f"words\n{UNSEEN}", UNSEEN_TWO]
        assert text64(ONE) not in str(exchange.request.body)


async def test_of_many_the_latest_are_sent_and_the_beginning_stays_the_same(model: ModelProcess) -> None:
    large = image(png(more=MOST_BYTES // 4))
    history: tuple[Any, ...] = ()
    kept: list[int] = []
    before: list[Any] = []
    for number in range(6):
        history += (*called(large), UserMessage(f"{number}"))
        body = await sent(model, PROTOCOLS["openai"], *history)
        places = [part["type"] for item in body["messages"] if isinstance(item.get("content"), list)
                  for part in item["content"]]  # fmt: skip
        kept.append(places.count("image_url"))
        assert str(body).count("not sent any more, newer ones are") == number + 1 - kept[-1]
        assert (body["messages"][: len(before)] == before) is (number != 3)
        before = body["messages"]
    assert kept == [1, 2, 3, 1, 2, 3]


async def test_no_request_has_more_images_than_all_providers_take(model: ModelProcess) -> None:
    """Next to more than 20 of them, Anthropic refuses those of a large screen."""
    history: tuple[Any, ...] = ()
    kept = []
    for pictures in (12, 8, 1):
        history += (*called(*[image(ONE)] * pictures), UserMessage("go on"))
        body = json.dumps(await sent(model, PROTOCOLS["anthropic"], *history))
        kept.append(body.count(text64(ONE)))
    # As with their size, all that went before are left out at once.
    assert kept == [12, 20, 1]


# -- a whole session, with the images from a real MCP server, in a file --


class ServerTools(NoTools, kw_only=True):
    """The tools of MCP servers."""

    servers: Servers

    async def load(self, token: CancelToken) -> Toolset:
        tools = {tool.name: tool for tool in await self.servers.tools(token)}
        return Toolset(tuple(map(spec_of, tools.values())), tools)


@dataclass
class AtServer:
    """The model process, with the options of a server."""

    process: ModelProcess
    options: ServerOptions

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        return await self.process.stream(msgspec.structs.replace(request, server=self.options), token, emit)

    async def describe(self, model: str) -> ModelInfo:
        return await self.process.describe(model)


@asynccontextmanager
async def talking(
    model: ModelProcess,
    servers: Servers,
    store: Store,
    server: Server,
    protocol: WireProtocol,
    resumed: str = "",
) -> AsyncIterator[Session]:
    name = protocol.model.replace("/", "/responses/") if protocol.uses_responses else protocol.model
    dependencies = SessionDependencies(
        Permissions(WORKSPACE, mode=Mode.AUTO),
        lambda _: ServerTools((), {}, servers=servers),
        make_journal=lambda session: store.create(session, "/w", name),
    )
    options = ServerOptions(images=seeing(protocol), first_byte_timeout=GENEROUS_S, idle_timeout=GENEROUS_S)
    opened = await store.open(resumed) if resumed else None
    choice = ModelChoice(name, server.url)
    session = Session(AtServer(model, options), Registry(), choice, dependencies, opened)
    try:
        yield session
    finally:
        await session.aclose(CancelReason(Cause.QUIT, "quit"))
        await store.aclose()


def image_in(protocol: WireProtocol) -> str:
    """What a request of this protocol has in it if the image goes with it, as JSON."""
    data = text64(ONE)
    return f'"{data}"' if protocol.name in ("anthropic", "gemini", "ollama") else f'base64,{data}"'


@pytest.mark.promise("H2", "H3")
async def test_in_a_session_through_a_stop_and_the_file_to_another_model(
    model: ModelProcess, tmp_path: Path, protocol: WireProtocol
) -> None:
    """An image of a real MCP server goes along with each later request, once, and to no blind model."""
    (tmp_path / "shot.json").write_text(result(block(ONE)))
    where = msgspec.json.encode({"value": str(tmp_path / "shot.json")}).decode()
    script = in_turn(
        Script((), calls=(Call("c1", "mcp__own__file", (where,)),)),
        Script(("I see.",)),
        Script(fault=Stall(after=2)),
        Script(("Again.",)),
    )
    events: list[Event] = []

    def opened_file() -> Store:
        return Store(tmp_path / "caesura.db")

    async with running(tmp_path, own=own_server(tmp_path / "record")) as servers:
        with ThreadedServer(protocol.server(script)) as server:
            async with talking(model, servers, opened_file(), server, protocol) as session:
                session.subscribe(events.append)
                session.submit("look")
                await session.wait_idle()
                session.submit("look closer")
                await until(lambda: len(server.exchanges) == 3 and server.exchanges[2].deltas_sent >= 2)
                session.stop(CancelReason(Cause.USER, "escape"))
                await session.wait_idle()
                session.submit("and now?")
                await session.wait_idle()
            number, written = session.session_id, session.record.steps
            async with talking(model, servers, opened_file(), server, protocol, number) as session:
                assert session.record.steps == written
                session.subscribe(events.append)
                session.submit("still there?")
                await session.wait_idle()
            bodies = [json.dumps(exchange.request.body) for exchange in server.exchanges]
            assert [body.count(image_in(protocol)) for body in bodies] == [0, 1, 1, 1, 1]
            assert server.complaints == []
        blind = replace(PROTOCOLS["openai"], model="openai/gpt-3.5-turbo")
        with ThreadedServer(blind.server()) as server:
            async with talking(model, servers, opened_file(), server, blind, number) as session:
                session.subscribe(events.append)
                session.submit("and you?")
                await session.wait_idle()
            (exchange,) = server.exchanges
            assert server.complaints == []
        (seen,) = (it for message in exchange.request.conversation.messages for it in message.results)
        assert seen.text == UNSEEN
        assert text64(ONE) not in json.dumps(exchange.request.body)
    (card,) = (event for event in events if isinstance(event, CallEnded))
    assert card.shown.text == "[image/png, 2x3, 70 bytes]"
    outcomes = [event.outcome for event in events if isinstance(event, TurnEnded)]
    assert outcomes == [Outcome.COMPLETED, Outcome.CANCELLED, *[Outcome.COMPLETED] * 3]
