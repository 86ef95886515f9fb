"""The MCP client with the reference servers as they are published: over stdio and over streamable HTTP.

They come from the npm registry, once for each run of the tests, into a folder of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from core.config.schema import ServerSettings
from core.tools.mcp.server import ServerState
from tests.core.tools.mcp_calls import begin, call, listed, running
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from core.tools.mcp.tools import Servers

VERSION = "2026.8.31"
LONG = "mcp__everything__trigger-long-running-operation"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of the servers."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the reference servers come from its registry")
    folder = tmp_path_factory.mktemp("npm")
    packages = [f"@modelcontextprotocol/server-{name}@{VERSION}" for name in ("everything", "filesystem")]
    quiet = ("--no-save", "--no-audit", "--no-fund", "--loglevel=error")
    try:
        done = subprocess.run(
            [npm, "install", *quiet, "--prefix", str(folder), *packages],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install the reference servers within 120 s")
    if done.returncode != 0:
        pytest.skip(f"npm could not install the reference servers: {done.stderr.strip()[-300:]}")
    return folder / "node_modules" / ".bin"


@contextlib.asynccontextmanager
async def everything_over_http(published: Path) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        str(published / "mcp-server-everything"),
        "streamableHttp",
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        await server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def list_call_stop_call(servers: Servers, folder: Path, *, confirmed: bool) -> None:
    tools = await listed(servers)
    echo: Any = tools["mcp__everything__echo"]
    assert (await call(echo, folder, message="hello")).text == "Echo: hello"
    output = await call(tools["mcp__everything__get-tiny-image"], folder)
    assert [image.mime for image in output.images] == ["image/png"]
    long = begin(tools[LONG], folder, duration=600, steps=6000)
    await until(lambda: long.progress.tail(1).startswith("1/6000"))
    long.stop()
    await long.wait_stopped()
    # It takes no notice of a stop, and takes step after step.
    assert long.progress.unconfirmed == ("MCP server everything",)
    assert (await call(echo, folder, message="again")).text == "Echo: again"
    then = long.progress.late
    await until(lambda: long.registry.snapshot()[0].late not in ("", then))
    assert (
        await call(tools["mcp__everything__get-structured-content"], folder, location="Chicago")
    ).text == ('{"temperature":36,"conditions":"Light rain / drizzle","humidity":82}')
    done = await call(tools[LONG], folder, duration=0.1, steps=2)
    assert "completed" in done.text
    assert not done.failed
    assert long.registry.snapshot()
    told = await servers.restart("everything")
    assert told.startswith("The MCP server everything was started again, with ")
    await until(lambda: not long.registry.snapshot())
    assert [end.result().confirmed for end in long.late] == [confirmed]
    assert (await call(echo, folder, message="anew")).text == "Echo: anew"


@pytest.mark.slow
@pytest.mark.promise("X3", "S12")
async def test_everything_is_listed_called_stopped_and_called_again(tmp_path: Path, published: Path) -> None:
    everything = ServerSettings((str(published / "mcp-server-everything"),))
    async with running(tmp_path, everything=everything) as servers:
        await list_call_stop_call(servers, tmp_path, confirmed=True)


@pytest.mark.slow
@pytest.mark.promise("X3", "S12")
async def test_the_same_over_http(tmp_path: Path, published: Path) -> None:
    async with (
        everything_over_http(published) as url,
        running(tmp_path, everything=ServerSettings(url=url)) as servers,
    ):
        await list_call_stop_call(servers, tmp_path, confirmed=False)


async def test_nobody_at_the_address_is_a_clear_state(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"
        async with running(tmp_path, gone=ServerSettings(url=url)) as servers:
            assert await listed(servers) == {}
            (server,) = servers.servers
            assert server.state is ServerState.FAILED
            assert server.error.startswith(f"The MCP server gone cannot be reached at {url}: ")


@pytest.mark.slow
@pytest.mark.promise("X3")
async def test_the_filesystem_server_works_in_the_workspace(tmp_path: Path, published: Path) -> None:
    files = ServerSettings((str(published / "mcp-server-filesystem"), str(tmp_path)))
    async with running(tmp_path, files=files) as servers:
        tools = await listed(servers)
        path = tmp_path / "note.txt"
        await call(tools["mcp__files__write_file"], tmp_path, path=str(path), content="kept")
        assert path.read_text() == "kept"
        read: Any = tools["mcp__files__read_text_file"]
        assert read.concurrent(read.arguments.model_validate({}))
        assert (await call(read, tmp_path, path=str(path))).text == "kept"
        outside = await call(read, tmp_path, path="/etc/hostname")
        assert outside.failed
        assert "denied" in outside.text
