"""`caesura config`: show, explain and change the settings without a screen.

It needs no model and no key, and must import no screen library. Results go to standard output, messages to
standard error. No control sequence of a file reaches the terminal. It asks no question and waits for nothing
but the editor that `edit` starts.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.base.errors import CaesuraError, what_to_do
from core.base.file_locks import make_private_folder
from core.base.folders import find_project_file
from core.base.output import OutputMissing, check_output, write_messages, write_output
from core.base.sanitize import printable
from core.base.values import Value
from core.config.edit import Edited, set_value, unset_value
from core.config.errors import ConfigError
from core.config.layers import BY_DEFAULT, LayerKind, value_at
from core.config.load import load_config
from core.config.manual import is_secret, manual, plain, value_lines, value_text
from core.config.sources import read_value
from core.config.tree import NoSuchSetting, Setting, dotted, find, parse_key
from core.config.trust import distrust, trust
from core.frontends.headless import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from core.config.load import Loaded
    from core.config.schema import Config


class Show(Value):
    """Print all values in force, with their origins."""


class Manual(Value):
    """Print every setting with its meaning."""


class Get(Value):
    """Print a value."""

    key: str


class Set(Value):
    """Change a value of the person's file. `value` is TOML, or text without quotation marks."""

    key: str
    value: str


class Unset(Value):
    """Remove a value from the person's file."""

    key: str


class ShowPath(Value):
    """Print the path of the person's file."""


class Edit(Value):
    """Open the person's file in their editor."""


class Check(Value):
    """Check all layers."""


class Trust(Value):
    """Trust the folder of the project's file, or the current one; with `remove`, no longer."""

    remove: bool = False


ConfigCommand: TypeAlias = Show | Manual | Get | Set | Unset | ShowPath | Edit | Check | Trust


def run_config(
    command: ConfigCommand,
    path: Path,
    workspace: Path,
    check: Callable[[Config], object] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Run `command` and return its exit code. Blocks.

    `path` is that of `config.toml`, `workspace` the current folder. `check` checks what only the screen knows
    of the settings, such as the names of keys, and raises `CaesuraError`.
    """
    try:
        check_output()
        return _Runner(path, workspace, check, environment).run(command)
    except OutputMissing as error:
        write_messages(str(error))
        return ExitCode.USAGE
    except NoSuchSetting as error:
        text = str(error)
        write_messages(f"{text[0].upper()}{text[1:]} `caesura config manual` lists all.")
        return ExitCode.USAGE
    except CaesuraError as error:
        write_messages(str(error))
        return ExitCode.FAILED
    except BrokenPipeError:
        return ExitCode.OUTPUT_CLOSED


@dataclass(eq=False)
class _Runner:
    """Runs one command."""

    path: Path
    workspace: Path
    check: Callable[[Config], object]
    environment: Mapping[str, str]

    def run(self, command: ConfigCommand) -> ExitCode:
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
                edited = unset_value(self.path, parse_key(key), self.check)
                return self._print_changed(edited, key)
            case ShowPath():
                return _print([str(self.path)])
            case Edit():
                return self._edit()
            case Check():
                return self._check_all()
            case Trust(remove):
                return self._trust(remove=remove)
            case _:
                assert_never(command)

    def _load(self) -> Loaded:
        return load_config(self.path, self.workspace, environment=self.environment)

    def _show(self) -> ExitCode:
        loaded = self._load()
        write_messages(*loaded.errors, *loaded.notices)
        return _print(value_lines(loaded))

    def _get(self, name: str) -> ExitCode:
        key = parse_key(name)
        find(key)
        loaded = self._load()
        write_messages(*loaded.errors)
        value = value_at(loaded.config, key)
        if value is None:
            raise ConfigError(f"{dotted(key)} is not set.")
        simple = plain(value)
        if isinstance(simple, dict):
            return _print(f"{dotted((part,))} = {value_text(each)}" for part, each in simple.items())
        return _print([simple if isinstance(simple, str) else value_text(simple)])

    def _set(self, name: str, text: str) -> ExitCode:
        key = parse_key(name)
        return self._print_changed(set_value(self.path, key, read_value(key, text), self.check), name)

    def _print_changed(self, edited: Edited, name: str) -> ExitCode:
        """Print the value in force, which another layer may decide."""
        if edited.backup is not None:
            write_messages(f"The comments that could not be kept in {edited.path} are in {edited.backup}.")
        key = parse_key(name)
        loaded = self._load()
        write_messages(*loaded.errors)
        origin = loaded.origins.get(key, BY_DEFAULT)
        if origin.layer not in (LayerKind.USER, LayerKind.DEFAULT):
            write_messages(
                f"{edited.path} was changed, but {origin} sets {dotted(key)} too, and goes before it."
            )
        node = find(key)
        if not isinstance(node, Setting):
            return ExitCode.COMPLETED
        value = value_at(loaded.config, key)
        if value is None:
            return _print([f"{dotted(key)} is not set"])
        return _print(
            [f"{dotted(key)} = {'...' if is_secret(node, value) else value_text(value)}  # {origin}"]
        )

    def _edit(self) -> ExitCode:
        editor = self.environment.get("VISUAL") or self.environment.get("EDITOR")
        if not editor:
            raise ConfigError(
                f"No editor is named: set EDITOR, as in EDITOR=nano, or open {self.path} yourself."
            )
        try:
            make_private_folder(self.path.parent)
        except OSError as error:
            raise ConfigError(
                f"{self.path.parent} could not be made: {error.strerror}. {what_to_do(error)}"
            ) from error
        try:
            done = subprocess.run([*shlex.split(editor), str(self.path)], check=False)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"The editor {editor!r} could not be started: {why}. Set EDITOR to one that there is, "
                f"or open {self.path} yourself."
            ) from error
        if done.returncode:
            write_messages(f"The editor ended with {done.returncode}.")
        return self._check_all()

    def _check_all(self) -> ExitCode:
        loaded = self._load()
        errors = list(loaded.errors)
        try:
            self.check(loaded.config)
        except CaesuraError as error:
            errors.append(str(error))
        write_messages(*errors, *loaded.notices)
        if errors:
            return ExitCode.FAILED
        return _print(["All settings can be used."])

    def _trust(self, *, remove: bool) -> ExitCode:
        project = find_project_file(self.workspace)
        folder = self.workspace if project is None else project.parent
        if remove:
            changed = distrust(self.path, folder)
            return _print([f"{folder} is {'no longer' if changed else 'not'} trusted."])
        counts = self._load().untrusted
        changed = trust(self.path, folder)
        lines = [f"{folder} is trusted {'from now on' if changed else 'already'}."]
        if project is None:
            lines.append("There is no .caesura.toml yet; one that comes will count.")
        elif counts:
            lines.append(f"What counts now: {', '.join(counts)}.")
        return _print(lines)


def _print(lines: Iterable[str]) -> ExitCode:
    text = "".join(f"{printable(line)}\n" for line in lines)
    write_output(text, sys.stdout.encoding or "utf-8")
    return ExitCode.COMPLETED
