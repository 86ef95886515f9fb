"""Files that an earlier version wrote open unchanged.

The files in `golden` were written by the version of 2026-11-21 (commit 3fe23c2): a file of settings by a
person, then `set` and `unset`; the trust of two folders; kept answers. `shown.txt` is what that version
listed for them. Folders are written as `@settings@` and `@project@`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.base.folders import TRUSTED, config_path
from core.config.kept_rules import KEPT, add_allow_rule, kept_rules
from core.config.load import load_config
from core.config.manual import value_lines
from core.config.trust import distrust, is_trusted, trust
from core.permissions.rules import Rule

GOLDEN = Path(__file__).parent / "golden"
VARIABLES = {"CAESURA_TOOLS_DEADLINE": "90", "CAESURA_MODELS_LOCAL_ONE_TOP_P": "0.5"}


@pytest.fixture
def path(own_home: Path, tmp_path: Path) -> Path:
    """The person's `config.toml`, with all other files in their places."""
    path, project = config_path(), tmp_path / "project"
    for name, file in {
        "config.toml": path,
        "trusted.toml": path.with_name(TRUSTED),
        "permissions.toml": path.with_name(KEPT),
        "project.toml": project / ".caesura.toml",
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((GOLDEN / name).read_text().replace("@project@", str(project)))
    return path


def test_settings_of_an_earlier_version_say_the_same(path: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    found = load_config(path, project, environment=VARIABLES, options={"permissions.mode": "plan"})
    assert found.errors == found.notices == ()
    shown = "".join(f"{line}\n" for line in value_lines(found))
    shown = shown.replace(str(path.parent), "@settings@").replace(str(project), "@project@")
    assert shown == (GOLDEN / "shown.txt").read_text()


def test_trust_and_kept_rules_of_an_earlier_version_hold_and_can_be_changed(
    path: Path, tmp_path: Path
) -> None:
    project, kept, trusted = tmp_path / "project", path.with_name(KEPT), path.with_name(TRUSTED)
    before = (kept.read_bytes(), trusted.read_bytes())
    rules = kept_rules(path, project)
    assert [str(rule) for rule in rules] == [
        "shell(make test)",
        "edit_file(src/**)",
        "web_fetch(*)",
        'shell(echo "a\tb\\c" (x))',
        "mcp__docs__*(*)",
    ]
    assert is_trusted(path, project)
    assert not is_trusted(path, project / "inner")
    assert not trust(path, project)
    add_allow_rule(path, project, rules[0])
    assert (kept.read_bytes(), trusted.read_bytes()) == before
    add_allow_rule(path, project, Rule("shell", "pwd"))
    assert kept_rules(path, project) == (*rules, Rule("shell", "pwd"))
    assert distrust(path, project)
    assert trust(path, project)
    assert trusted.read_bytes() == before[1]
