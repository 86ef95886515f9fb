"""A project's own settings in the real program: nothing before its folder is trusted, all of them then."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.script import Script, Silence
from tests.support.program import API_KEY, PROGRAM, environment
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TEXT = ("It answers.",)


def caesura(home: Path, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """In the project's folder."""
    env = os.environ | environment(home, **changes)
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=home / "work",
        env={name: value for name, value in env.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=GENEROUS_S,
    )


def test_the_model_of_a_project_answers_from_the_first_prompt_on_once_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with (
        ThreadedServer(OpenAIServer(Script(text=TEXT))) as theirs,
        ThreadedServer(OpenAIServer(Script(text=TEXT))) as mine,
    ):
        project = tmp_path / "work" / ".caesura.toml"
        touched = tmp_path / "touched"
        project.write_text(
            'model = "team/theirs"\n[providers.team]\n'
            f'api_base = "{theirs.url}"\n'
            f'[mcp.servers.bad]\ncommand = ["touch", "{touched}"]\n'
        )
        before = caesura(tmp_path, "run", "hello", OPENAI_BASE_URL=mine.url)
        assert before.stdout.strip() == TEXT[0]
        assert before.stderr.count("caesura config trust") == 1
        for key in ("model", "providers.team", "mcp.servers.bad"):
            assert key in before.stderr
        assert (len(mine.exchanges), len(theirs.exchanges)) == (1, 0)
        assert not touched.exists()

        assert caesura(tmp_path, "config", "trust").returncode == 0
        # The reply takes until the server of the project's file has been started.
        theirs.script = Script(text=TEXT, fault=Silence())
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(caesura, tmp_path, "run", "hello", OPENAI_BASE_URL=mine.url)
            exchange = theirs.wait_request()
            wait_until(touched.exists, what="the server of the project is started")
            theirs.release(exchange)
            after = running.result()
        theirs.script = Script(text=TEXT)
        assert after.stdout.strip() == TEXT[0]
        assert "trust" not in after.stderr
        [exchange] = theirs.exchanges
        assert exchange.request.model == "theirs"
        # The person's usual key is not for a server that a file names.
        assert API_KEY not in str(exchange.request)

        # A project's model goes before the person's own, and the command line before both.
        config = tmp_path / "config" / "caesura" / "config.toml"
        config.write_text('model = "openai/own"\n')
        assert caesura(tmp_path, "run", "hello", OPENAI_BASE_URL=mine.url).stdout.strip() == TEXT[0]
        assert (len(mine.exchanges), len(theirs.exchanges)) == (1, 2)
        named = caesura(tmp_path, "run", "--model", "openai/named", "hello", OPENAI_BASE_URL=mine.url)
        assert named.stdout.strip() == TEXT[0]
        assert mine.exchanges[-1].request.model == "named"
