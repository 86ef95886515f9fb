"""The answers "always", which Caesura keeps for the person in `permissions.toml` beside `config.toml`.

A rule counts in the workspace in which it was given, because `make test` may run something else in another
folder. All of it blocks, and is for a thread.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from msgspec import field

from core.base.values import Value
from core.config.errors import ConfigError
from core.config.own_file import OwnFile
from core.config.schema import RuleSetting  # noqa: TC001 - read at run time

if TYPE_CHECKING:
    from pathlib import Path

    from core.permissions.rules import Rule

KEPT = "permissions.toml"


class _WorkspaceRules(Value):
    allow: tuple[RuleSetting, ...] = ()


class _KeptRules(Value):
    """The rules of each workspace, by its path."""

    workspaces: dict[str, _WorkspaceRules] = field(default_factory=dict)

    def of(self, workspace: Path) -> tuple[Rule, ...]:
        return self.workspaces.get(os.path.realpath(workspace), _WorkspaceRules()).allow


_FILE = OwnFile(
    KEPT, _KeptRules, "Answers of `always`, kept by Caesura. Rules of your own go to config.toml."
)


def kept_rules(path: Path, workspace: Path) -> tuple[Rule, ...]:
    """The rules kept for `workspace` beside the `config.toml` at `path`. Raises `ConfigError`."""
    return _FILE.read(path).of(workspace)


def add_allow_rule(path: Path, workspace: Path, rule: Rule) -> None:
    """Keep `rule` for good, for `workspace`, beside the `config.toml` at `path`.

    Raises `ConfigError`, and leaves the file as it was, when it cannot be read or written.
    """

    def add(kept: _KeptRules) -> dict[str, Any] | None:
        rules = kept.of(workspace)
        if rule in rules:
            return None
        spaces = {name: each.allow for name, each in kept.workspaces.items()}
        spaces[os.path.realpath(workspace)] = (*rules, rule)
        return {"workspaces": {name: {"allow": [str(each) for each in own]} for name, own in spaces.items()}}

    try:
        _FILE.change(path, add)
    except (ConfigError, UnicodeError) as error:
        raise ConfigError(
            f"The rule {rule} was not kept and counts for this session only. {error}"
        ) from error
