"""The MCP client against servers that misbehave: in bare JSON lines, in real processes."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.config.schema import ServerSettings
from core.engine.tool import ToolError
from core.operations.events import Shown
from core.operations.operation import OperationState
from core.permissions.access import AccessKind, Workspace
from core.tools.mcp.process import LOGGED_LINES
from core.tools.mcp.result import MOST_CHARS
from core.tools.mcp.server import ServerState
from core.tools.mcp.tools import tool_name
from core.tools.schema import spec_of
from tests.core.tools.mcp_calls import (
    alive,
    begin,
    call,
    listed,
    own_server,
    received,
    running,
)
from tests.servers.mcp_http import hanging_server
from tests.support.waiting import GENEROUS_S, until

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a turn wait for servers as long as a loaded machine takes to start and ask them."""
    monkeypatch.setattr("core.tools.mcp.tools.PATIENCE_S", GENEROUS_S)
    monkeypatch.setattr("core.tools.mcp.server.REFRESH_WITHIN_S", GENEROUS_S)


# -- what a tool is --


async def test_tools_of_all_pages_come_with_their_schema_and_hints(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        assert received(record) == []
        tools = await listed(servers)
        assert {"mcp__own__echo", "mcp__own__hang", "mcp__own__refuse"} < set(tools)
        echo, hang = tools["mcp__own__echo"], tools["mcp__own__hang"]
        arguments = echo.arguments.model_validate({"value": "two\nlines", "n": 1})
        workspace = Workspace(tmp_path)
        assert json.loads(spec_of(echo).parameters)["properties"] == {"value": {"type": "string"}}
        assert echo.concurrent(arguments)
        assert not hang.concurrent(arguments)
        assert echo.title(arguments, workspace) == "value=two lines, n=1"
        access = echo.access(arguments, workspace)
        assert (access.kind, access.subject) == (AccessKind.SERVER, "mcp__own__echo value=two\nlines, n=1")
        assert (await call(echo, tmp_path, value="hello")).shown == Shown("hello")


def test_a_name_is_one_that_every_provider_takes_and_that_no_other_tool_has() -> None:
    taken: dict[str, object] = {}
    pairs = [
        ("s", "a.b"),
        ("s", "a b"),
        ("s", "a_b"),
        ("s", "x" * 90),
        ("s", "x" * 91),
        ("s__a", "b"),
        ("s", "a__b"),
    ]
    for server, tool in pairs:
        name = tool_name(server, tool, taken)
        assert name not in taken
        assert len(name) <= 64
        assert name.replace("_", "").replace("-", "").isalnum()
        assert name.isascii()
        taken[name] = None
    assert tool_name("git", "log", {}) == "mcp__git__log"


async def test_results_are_told_in_words_and_failures_are_failures(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        kinds = (await call(tools["mcp__own__kinds"], tmp_path)).text
        for part in (
            "words",
            "[image left out: image/png, 300 bytes, it is no PNG, JPEG, GIF or WebP]",
            "[audio left out, audio/wav, 3 bytes: only text and images are passed on]",
            "[link to the resource notes, file:///notes.txt]",
            "[resource file:///a.txt, unknown type]\ninside",
            "[resource file:///b, x/y, 3 bytes; its bytes are left out]",
            '{\n "n": 1\n}',
        ):
            assert part in kinds
        refused = await call(tools["mcp__own__refuse"], tmp_path)
        assert (refused.text, refused.failed) == ("no such thing", True)
        await call(tools["mcp__own__grow"], tmp_path, value="unknown")
        grown = await listed(servers)
        with pytest.raises(ToolError, match="own answers: unknown tool unknown"):
            await call(grown["mcp__own__unknown"], tmp_path)


@pytest.mark.parametrize(
    ("contents", "structured", "expected"),
    [
        (['{"n": 1}'], {"n": 1}, '{"n": 1}'),
        (["hello"], {"result": "hello"}, "hello"),
        (["5"], {"result": 5}, "5"),
        (["[1, 2]"], {"result": [1, 2]}, "[1, 2]"),
        (["one", "two"], {"result": ["one", "two"]}, "one\ntwo"),
        (['{"n": 1}', '{"n": 2}'], {"result": [{"n": 1}, {"n": 2}]}, '{"n": 1}\n{"n": 2}'),
        (["hello"], {"content": [{"type": "text", "text": "hello"}]}, "hello"),
        (["It is warm."], {"degrees": 20}, 'It is warm.\n{\n "degrees": 20\n}'),
        ([], {"result": []}, '{\n "result": []\n}'),
        (["nothing more"], None, "nothing more"),
    ],
)
async def test_what_comes_as_text_and_as_a_structure_is_told_once(
    tmp_path: Path, record: Path, contents: list[str], structured: object, expected: str
) -> None:
    result = {
        "content": [{"type": "text", "text": text} for text in contents],
        "structuredContent": structured,
    }
    async with running(tmp_path, own=own_server(record)) as servers:
        say = (await listed(servers))["mcp__own__say"]
        assert (await call(say, tmp_path, value=json.dumps(result))).text == expected


async def test_the_bytes_of_an_image_are_not_told_as_a_structure(tmp_path: Path, record: Path) -> None:
    image = {"type": "image", "mimeType": "image/png", "data": "AAA="}
    result = {"content": [image], "structuredContent": {"content": [image]}}
    async with running(tmp_path, own=own_server(record)) as servers:
        say = (await listed(servers))["mcp__own__say"]
        told = (await call(say, tmp_path, value=json.dumps(result))).text
        assert told == "[image left out: image/png, 2 bytes, it is no PNG, JPEG, GIF or WebP]"


async def test_an_odd_tool_is_left_out_and_named_and_the_others_stay(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "odd")) as servers:
        tools = await listed(servers)
        assert {"mcp__own__echo", "mcp__own__refuse", "mcp__own__empty", "mcp__own__hinted"} < set(tools)
        empty = json.loads(spec_of(tools["mcp__own__empty"]).parameters)
        assert empty == {"type": "object", "properties": {}}
        for odd in ("hinted", "unhinted"):
            tool = tools[f"mcp__own__{odd}"]
            assert not tool.concurrent(tool.arguments.model_validate({}))
        left_out = {
            "null": "its inputSchema is missing or null, not an object",
            "list": "its inputSchema is a list, not an object",
            "text": "its inputSchema is not that of an object",
            "fields": "the properties of its inputSchema are no schemas",
            "required": "what its inputSchema requires are no names",
        }
        assert not {f"mcp__own__{name}" for name in left_out} & set(tools)
        described = servers.describe()
        for name, reason in left_out.items():
            assert f"  left out: {name} ({reason})" in described
        assert described.count("(it has no name)") == 2
        (news,) = servers.news()
        assert news.startswith("Of the MCP server own these tools are left out: null (its inputSchema is")
        assert news.endswith("; and 4 more, see /mcp.")
        await listed(servers)
        assert servers.news() == ()


@pytest.mark.promise("X2")
async def test_a_huge_result_is_cut_and_an_endless_one_ends_the_connection(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.tools.mcp.process.MOST_LINE_BYTES", 3_000_000)
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        output = await call(tools["mcp__own__huge"], tmp_path, value="2000000")
        assert len(output.text) < MOST_CHARS + 100
        assert f"[… {2_000_000 - MOST_CHARS:,} characters left out …]" in output.text
        with pytest.raises(ToolError):
            await call(tools["mcp__own__endless"], tmp_path, value="4000000")
        (server,) = servers.servers
        assert server.state is ServerState.ENDED
        assert "a message of more than" in server.error
        assert (await call(tools["mcp__own__echo"], tmp_path, value="again")).text == "again"


async def test_what_a_server_asks_is_answered_and_progress_is_shown(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        roots, sampling, elicitation = json.loads((await call(tools["mcp__own__ask"], tmp_path)).text)
        assert roots["roots"][0]["uri"] == tmp_path.as_uri()
        assert "not supported" in sampling["message"]
        assert "not supported" in elicitation["message"]
        steps = begin(tools["mcp__own__steps"], tmp_path)
        await until(lambda: steps.progress.tail(1) == "1/3 half way")
        steps.stop()
        await steps.wait_stopped()


async def test_keys_stay_out_and_what_the_config_gives_is_there(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        environment = json.loads((await call(tools["mcp__own__environment"], tmp_path)).text)
    assert "OPENAI_API_KEY" not in environment
    assert environment["GIVEN"] == "yes"


# -- stops --


OWN_ASKED = "The MCP server own was asked to stop {} and has not confirmed it: it may still be at work."


@pytest.mark.promise("X3", "S12")
async def test_a_stop_tells_the_server_which_lives_on_and_has_not_confirmed_it(
    tmp_path: Path, record: Path
) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        hanging = begin(tools["mcp__own__hang"], tmp_path)
        other = begin(tools["mcp__own__hang"], tmp_path)
        await until(lambda: received(record).count("tools/call") == 2)
        hanging.stop()
        await hanging.wait_stopped()
        assert received(record)[-2:] == ["notifications/cancelled", "ping"]
        # That the server lives says nothing of the call.
        assert hanging.progress.unconfirmed == ("MCP server own",)
        assert hanging.told == [f"{OWN_ASKED.format('hang')} /mcp restart own ends it."]
        (row,) = hanging.registry.snapshot()
        assert (row.state, row.unconfirmed) == (OperationState.STOPPING, ("MCP server own",))
        assert "  asked to stop, not confirmed: hang" in servers.describe()
        assert not other.task.done()
        assert (await call(tools["mcp__own__echo"], tmp_path, value="next")).text == "next"
        assert received(record).count("started") == 1
        other.stop()
        await other.wait_stopped()


@pytest.mark.promise("S12")
async def test_calls_that_are_stopped_together_are_told_of_once(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        hang = (await listed(servers))["mcp__own__hang"]
        turn = CancelToken("turn")
        hanging = [begin(hang, tmp_path, turn=turn) for _ in range(3)]
        await until(lambda: received(record).count("tools/call") == 3)
        turn.cancel(CancelReason(Cause.USER, "Esc"))
        for each in hanging:
            await each.wait_stopped()
        assert sorted(len(each.told) for each in hanging) == [0, 0, 1]
        assert {each.progress.unconfirmed for each in hanging} == {("MCP server own",)}
        assert servers.describe().count("asked to stop, not confirmed: hang") == 3


@pytest.mark.promise("S12", "U8")
@pytest.mark.parametrize(
    ("how", "text", "said"),
    [
        ("", "late of the MCP server own went on to its end, ", "a late result"),
        ("error", "late was ended by the MCP server own, ", "The MCP server own answers: gave up"),
    ],
)
async def test_what_comes_after_a_stop_is_shown_and_an_answer_confirms_the_end(
    tmp_path: Path, record: Path, how: str, text: str, said: str
) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        late = begin(tools["mcp__own__late"], tmp_path)
        await until(lambda: "tools/call" in received(record))
        late.stop()
        await late.wait_stopped()
        await until(lambda: late.registry.snapshot()[0].late == "2/3 still at it")
        assert late.progress.unconfirmed == ("MCP server own",)
        assert late.registry.records == ()
        await call(tools["mcp__own__finish"], tmp_path, value=how)
        await until(lambda: not late.registry.snapshot())
        end = late.late[0].result()
        assert end.confirmed
        assert end.text.startswith(text)
        assert end.said == said
        (stop,) = late.registry.records
        assert stop.confirmed_after_s is not None
        assert "asked to stop" not in servers.describe()
        assert received(record).count("started") == 1


@pytest.mark.promise("S12", "X3")
async def test_a_stop_that_the_server_answers_at_once_is_confirmed(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        obeying = begin((await listed(servers))["mcp__own__obey"], tmp_path)
        await until(lambda: "tools/call" in received(record))
        obeying.stop()
        await obeying.wait_stopped()
        assert obeying.progress.unconfirmed == ()
        assert obeying.progress.text().startswith("obey was ended by the MCP server own, ")
        assert (obeying.told, obeying.late, obeying.registry.snapshot()) == ([], [], ())


@pytest.mark.promise("S12", "S11")
async def test_a_second_stop_of_a_call_that_was_left_kills_the_server(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "stubborn")) as servers:
        tools = await listed(servers)
        hanging = begin(tools["mcp__own__hang"], tmp_path)
        await until(lambda: "tools/call" in received(record))
        hanging.stop()
        await hanging.wait_stopped()
        assert hanging.registry.snapshot()
        assert hanging.token.force()
        await until(lambda: not hanging.registry.snapshot())
        assert alive(str(record)) == []
        assert hanging.late[0].result().confirmed
        assert (
            hanging.late[0].result().text.startswith("hang ended with all processes of the MCP server own, ")
        )
        assert [stop.forced for stop in hanging.registry.records] == [True]
        assert (await call(tools["mcp__own__echo"], tmp_path, value="next")).text == "next"


@pytest.mark.promise("S12", "X1")
async def test_a_restart_ends_all_processes_of_the_server_and_brings_its_tools_back(
    tmp_path: Path, record: Path
) -> None:
    async with running(tmp_path, own=own_server(record, "stubborn")) as servers:
        tools = await listed(servers)
        await call(tools["mcp__own__daemon"], tmp_path, value=f"daemon-of-{record}")
        late = begin(tools["mcp__own__late"], tmp_path)
        going = begin(tools["mcp__own__hang"], tmp_path)
        await until(lambda: received(record).count("tools/call") == 3)
        late.stop()
        await late.wait_stopped()
        before = alive(str(record))
        assert len(before) > 1
        told = await servers.restart("own")
        assert (
            told
            == f"The MCP server own was started again, with {len(tools)} tools. All its processes have ended."
        )
        assert not [process for process in before if process.is_running()]
        assert late.late[0].result().confirmed
        assert late.late[0].result().said == "2/3 still at it"
        with pytest.raises(ToolError, match="own ended during the request; what it did is unknown"):
            await going.task
        assert set(await listed(servers)) == set(tools)
        assert (await call(tools["mcp__own__echo"], tmp_path, value="back")).text == "back"
        assert received(record).count("started") == 2
        with pytest.raises(ToolError, match=r"no MCP server ‘won’\. The servers are: own"):
            await servers.restart("won")


async def test_a_restart_of_what_cannot_start_says_why(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "broken")) as servers:
        await listed(servers)
        told = await servers.restart("own")
        assert told.startswith("The MCP server own did not start again. All its processes have ended. ")
        assert "It said: the config is missing" in told
        assert received(record) == ["started", "started"]


@pytest.mark.promise("U10", "X3")
async def test_a_server_that_does_not_answer_a_stop_is_named_and_started_anew(
    tmp_path: Path, record: Path
) -> None:
    async with running(tmp_path, own=own_server(record, "deaf", "stubborn", grace=0.2)) as servers:
        tools = await listed(servers)
        hanging = begin(tools["mcp__own__hang"], tmp_path)
        await until(lambda: "tools/call" in received(record))
        (old,) = alive(str(record))
        hanging.stop()
        await hanging.wait_stopped()
        assert hanging.told == [f"{OWN_ASKED.format('hang')} It is ended now."]
        assert (await call(tools["mcp__own__echo"], tmp_path, value="next")).text == "next"
        assert received(record).count("started") == 2
        await until(lambda: not old.is_running())
        # Its end is the end of the call.
        await until(lambda: not hanging.registry.snapshot())
        assert hanging.progress.unconfirmed == ()
        assert [end.result().confirmed for end in hanging.late] == [True]


@pytest.mark.promise("S11", "X3")
async def test_a_second_stop_kills_the_server_at_once(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "deaf", "stubborn", grace=600)) as servers:
        tools = await listed(servers)
        hanging = begin(tools["mcp__own__hang"], tmp_path)
        await until(lambda: "tools/call" in received(record))
        hanging.stop()
        hanging.token.force()
        await hanging.wait_stopped()
        assert hanging.progress.unconfirmed == ()
        assert alive(str(record)) == []


@pytest.mark.promise("X3", "T3")
async def test_a_stopped_start_leaves_nothing(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "silent", "stubborn")) as servers:
        token = CancelToken("turn")
        asking = asyncio.create_task(servers.tools(token))
        await until(lambda: "started" in received(record))
        token.cancel(CancelReason(Cause.USER, "Esc"))
        with pytest.raises(Cancelled):
            await asking
        assert alive(str(record)) == []
        assert servers.servers[0].error == "The MCP server own was stopped at its start."
        with pytest.raises(Cancelled):
            await servers.tools(token)
        assert received(record).count("started") == 1


@pytest.mark.promise("X3", "S12")
async def test_a_stop_over_http_tells_the_server_of_which_the_end_is_never_seen(tmp_path: Path) -> None:
    async with (
        hanging_server(deaf=False) as server,
        running(tmp_path, far=ServerSettings(url=server.url)) as servers,
    ):
        hanging = begin((await listed(servers))["mcp__far__hang"], tmp_path)
        await until(lambda: "tools/call" in server.received)
        hanging.stop()
        await hanging.wait_stopped()
        assert server.received[-2:] == ["notifications/cancelled", "ping"]
        assert hanging.progress.unconfirmed == ("MCP server far",)
        told = await servers.restart("far")
        assert told.endswith("Its connection was closed; what it was doing may go on there.")
        await until(lambda: not hanging.registry.snapshot())
        (end,) = [end.result() for end in hanging.late]
        assert not end.confirmed
        assert end.text.startswith("Whether hang of the MCP server far has ended will not be known")
        (stop,) = hanging.registry.records
        assert stop.confirmed_after_s is None
        assert str(stop).endswith("cancelled its end was not confirmed")


GATEWAY = b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: a comment\n\n"


@pytest.mark.promise("S12")
@pytest.mark.parametrize("last", [b"", GATEWAY, STREAM], ids=["at once", "by a gateway", "in its stream"])
async def test_a_connection_that_is_cut_is_no_end_of_its_call(tmp_path: Path, last: bytes) -> None:
    async with (
        hanging_server(deaf=False) as server,
        running(tmp_path, far=ServerSettings(url=server.url)) as servers,
    ):
        hanging = begin((await listed(servers))["mcp__far__hang"], tmp_path)
        await until(lambda: "tools/call" in server.received)
        hanging.stop()
        await hanging.wait_stopped()
        assert hanging.registry.snapshot()
        server.last_bytes = last
        server.cut.set()
        await until(lambda: not hanging.registry.snapshot())
        assert [end.result().confirmed for end in hanging.late] == [False]
        assert hanging.progress.unconfirmed == ("MCP server far",)


@pytest.mark.promise("U10", "X3")
async def test_a_server_over_http_that_takes_no_stop_is_named_and_reached_anew(tmp_path: Path) -> None:
    async with (
        hanging_server(deaf=True) as server,
        running(tmp_path, far=ServerSettings(url=server.url, grace=0.2)) as servers,
    ):
        tool = (await listed(servers))["mcp__far__hang"]
        for times in (1, 2):
            server.received.clear()
            hanging = begin(tool, tmp_path)
            await until(lambda: "tools/call" in server.received)
            hanging.stop()
            await hanging.wait_stopped()
            assert hanging.progress.unconfirmed == ("MCP server far",), times
        await until(lambda: server.open == 0)


# -- servers that fail --


async def test_a_slow_server_does_not_hold_up_the_others(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = own_server(tmp_path / "slow", "silent")
    async with running(tmp_path, slow=slow, own=own_server(record)) as servers:
        monkeypatch.setattr("core.tools.mcp.tools.PATIENCE_S", 1.0)
        await listed(servers)
        # It may take longer than the patience on a busy machine, and so come with a later request.
        await until(lambda: servers.servers[1].state is ServerState.READY)
        assert "mcp__own__echo" in await listed(servers)
        assert [server.state for server in servers.servers] == [ServerState.STARTING, ServerState.READY]
        assert servers.news() == (
            "The MCP server slow is still starting: its tools come with a later request.",
        )


async def test_a_server_that_does_not_start_says_why_and_is_not_tried_at_each_request(
    tmp_path: Path, record: Path
) -> None:
    missing = ServerSettings(("no-such-program-of-ours",))
    async with running(tmp_path, own=own_server(record, "broken"), missing=missing) as servers:
        assert await listed(servers) == {}
        assert await listed(servers) == {}
        assert received(record) == ["started"]
        assert [server.state for server in servers.servers] == [ServerState.FAILED, ServerState.FAILED]
        news = servers.news()
        assert [sentence.endswith(" tries again.") for sentence in news] == [True, True]
        assert "It said: the config is missing" in news[0]
        assert servers.news() == ()
        said = servers.describe()
        assert "It said: the config is missing" in said
        assert "“no-such-program-of-ours” was not found" in said


async def test_a_server_that_dies_in_a_call_is_started_anew_by_the_next(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        with pytest.raises(ToolError, match="own ended during the request"):
            await call(tools["mcp__own__die"], tmp_path)
        await until(lambda: "on fire" in servers.servers[0].error)
        assert set(await listed(servers)) == set(tools)
        assert (await call(tools["mcp__own__echo"], tmp_path, value="back")).text == "back"
        assert received(record).count("started") == 2


async def test_garbage_and_a_flood_of_errors_do_no_harm(
    tmp_path: Path, record: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path, own=own_server(record, "garbage", "flood")) as servers:
        tools = await listed(servers)
        assert (await call(tools["mcp__own__echo"], tmp_path, value="still")).text == "still"
        await until(lambda: "what it writes on is not logged" in caplog.text)
    assert caplog.text.count("EEEE") <= LOGGED_LINES * 200
    assert sum("MCP server own: E" in message for message in caplog.messages) <= LOGGED_LINES
    assert capfd.readouterr().err == ""


async def test_a_list_without_end_is_left(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "pages")) as servers:
        assert len(await listed(servers)) == 50
        news = "Of the MCP server own these tools are left out: all after the first 50."
        assert servers.news() == (news,)


async def test_what_is_beyond_the_most_tools_is_said(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        await listed(servers)
        monkeypatch.setattr("core.tools.mcp.sdk_session.MOST_TOOLS", 3)
        await servers.restart("own")
        assert len(await listed(servers)) == 3
        assert "  left out: all after the first 3" in servers.describe()


# -- the end --


@pytest.mark.promise("X1")
async def test_closing_ends_what_ignores_it_and_what_it_left_behind(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record, "stubborn")) as servers:
        tools = await listed(servers)
        await call(tools["mcp__own__daemon"], tmp_path, value=f"daemon-of-{record}")
        assert alive(f"daemon-of-{record}")
    assert alive(str(record)) == []
    with pytest.raises(ToolError, match="closed"):
        await call(tools["mcp__own__echo"], tmp_path, value="late")


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.core.tools.mcp_calls import call, listed, own_server, running

async def main(folder, record):
    async with running(folder, own=own_server(record, "stubborn")) as servers:
        tools = await listed(servers)
        await call(tools["mcp__own__daemon"], folder, value=f"daemon-of-{record}")
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.promise("X7")
async def test_no_server_outlives_a_caesura_that_is_killed(tmp_path: Path, record: Path) -> None:
    caesura = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), str(record), stdout=subprocess.PIPE, cwd=ROOT
    )
    assert caesura.stdout is not None
    assert await caesura.stdout.readline() == b"ready\n"
    assert alive(f"daemon-of-{record}")
    caesura.kill()
    await caesura.wait()
    await until(lambda: not alive(str(record)))


def test_the_sdk_is_not_loaded_before_a_server_is_needed() -> None:
    script = "import sys, core.tools.mcp.tools; assert not {'mcp', 'mcp_types', 'httpx2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
