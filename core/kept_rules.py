"""The answers "always", which Caesura keeps for the person in `permissions.toml` beside `config.toml`.

A rule counts in the workspace in which it was given: what `make test` runs in one folder says nothing of
another. The file is never overwritten while it cannot be read. All of it blocks, and is for a thread.
"""

from __future__ import annotations

import os
import typing
from dataclasses import field
from typing import TYPE_CHECKING

from core.config_errors import ConfigError
from core.config_files import locked, read_document, write_document
from core.config_validation import validated
from core.config_values import RuleSetting  # noqa: TC001 - pydantic reads it
from core.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from core.rules import Rule

KEPT = "permissions.toml"
_HEAD = "# Answers of `always`, kept by Caesura. Rules of your own go to config.toml.\n\n"


@dataclass(frozen=True, slots=True)
class _KeptHere:
    __pydantic_config__: typing.ClassVar = {"extra": "forbid"}

    allow: tuple[RuleSetting, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the file holds: the rules of each workspace, by its path."""

    __pydantic_config__: typing.ClassVar = {"extra": "forbid"}

    workspaces: dict[str, _KeptHere] = field(default_factory=dict)


def kept_rules(path: Path, workspace: Path) -> tuple[Rule, ...]:
    """The rules kept for `workspace` beside the `config.toml` at `path`. Raises `ConfigError`."""
    kept = validated(_Kept, read_document(path.with_name(KEPT)))
    return kept.workspaces.get(_key(workspace), _KeptHere()).allow


def add_allow_rule(path: Path, workspace: Path, rule: Rule) -> None:
    """Keep `rule` for good, for `workspace`, beside the `config.toml` at `path`.

    Other Caesuras may do so at the same time. Raises `ConfigError`, and leaves the file as it was, when it
    cannot be read or written.
    """
    try:
        with locked(path.with_name(KEPT)) as target:
            document = read_document(target)
            kept = validated(_Kept, document)
            here = kept.workspaces.get(_key(workspace), _KeptHere())
            if rule in here.allow:
                return
            kept.workspaces[_key(workspace)] = _KeptHere((*here.allow, rule))
            write_document(target, _as_toml(kept), document)
    except (ConfigError, UnicodeError) as error:
        raise ConfigError(
            f"The rule {rule} was not kept and counts for this session only. {error}"
        ) from error


def _key(workspace: Path) -> str:
    return os.path.realpath(workspace)


def _as_toml(kept: _Kept) -> bytes:
    import tomli_w

    spaces = {name: {"allow": [str(rule) for rule in here.allow]} for name, here in kept.workspaces.items()}
    return (_HEAD + tomli_w.dumps({"workspaces": spaces}, multiline_strings=False)).encode()
