"""Read all settings: defaults, then `config.toml`, the project's `.caesura.toml`, the variables `CAESURA_...`
and the command line. A later place overrides an earlier one.

A place that cannot be used is left out as a whole; an error says where and why, and the program starts. No
file is written here. Until the person trusts its folder, a project's file may only make harmless changes.
All of it reads files, so it is for a thread.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import field
from msgspec.structs import replace

from core.base.folders import find_project_file
from core.base.values import Value
from core.config.errors import ConfigError
from core.config.files import read_document
from core.config.kept_rules import kept_rules
from core.config.layers import BY_DEFAULT, LayerKind, Stack
from core.config.sources import environment_layer, file_layer, option_layer
from core.config.tree import find, parse_key
from core.config.trust import is_trusted, untrusted_subset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from core.config.layers import Layer, Origin
    from core.config.schema import Config
    from core.config.tree import Key
    from core.permissions.rules import Rule

T = TypeVar("T")

LISTED = 8
"""Settings that a sentence names; a hostile file may have thousands."""


class Loaded(Value):
    """The settings in force, with where each came from.

    `errors` are sentences for the person, each about a place that was left out; `notices` are about what
    was used and may not be what they meant. `untrusted` are the keys in the project's file, `project`, that
    do not count because its folder is not trusted. `kept` are the rules of `permissions.toml` for this
    workspace; `config` has them too.
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
        return any(origin.layer is LayerKind.PROJECT for origin in self.origins.values())

    def origin(self, key: str) -> Origin:
        """Where the value of a setting, such as `tools.max_steps`, came from.

        Raises `ConfigError` if there is no such setting.
        """
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
    """One reading of all layers. Collects errors and notices."""

    def __init__(self, path: Path, workspace: Path) -> None:
        self._path = path
        self._workspace = workspace
        self._stack = Stack()
        self._errors: list[str] = []
        self._notices: list[str] = []

    def load(self, environment: Mapping[str, str], options: Mapping[str, object]) -> Loaded:
        is_own_read = self._add(
            lambda: file_layer(LayerKind.USER, read_document(self._path)),
            "Until then it is as if it were empty.",
        )
        project = find_project_file(self._workspace)
        untrusted: tuple[str, ...] = ()
        if project is not None:
            untrusted = self._add_project(project, own=is_own_read)
        self._add(lambda: self._environment_layer(environment), "No CAESURA_ variable counts until then.")
        self._add(lambda: option_layer(options), "No option counts that sets something.")
        config = self._stack.config
        kept: tuple[Rule, ...] = ()
        if is_own_read:
            read = partial(kept_rules, self._path, self._workspace)
            kept = self._attempt(read, "Until then no kept answers count.") or ()
        if kept:
            allow = (*config.permissions.allow, *kept)
            config = replace(config, permissions=replace(config.permissions, allow=allow))
        origins = {key: origin for key, (_, origin) in self._stack.values.items()}
        return Loaded(config, tuple(self._errors), tuple(self._notices), untrusted, project, origins, kept)

    def _add_project(self, project: Path, *, own: bool) -> tuple[str, ...]:
        """Add the project's file as far as it is trusted. Returns the keys that do not count.

        While the person's own file cannot be used, what it denies is unknown, so no other file may allow
        anything either.
        """
        untrusted: tuple[str, ...] = ()

        def layer() -> Layer:
            nonlocal untrusted
            whole = file_layer(LayerKind.PROJECT, read_document(project, links=False))
            trusts = partial(is_trusted, self._path, project.parent)
            if own and self._attempt(trusts, "Until then no folder is trusted."):
                return whole
            harmless, untrusted = untrusted_subset(whole, self._stack.config)
            return harmless

        self._add(layer, "Until then it is as if it were not there.")
        if untrusted:
            self._notices.append(_untrusted_notice(project, untrusted, own=own))
        return untrusted

    def _environment_layer(self, environment: Mapping[str, str]) -> Layer:
        layer, notices = environment_layer(environment, self._stack.values)
        self._notices += notices
        return layer

    def _add(self, read: Callable[[], Layer], meanwhile: str) -> bool:
        """Add a layer; false if that is impossible."""
        stack = self._attempt(lambda: self._stack.with_layer(read()), meanwhile)
        self._stack = stack or self._stack
        return stack is not None

    def _attempt(self, read: Callable[[], T], meanwhile: str) -> T | None:
        """What `read` returns; None, with an error that ends with `meanwhile`, if it fails."""
        try:
            return read()
        except ConfigError as error:
            self._errors.append(f"{error} {meanwhile}")
            return None


def _untrusted_notice(project: Path, untrusted: tuple[str, ...], *, own: bool) -> str:
    more = len(untrusted) - LISTED
    names = ", ".join(untrusted[:LISTED]) + (f" and {more} more" if more > 0 else "")
    advice = (
        "Read it, and if you trust this folder, type /trust, or run `caesura config trust` there."
        if own
        else "It counts again, where its folder is trusted, once your own file can be used."
    )
    return f"{project} sets what only a trusted folder may, and that does not count: {names}. {advice}"
