"""The front end without a screen for settings: `caesura config` and what stands behind it.

It needs no model and no key, and must import no screen library. What was asked for goes to standard output,
all else to standard error. Nothing that a stranger's file says reaches a terminal as a control sequence. It
asks nothing and waits for nobody, except for the editor that `edit` starts.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.config import ConfigError, find_project_file, load_config
from core.config_edit import Edited, set_value, unset_value
from core.config_errors import what_to_do
from core.config_layers import BY_DEFAULT, LayerKind, value_at
from core.config_manual import manual, plain, value_lines, value_text
from core.config_sources import read_value
from core.config_tree import NoSuchSetting, Setting, dotted, find, parse_key
from core.errors import CaesuraError
from core.file_locks import make_private_folder
from core.frontends.headless import ExitCode
from core.sanitize import printable
from core.trust import distrust, trust
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from core.config import Loaded
    from core.config_schema import Config


@dataclass(frozen=True, slots=True)
class Show:
    """All values that hold, with where they come from."""


@dataclass(frozen=True, slots=True)
class Manual:
    """Every setting that there is."""


@dataclass(frozen=True, slots=True)
class Get:
    key: str


@dataclass(frozen=True, slots=True)
class Set:
    """`value` is TOML, or text as it is."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Unset:
    key: str


@dataclass(frozen=True, slots=True)
class ShowPath:
    """Where the person's file is, or would be."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The person's file in their editor."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether all layers can be used."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The folder of the project's file, or the current one; with `remove`, no longer."""

    remove: bool = False


ConfigCommand: TypeAlias = Show | Manual | Get | Set | Unset | ShowPath | Edit | Check | Trust


def run_config(
    command: ConfigCommand,
    path: Path,
    workspace: Path,
    check: Callable[[Config], object] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Do what `command` says; the exit code. Blocking.

    `path` is that of `config.toml`, `workspace` the current folder. `check` looks at what only others know of
    the settings, such as the names of keys, and raises `CaesuraError`.
    """
    if sys.stdout is None:
        _say("Standard output is closed: send it to a file, a pipe or a terminal.")
        return ExitCode.USAGE
    try:
        code = _Doing(path, workspace, check, environment).do(command)
        sys.stdout.flush()
        return code
    except NoSuchSetting as error:
        text = str(error)
        _say(f"{text[0].upper()}{text[1:]} `caesura config manual` lists all.")
        return ExitCode.USAGE
    except CaesuraError as error:
        _say(str(error))
        return ExitCode.FAILED
    except BrokenPipeError:
        # Else the interpreter complains when it flushes at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OUTPUT_CLOSED
    except OSError as error:
        _say(f"Standard output takes nothing more ({error.strerror}): send it somewhere else.")
        return ExitCode.FAILED


class _Doing:
    """One command, and what it is done with."""

    def __init__(
        self, path: Path, workspace: Path, check: Callable[[Config], object], environment: Mapping[str, str]
    ) -> None:
        self._path = path
        self._workspace = workspace
        self._check = check
        self._environment = environment

    def do(self, command: ConfigCommand) -> ExitCode:
        match command:
            case Show():
                return self._show()
            case Manual():
                return _print(manual())
            case Get(key):
                return self._get(key)
            case Set(key, value):
                return self._set(key, value)
            case Unset(key):
                edited = unset_value(self._path, parse_key(key), self._check)
                return self._tell(edited, key)
            case ShowPath():
                return _print([str(self._path)])
            case Edit():
                return self._edit()
            case Check():
                return self._check_all()
            case Trust(remove):
                return self._trust(remove=remove)
            case _:
                assert_never(command)

    def _load(self) -> Loaded:
        return load_config(self._path, self._workspace, environment=self._environment)

    def _show(self) -> ExitCode:
        loaded = self._load()
        _say(*loaded.errors, *loaded.notices)
        return _print(value_lines(loaded))

    def _get(self, name: str) -> ExitCode:
        key = parse_key(name)
        find(key)
        loaded = self._load()
        _say(*loaded.errors)
        value = value_at(loaded.config, key)
        if value is None:
            raise ConfigError(f"{dotted(key)} is not set.")
        simple = plain(value)
        if isinstance(simple, dict):
            return _print(f"{dotted((part,))} = {value_text(each)}" for part, each in simple.items())
        return _print([simple if isinstance(simple, str) else value_text(simple)])

    def _set(self, name: str, text: str) -> ExitCode:
        key = parse_key(name)
        return self._tell(set_value(self._path, key, read_value(key, text), self._check), name)

    def _tell(self, edited: Edited, name: str) -> ExitCode:
        """What holds now, which another layer may decide."""
        if edited.backup is not None:
            _say(f"The comments that could not be kept in {edited.path} are in {edited.backup}.")
        key = parse_key(name)
        loaded = self._load()
        _say(*loaded.errors)
        origin = loaded.origins.get(key, BY_DEFAULT)
        if origin.layer not in (LayerKind.USER, LayerKind.DEFAULT):
            _say(f"{edited.path} was changed, but {origin} sets {dotted(key)} too, and goes before it.")
        node = find(key)
        if not isinstance(node, Setting):
            return ExitCode.COMPLETED
        value = value_at(loaded.config, key)
        if value is None:
            return _print([f"{dotted(key)} is not set"])
        return _print([f"{dotted(key)} = {'...' if node.secret else value_text(value)}  # {origin}"])

    def _edit(self) -> ExitCode:
        editor = self._environment.get("VISUAL") or self._environment.get("EDITOR")
        if not editor:
            raise ConfigError(
                f"No editor is named: set EDITOR, as in EDITOR=nano, or open {self._path} yourself."
            )
        try:
            make_private_folder(self._path.parent)
        except OSError as error:
            raise ConfigError(
                f"{self._path.parent} could not be made: {error.strerror}. {what_to_do(error)}"
            ) from error
        try:
            done = subprocess.run([*shlex.split(editor), str(self._path)], check=False)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"The editor {editor!r} could not be started: {why}. Set EDITOR to one that there is, "
                f"or open {self._path} yourself."
            ) from error
        if done.returncode:
            _say(f"The editor ended with {done.returncode}.")
        return self._check_all()

    def _check_all(self) -> ExitCode:
        loaded = self._load()
        errors = list(loaded.errors)
        try:
            self._check(loaded.config)
        except CaesuraError as error:
            errors.append(str(error))
        _say(*errors, *loaded.notices)
        if errors:
            return ExitCode.FAILED
        return _print(["All settings can be used."])

    def _trust(self, *, remove: bool) -> ExitCode:
        project = find_project_file(self._workspace)
        folder = self._workspace if project is None else project.parent
        if remove:
            changed = distrust(self._path, folder)
            return _print([f"{folder} is {'no longer' if changed else 'not'} trusted."])
        counts = self._load().untrusted
        changed = trust(self._path, folder)
        lines = [f"{folder} is trusted {'from now on' if changed else 'already'}."]
        if project is None:
            lines.append("There is no .caesura.toml yet; one that comes will count.")
        elif counts:
            lines.append(f"What counts now: {', '.join(counts)}.")
        return _print(lines)


def _print(lines: Iterable[str]) -> ExitCode:
    for line in lines:
        print(printable(line))
    return ExitCode.COMPLETED


def _say(*sentences: str) -> None:
    # Where nobody listens, the exit code still tells.
    with contextlib.suppress(OSError):
        for sentence in sentences:
            print(f"caesura: {printable(sentence)}", file=sys.stderr, flush=True)
