"""Folders whose `.caesura.toml` the person trusts, and what such a file may do before that.

The folders are kept in `trusted.toml` beside `config.toml`. Trust is for one folder and not for those in it:
`vendor/` may hold other people's files. It also covers later versions of the file. Only the person can give
it, not a file. All of it blocks, and is for a thread.

Not solved: a folder is known by its path alone, so another one that is put in its place is trusted as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from msgspec.structs import replace

from core.base.folders import PROJECT_FILE, TRUSTED
from core.base.setting import ProjectMay
from core.base.values import Value
from core.config.errors import ConfigError
from core.config.layers import value_at
from core.config.own_file import OwnFile
from core.config.tree import Named, Setting, find, shown

if TYPE_CHECKING:
    from core.config.layers import Layer, Values
    from core.config.schema import Config
    from core.config.tree import Key


class _Trusted(Value):
    folders: tuple[str, ...] = ()


_FILE = OwnFile(TRUSTED, _Trusted, "Folders whose .caesura.toml is trusted, kept by `caesura config trust`.")


def is_trusted(path: Path, folder: Path) -> bool:
    """Whether `folder` is trusted. `path` is that of `config.toml`. Raises `ConfigError`."""
    return os.path.realpath(folder) in _FILE.read(path).folders


def trust(path: Path, folder: Path) -> bool:
    """Trust `folder` from now on; false if it was trusted before. Raises `ConfigError`."""
    return _change(path, folder, wanted=True)


def distrust(path: Path, folder: Path) -> bool:
    """No longer trust `folder`; false if it was not. Raises `ConfigError`."""
    return _change(path, folder, wanted=False)


def untrusted_subset(layer: Layer, config: Config) -> tuple[Layer, tuple[str, ...]]:
    """The part of a project's file that counts before its folder is trusted, and the keys of the rest.

    `config` has the settings without the file: a bound may be lowered, not raised.
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

    def apply(trusted: _Trusted) -> dict[str, Any] | None:
        if (real in trusted.folders) == wanted:
            return None
        others = [each for each in trusted.folders if each != real]
        return {"folders": sorted([*others, real] if wanted else others)}

    try:
        return _FILE.change(path, apply)
    except UnicodeError as error:
        raise ConfigError("The path of this folder is not UTF-8 text: it cannot be kept.") from error


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
    """The key up to the first name that a person gives."""
    for length in range(1, len(key)):
        if isinstance(find(key[:length]), Named):
            return key[: length + 1]
    return key
