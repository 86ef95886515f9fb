"""Folders whose `.caesura.toml` the person trusts, and what such a file may do before they do.

They are kept in `trusted.toml` beside `config.toml`.

Trust is for one folder and not for those in it: what somebody has put into `vendor/` is not theirs. It is
given once, for whatever the file says later; the person is the only one who gives it, no file can. The file
is never overwritten while it cannot be read. All of it blocks, and is for a thread.

Not solved: a folder is known by its path alone, so another one that is put in its place is trusted as well.
"""

from __future__ import annotations

import os
import typing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from core.config_errors import ConfigError
from core.config_files import locked, read_document, write_document
from core.config_layers import value_at
from core.config_schema import ProjectMay
from core.config_tree import Named, Setting, find, shown
from core.config_validation import validated
from core.folders import PROJECT_FILE, TRUSTED
from core.values import dataclass

if TYPE_CHECKING:
    from core.config_layers import Layer, Values
    from core.config_schema import Config
    from core.config_tree import Key

_HEAD = "# Folders whose .caesura.toml is trusted, kept by `caesura config trust`.\n\n"


@dataclass(frozen=True, slots=True)
class _Trusted:
    __pydantic_config__: typing.ClassVar = {"extra": "forbid"}

    folders: tuple[str, ...] = ()


def is_trusted(path: Path, folder: Path) -> bool:
    """Whether `folder` is trusted. `path` is that of `config.toml`. Raises `ConfigError`."""
    return os.path.realpath(folder) in validated(_Trusted, read_document(path.with_name(TRUSTED))).folders


def trust(path: Path, folder: Path) -> bool:
    """Trust `folder` from now on; false if it was trusted before. Raises `ConfigError`."""
    return _change(path, folder, wanted=True)


def distrust(path: Path, folder: Path) -> bool:
    """No longer trust `folder`; false if it was not. Raises `ConfigError`."""
    return _change(path, folder, wanted=False)


def harmless(layer: Layer, config: Config) -> tuple[Layer, tuple[str, ...]]:
    """What of a project's file counts before its folder is trusted, and the keys of all the rest.

    `config` is what holds without it: a bound may be made narrower and no wider.
    """
    counts: Values = {}
    rest: dict[str, None] = {}
    for key, (value, origin) in layer.values.items():
        node = find(key)
        if isinstance(node, Setting) and _may(node.project_may, value, value_at(config, key)):
            counts[key] = (value, origin)
        else:
            rest[shown(_to_name(key))] = None
    return replace(layer, values=counts), tuple(rest)


def _change(path: Path, folder: Path, *, wanted: bool) -> bool:
    real = os.path.realpath(folder)
    if wanted and not Path(real).is_dir():
        raise ConfigError(f"{folder} is no folder: trust the one in which the {PROJECT_FILE} is.")
    with locked(path.with_name(TRUSTED)) as target:
        document = read_document(target)
        folders = validated(_Trusted, document).folders
        if (real in folders) == wanted:
            return False
        others = [each for each in folders if each != real]
        try:
            content = _as_toml([*others, real] if wanted else others)
        except UnicodeError as error:
            raise ConfigError("The path of this folder is not UTF-8 text: it cannot be kept.") from error
        write_document(target, content, document)
    return True


def _as_toml(folders: list[str]) -> bytes:
    import tomli_w

    return (_HEAD + tomli_w.dumps({"folders": sorted(folders)}, multiline_strings=False)).encode()


def _may(may: ProjectMay | None, value: object, own: Any) -> bool:
    match may:
        case None:
            return False
        case ProjectMay.SET:
            return True
        case ProjectMay.SWITCH_OFF:
            return value is False
        case ProjectMay.LOWER:
            return isinstance(value, int | float) and value is not True and (own is None or value < own)
        case _:
            assert_never(may)


def _to_name(key: Key) -> Key:
    """As far as the first name that a person gives."""
    for length in range(1, len(key)):
        if isinstance(find(key[:length]), Named):
            return key[: length + 1]
    return key
