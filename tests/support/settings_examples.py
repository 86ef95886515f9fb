"""Settings as people have them, for the tests of the config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.config.load import load_config
from core.config.tree import ANY_NAME, Setting, settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from core.config.load import Loaded
    from core.config.tree import Key

FULL = """\
# what a person wrote
model = "fast"
theme = "auto" # follows the terminal
effort = "high"
project_notes = false
favourites = ["careful", "openai/gpt-5.1"]

[providers.team]
protocol = "litellm_proxy"
api_base = "https://llm.example.com"
api_version = "2024-10-21"
key = "TEAM_LLM_KEY"

[models.careful]
model = "team/gpt-5.1"
effort = "high"
temperature = 0.5
top_p = 0.9
max_output = 4096
context_window = 200000

[models."local.one"]
model = "openai/qwen3"
api_base = "http://localhost:8000/v1"
key = "LOCAL_KEY"

[routes.fast]
rotate = ["careful", "steady"]
retries = 2
backoff = 0.5
max_wait = 20
cooldown = 10

[routes.steady]
fallback = [
    "local.one", # first
    "team/other",
]

[retry]
retries = 1
backoff = 2.0
max_wait = 30

[keys]
"pane.toggle_panel" = "f2"

[permissions]
mode = "edits"
allow = ["shell(git status *)", "mcp__docs__*"]
ask = ["web_fetch"]
deny = ["read_file(~/.ssh/**)"]

[tools]
containment = "namespace"
max_steps = 40
deadline = 600
max_budget = 2.5

[[tools.containment_rules]]
command = "sudo *"
containment = "group"

[mcp.servers.docs]
command = ["docs-server", "--quiet"]
env = { TOKEN = "sesame" }
grace = 1.5

[mcp.servers.far]
url = "https://mcp.example.com/"
headers = { Authorization = "sesame" }

[jobs]
memory = false
"""

COMPANIONS: dict[Key, tuple[str, object]] = {
    ("models", ANY_NAME): ("model", "openai/gpt-5.1"),
    ("routes", ANY_NAME): ("model", "openai/gpt-5.1"),
    ("mcp", "servers", ANY_NAME): ("command", ["x"]),
}
"""What a table cannot be without."""
ALONE = {"model", "rotate", "fallback", "command", "url"}
"""Those with which it can be, each by itself."""


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def loaded(
    path: Path, workspace: Path, variables: Mapping[str, str] | None = None, **options: object
) -> Loaded:
    """With no other variables than these; an option's name has `__` for its dots."""
    dotted = {name.replace("__", "."): value for name, value in options.items()}
    return load_config(path, workspace, environment=variables or {}, options=dotted)


def samples() -> list[tuple[Key, Setting, Any]]:
    """Every setting with a value that is not its default."""
    return [(key, setting, _sample(setting)) for key, setting in settings()]


def around(key: Key) -> dict[str, Any]:
    """What has to be there for one setting to be valid, without the setting itself."""
    table: dict[str, Any] = {}
    for length, named in ((len(each), each) for each in COMPANIONS):
        name, value = COMPANIONS[named]
        if key[: length - 1] == named[:-1] and not (len(key) == length + 1 and key[-1] in ALONE):
            inner = table
            for part in key[:length]:
                inner = inner.setdefault(part, {})
            inner[name] = value
    return table


def put(table: dict[str, Any], key: Key, value: object) -> dict[str, Any]:
    """The tables with one more setting."""
    inner = table
    for part in key[:-1]:
        inner = inner.setdefault(part, {})
    inner[key[-1]] = value
    return table


def _sample(setting: Setting) -> Any:
    default = setting.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default / 2
    if isinstance(default, str) and default:
        return setting.kind.choices[-1] if setting.kind.choices else f"{default}-too"
    return setting.doc.example
