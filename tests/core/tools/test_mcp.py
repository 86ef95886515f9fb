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
            "[image, image/png, 300 bytes; it cannot be shown here]",
            "[audio, audio/wav, 3 bytes; it cannot be played here]",
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


@pytest.mark.promise("X3")
async def test_a_stop_tells_the_server_which_lives_on(tmp_path: Path, record: Path) -> None:
    async with running(tmp_path, own=own_server(record)) as servers:
        tools = await listed(servers)
        hanging = begin(tools["mcp__own__hang"], tmp_path)
        other = begin(tools["mcp__own__hang"], tmp_path)
        await until(lambda: received(record).count("tools/call") == 2)
        hanging.stop()
        await hanging.wait_stopped()
        assert received(record)[-2:] == ["notifications/cancelled", "ping"]
        assert hanging.progress.unconfirmed == ()
        assert not other.task.done()
        assert (await call(tools["mcp__own__echo"], tmp_path, value="next")).text == "next"
        assert received(record).count("started") == 1
        other.stop()
        await other.wait_stopped()


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
        assert hanging.progress.unconfirmed == ("MCP server own",)
        assert (await call(tools["mcp__own__echo"], tmp_path, value="next")).text == "next"
        assert received(record).count("started") == 2
        await until(lambda: not old.is_running())


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


@pytest.mark.promise("X3")
async def test_a_stop_over_http_tells_the_server(tmp_path: Path) -> None:
    async with (
        hanging_server(deaf=False) as server,
        running(tmp_path, far=ServerSettings(url=server.url)) as servers,
    ):
        hanging = begin((await listed(servers))["mcp__far__hang"], tmp_path)
        await until(lambda: "tools/call" in server.received)
        hanging.stop()
        await hanging.wait_stopped()
        assert server.received[-2:] == ["notifications/cancelled", "ping"]
        assert hanging.progress.unconfirmed == ()


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


async def test_a_server_that_does_not_start_says_why_and_is_not_tried_at_each_request(
    tmp_path: Path, record: Path
) -> None:
    missing = ServerSettings(("no-such-program-of-ours",))
    async with running(tmp_path, own=own_server(record, "broken"), missing=missing) as servers:
        assert await listed(servers) == {}
        assert await listed(servers) == {}
        assert received(record) == ["started"]
        assert [server.state for server in servers.servers] == [ServerState.FAILED, ServerState.FAILED]
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
