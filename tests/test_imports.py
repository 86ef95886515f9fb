"""What the import contracts of pyproject.toml say, seen at run time: deferred imports count as well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def loaded_after(statement: str) -> set[str]:
    """The top-level names in `sys.modules` of a fresh interpreter that has run `statement`."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{statement}\n"
        "import json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


SCREEN = {"textual", "rich"}
LIBRARIES = {"litellm", "openai", "keyring", "httpx", "pydantic", "aiohttp", "mcp"}
TOOLS_NEED = {"pydantic"}
"""What the arguments of tools are read with: there once a turn has begun, and not before the first frame."""


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import caesura", SCREEN | LIBRARIES | {"core", "providers", "tui", "asyncio", "typing"}),
        ("import core.cancel", SCREEN | LIBRARIES | {"providers", "tui"}),
        (
            "import core.session.session, core.frontends.headless",
            SCREEN | LIBRARIES | {"providers", "tui", "sqlite3"},
        ),
        ("import core.tools.toolbox, core.config.settings", SCREEN | LIBRARIES | {"providers", "tui"}),
        (
            "import core.process.supervisor",
            SCREEN | LIBRARIES | {"providers", "tui", "asyncio", "anyio", "logging"},
        ),
        ("import providers.client.model_process, providers.demo.server", SCREEN | LIBRARIES | {"tui"}),
        (
            "import tui.app.app, tui.cli.main",
            LIBRARIES | {"sqlite3", "providers", "pygments", "markdown_it", "tree_sitter"},
        ),
    ],
)
def test_a_part_does_not_load_what_it_must_not_know(statement: str, forbidden: set[str]) -> None:
    assert not loaded_after(statement) & forbidden


def test_headless_never_loads_a_screen_library() -> None:
    statement = "from caesura import main\nassert main(['run', '--demo', 'fast']) == 0"
    assert not loaded_after(statement) & (SCREEN | LIBRARIES - TOOLS_NEED)
