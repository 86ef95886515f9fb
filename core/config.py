"""What a person has set, read from `config.toml`, and the rules that Caesura keeps for them beside it.

`config.toml` is the person's: it is read and never written. The answer "always" goes to `permissions.toml`,
which is ours, under the workspace in which it was given: what `make test` runs in one folder says nothing of
another. Neither file is overwritten while it cannot be read. Everything here reads or writes files, so it is
for a thread; pydantic is imported when a file is, not before.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import time
import tomllib
import typing
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from core.access import AccessKind
from core.errors import CaesuraError
from core.permissions import Mode
from core.rules import Rule, Subject, forbids

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = "permissions.toml"
LOCK_WAIT_S = 5.0


class ConfigError(CaesuraError):
    """A file of settings cannot be read or written: which one, where, and what to do."""


class _RuleText:
    """Reads a rule from its text, for pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_parse_rule, core_schema.str_schema())


class _Number:
    """A whole number of at least one, or a positive, finite one, for pydantic: neither text nor true."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        if self._kind is int:
            return core_schema.int_schema(strict=True, ge=1)
        return core_schema.float_schema(strict=True, gt=0, allow_inf_nan=False)


class _Switch:
    """True or false and nothing that could be meant so, for pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.bool_schema(strict=True)


def _parse_rule(text: str) -> Rule:
    from core.rules import RuleError

    try:
        return Rule.parse(text)
    except RuleError as error:
        raise ValueError(str(error)) from None


RuleSetting = Annotated[Rule, _RuleText()]
Count = Annotated[int, _Number(int)]
Seconds = Annotated[float, _Number(float)]
Switch = Annotated[bool, _Switch()]

# What pydantic reads off a dataclass without being imported by it.
_NOTHING_ELSE = {"extra": "forbid"}


class ContainmentChoice(StrEnum):
    """How the processes of a command are held together. AUTO takes the strongest that this machine has."""

    AUTO = "auto"
    NAMESPACE = "namespace"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class PermissionSettings:
    """`[permissions]`: the mode a session begins in, and rules such as `shell(git status *)`."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    mode: Mode = Mode.ASK
    allow: tuple[RuleSetting, ...] = ()
    ask: tuple[RuleSetting, ...] = ()
    deny: tuple[RuleSetting, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainmentRule:
    """`[[tools.containment_rules]]`: commands that need another containment, such as `sudo *`."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    command: str
    containment: ContainmentChoice


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """`[tools]`. `max_steps` bounds the replies of one turn, lest a model that goes round in circles does so
    all night. `deadline` is how long a turn may take, in seconds; None for as long as it takes. `max_budget`
    is what a session may cost, in dollars."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    containment: ContainmentChoice = ContainmentChoice.AUTO
    containment_rules: tuple[ContainmentRule, ...] = ()
    max_steps: Count | None = 200
    deadline: Seconds | None = None
    max_budget: Seconds | None = None

    def containment_of(self, line: str, commands: tuple[tuple[str, ...], ...] | None) -> ContainmentChoice:
        """The containment of a command line: that of the first rule that covers any command in it.

        `commands` are those of `core.tools.shell_syntax.commands`, None where it could not tell.
        """
        subject = Subject("shell", AccessKind.COMMAND, line, Path("/"), commands=commands)
        for rule in self.containment_rules:
            if forbids(Rule("shell", rule.command), subject):
                return rule.containment
        return self.containment


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`[mcp.servers.NAME]`: a server that is started by `command`, or one that answers at `url`.

    `env` is added to the environment of its process. `grace` is how long it may take to end a stopped call,
    in seconds.
    """

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    command: tuple[str, ...] = ()
    url: str = ""
    env: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    grace: Seconds = 2.0

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a command or a url")


@dataclass(frozen=True, slots=True)
class McpSettings:
    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    servers: dict[str, ServerSettings] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """`[jobs]`: requests that Caesura makes for itself. Without `memory` it neither notes facts of a
    workspace nor tells the model those that were noted before."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    memory: Switch = True


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, with the defaults where nothing is said."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    permissions: PermissionSettings = PermissionSettings()
    tools: ToolSettings = ToolSettings()
    mcp: McpSettings = field(default_factory=McpSettings)
    jobs: JobSettings = JobSettings()


@dataclass(frozen=True, slots=True)
class Loaded:
    """`error` is a sentence for the person if a file was not used; `config` then has the defaults."""

    config: Config
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _KeptHere:
    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    allow: tuple[RuleSetting, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What `permissions.toml` holds: the rules of each workspace, by its path."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    workspaces: dict[str, _KeptHere] = field(default_factory=dict)


def config_folder() -> Path:
    """The user's folder of settings. It need not exist."""
    import platformdirs

    return platformdirs.user_config_path("caesura", appauthor=False)


def load_config(path: Path, workspace: Path) -> Loaded:
    """Read `config.toml` at `path` and the rules kept beside it for `workspace`. It never raises.

    Where `config.toml` cannot be used the kept rules are not used either: what it denies is unknown then.
    """
    try:
        config = _read(path, Config)
    except ConfigError as error:
        return Loaded(Config(), f"{error} Until then everything is as if nothing were set.")
    try:
        kept = _read(path.with_name(KEPT), _Kept)
    except ConfigError as error:
        return Loaded(config, f"{error} Until then no kept answers count.")
    here = kept.workspaces.get(_key(workspace), _KeptHere())
    permissions = replace(config.permissions, allow=(*config.permissions.allow, *here.allow))
    return Loaded(replace(config, permissions=permissions))


