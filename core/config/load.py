"""What a person has set: the one face of all settings towards the rest of Caesura.

Defaults, then `config.toml`, then the project's `.caesura.toml`, then the variables `CAESURA_...`, then the
command line: each goes before those above it. A place that cannot be used is left out whole, with a sentence
that says where and why, and the program starts nevertheless. No file is written here. A project's file does
nothing but what is harmless until the person trusts its folder. Everything here reads files, so it is for a
thread; pydantic is imported when a file is read, not before.
"""

from __future__ import annotations

import os
from dataclasses import field, replace
from typing import TYPE_CHECKING

from core.config_errors import ConfigError
from core.config_schema import Config, ContainmentChoice
from core.folders import PROJECT_FILE, config_folder, config_path, find_project_file
from core.kept_rules import KEPT, add_allow_rule
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from core.config_layers import Origin, Stack
    from core.config_tree import Key
    from core.rules import Rule

__all__ = [
    "KEPT",
    "PROJECT_FILE",
    "Config",
    "ConfigError",
    "ContainmentChoice",
    "Loaded",
    "add_allow_rule",
    "config_folder",
    "config_path",
    "find_project_file",
    "load_config",
]

_LISTED = 8
"""Settings that a notice names; a hostile file may have thousands."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """All settings that hold, and what is to be said of them.

    `errors` are sentences for the person, each about a place that was left out; `notices` are about what
    was used and may not be what they meant. `untrusted` are the keys in the project's file, `project`, that
    do not count because its folder is not trusted. `kept` are the rules of `permissions.toml` for this
    workspace, which `config` has as well.
    """

    config: Config
    errors: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    untrusted: tuple[str, ...] = ()
    project: Path | None = None
    origins: Mapping[Key, Origin] = field(default_factory=dict)
    kept: tuple[Rule, ...] = ()

    @property
    def error(self) -> str | None:
        """All errors as one text."""
        return " ".join(self.errors) or None

    @property
    def project_counts(self) -> bool:
        """Whether anything of the project's file is in force."""
        from core.config_layers import LayerKind

        return any(origin.layer is LayerKind.PROJECT for origin in self.origins.values())

    def origin(self, key: str) -> Origin:
        """Where the value of a setting, such as `tools.max_steps`, came from. Raises `ConfigError` for a key
        that there is not."""
        from core.config_layers import BY_DEFAULT
        from core.config_tree import find, parse_key

        wanted = parse_key(key)
        find(wanted)
        below = (origin for each, origin in self.origins.items() if each[: len(wanted)] == wanted)
        return self.origins.get(wanted) or next(below, BY_DEFAULT)


def load_config(
    path: Path,
    workspace: Path,
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Loaded:
    """Read all layers, and the rules kept for `workspace`. It never raises.

    `path` is that of `config.toml`; what Caesura keeps lies beside it. `environment` is the process's own
    unless another one is given. `options` are values by dotted keys, as in `{"tools.max_steps": 5}`; those
    that are None were not given.
    """
    return _Loading(path, workspace).load(os.environ if environment is None else environment, options or {})


class _Loading:
    """One reading of all layers, with what is said on the way."""

    def __init__(self, path: Path, workspace: Path) -> None:
        from core.config_layers import Stack

        self._path = path
        self._workspace = workspace
        self._stack = Stack()
        self._errors: list[str] = []
        self._notices: list[str] = []

    def load(self, environment: Mapping[str, str], options: Mapping[str, object]) -> Loaded:
        is_own_read = self._attempt(self._add_own, "Until then it is as if it were empty.")
        project = find_project_file(self._workspace)
        untrusted: tuple[str, ...] = ()
        if project is not None:
            untrusted = self._add_project(project, own=is_own_read)
        self._attempt(lambda: self._add_environment(environment), "No CAESURA_ variable counts until then.")
        self._attempt(lambda: self._add_options(options), "No option counts that sets something.")
        config = self._stack.config
        kept = self._kept_rules() if is_own_read else ()
        if kept:
            allow = (*config.permissions.allow, *kept)
            config = replace(config, permissions=replace(config.permissions, allow=allow))
        origins = {key: origin for key, (_, origin) in self._stack.values.items()}
        return Loaded(config, tuple(self._errors), tuple(self._notices), untrusted, project, origins, kept)

    def _add_own(self) -> Stack:
        from core.config_files import read_document
        from core.config_layers import LayerKind
        from core.config_sources import file_layer

        return self._stack.laid(file_layer(LayerKind.USER, read_document(self._path)))

    def _add_project(self, project: Path, *, own: bool) -> tuple[str, ...]:
        """Lay it over the rest as far as it is trusted; the keys that do not count.

        While the person's own file cannot be used nobody knows what it denies, so no other file allows
        anything either.
        """
        from core.config_files import read_document
        from core.config_layers import LayerKind
        from core.config_sources import file_layer
        from core.trust import harmless

        untrusted: tuple[str, ...] = ()

        def add() -> Stack:
            nonlocal untrusted
            layer = file_layer(LayerKind.PROJECT, read_document(project, links=False))
            if not (own and self._is_trusted(project)):
                layer, untrusted = harmless(layer, self._stack.config)
            return self._stack.laid(layer)

        self._attempt(add, "Until then it is as if it were not there.")
        if untrusted:
            self._notices.append(_untrusted_notice(project, untrusted, own=own))
        return untrusted

    def _is_trusted(self, project: Path) -> bool:
        from core.trust import is_trusted

        try:
            return is_trusted(self._path, project.parent)
        except ConfigError as error:
            self._errors.append(f"{error} Until then no folder is trusted.")
            return False

    def _add_environment(self, environment: Mapping[str, str]) -> Stack:
        from core.config_sources import environment_layer

        layer, notices = environment_layer(environment, self._stack.values)
        self._notices += notices
        return self._stack.laid(layer)

    def _add_options(self, options: Mapping[str, object]) -> Stack:
        from core.config_sources import option_layer

        return self._stack.laid(option_layer(options))

    def _kept_rules(self) -> tuple[Rule, ...]:
        from core.kept_rules import kept_rules

        try:
            return kept_rules(self._path, self._workspace)
        except ConfigError as error:
            self._errors.append(f"{error} Until then no kept answers count.")
            return ()

    def _attempt(self, add: Callable[[], Stack], meanwhile: str) -> bool:
        """Add a layer; false, with an error that ends with `meanwhile`, if that is impossible."""
        try:
            self._stack = add()
        except ConfigError as error:
            self._errors.append(f"{error} {meanwhile}")
            return False
        return True


def _untrusted_notice(project: Path, untrusted: tuple[str, ...], *, own: bool) -> str:
    more = len(untrusted) - _LISTED
    names = ", ".join(untrusted[:_LISTED]) + (f" and {more} more" if more > 0 else "")
    advice = (
        "Read it, and if you trust this folder, type /trust, or run `caesura config trust` there."
        if own
        else "It counts again, where its folder is trusted, once your own file can be used."
    )
    return f"{project} sets what only a trusted folder may, and that does not count: {names}. {advice}"