def add_allow_rule(path: Path, workspace: Path, rule: Rule) -> None:
    """Keep `rule` for good, for `workspace`, beside the `config.toml` at `path`.

    Other Caesuras may do so at the same time. Raises `ConfigError`, and leaves the file as it was, when it
    cannot be read or written.
    """
    # Through links, so that one that leads to a folder of dotfiles stays a link.
    target = Path(os.path.realpath(path.with_name(KEPT)))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target.with_name(f"{KEPT}.lock")):
            kept = _read(target, _Kept)
            here = kept.workspaces.get(_key(workspace), _KeptHere())
            if rule in here.allow:
                return
            kept.workspaces[_key(workspace)] = _KeptHere((*here.allow, rule))
            _write(target, _as_toml(kept))
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the rule {rule} could not be kept in {target}: {error}. It counts for this session only."
        ) from error


def _key(workspace: Path) -> str:
    return os.path.realpath(workspace)


def _as_toml(kept: _Kept) -> bytes:
    import tomli_w

    spaces = {name: {"allow": [str(rule) for rule in here.allow]} for name, here in kept.workspaces.items()}
    text = tomli_w.dumps({"workspaces": spaces}, multiline_strings=False)
    head = "# Answers of `always`, kept by Caesura. Rules of your own go to config.toml.\n\n"
    return (head + text).encode()


def _write(target: Path, content: bytes) -> None:
    """Replace the file at once: whoever reads sees the old or the new one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            if target.exists():
                os.fchmod(handle, target.stat().st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(handle)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it with the process. Raises `TimeoutError`."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TimeoutError(f"{path} is held by another program") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


# -- reading, and saying what is wrong --

SettingsT = TypeVar("SettingsT")


def _read(path: Path, kind: type[SettingsT]) -> SettingsT:
    """The settings in the file, the defaults if there is none. Raises `ConfigError`."""
    try:
        text = path.read_bytes().decode()
        table = tomllib.loads(text)
    except FileNotFoundError:
        return kind()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Mend or remove it.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}). Mend or remove it.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}. Mend or remove it.") from error
    return _validated(path, text, table, kind)


def _validated(path: Path, text: str, table: dict[str, Any], kind: type[SettingsT]) -> SettingsT:
    import pydantic

    try:
        return pydantic.TypeAdapter(kind).validate_python(table)
    except pydantic.ValidationError as error:
        # One slip of the pen is often two faults: a setting that is not known, and one that is missing.
        faults = error.errors(include_url=False, include_context=False)
        first = min(faults, key=lambda fault: fault["type"] == "missing")
        where = tuple(part for part in first["loc"] if part != "[key]")
        line = _line_of(text, where)
        at = f"{path}, line {line}" if line is not None else f"{path}"
        name = ".".join(str(part) for part in where if isinstance(part, str))
        raise ConfigError(f"{at}: {_complaint(kind, name, where, first)} Mend or remove it.") from None


def _complaint(kind: type, name: str, where: tuple[str | int, ...], error: Any) -> str:
    if error["type"] == "unexpected_keyword_argument":
        known = _keys_of(kind, where[:-1])
        nearest = difflib.get_close_matches(str(where[-1]), known, 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}."
        return f"there is no setting {name!r}; {hint}"
    if error["type"] == "missing":
        return f"the setting {name!r} is missing."
    message = _EXPECTED.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "it must be") + "."
    if error["type"] == "enum" and isinstance(error["input"], str):
        nearest = difflib.get_close_matches(error["input"], re.findall(r"'([^']+)'", message), 1)
        message += f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"{name or 'the file'}: {message}"


_EXPECTED = {
    "dataclass_type": "it must be a table",
    "dict_type": "it must be a table",
    "tuple_type": "it must be a list",
    "string_type": "it must be text in quotes",
    "int_type": "it must be a whole number",
    "float_type": "it must be a number",
    "bool_type": "it must be true or false",
}
"""What pydantic calls by Python's names, in TOML's."""


def _keys_of(kind: Any, where: tuple[str | int, ...]) -> list[str]:
    """The settings that there are at a place."""
    for part in where:
        if is_dataclass(kind):
            kind = typing.get_type_hints(kind)[str(part)]
        else:
            inner = [argument for argument in typing.get_args(kind) if is_dataclass(argument)]
            kind = inner[-1]
    return [known.name for known in fields(kind)]


_HEADER = re.compile(r"\s*\[(\[?)([^\]]+)\]")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _line_of(text: str, where: tuple[str | int, ...]) -> int | None:
    """The line, from 1, that comes nearest to a place in the tables; None if nothing does.

    Written for files as people write them: an inline table counts as its first line.
    """
    best, found = 0, None
    table: list[str | int] = []
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            names = tuple(part.strip("\"'") for part in _PART.findall(header[2]))
            table = list(names)
            if header[1]:
                table.append(counts.setdefault(names, 0))
                counts[names] += 1
            here = table
        elif key := _KEY.match(line):
            here = [*table, *(part.strip("\"'") for part in _PART.findall(key[1]))]
        else:
            continue
        common = min(len(here), len(where))
        if common > best and tuple(here[:common]) == where[:common]:
            best, found = common, number
    return found
