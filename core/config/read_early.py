"""A first look at `config.toml`, for the first frame: which model, which theme, which keys.

It must stay cheap (`tomllib` and nothing else of weight) and never raises: what is broken or of the wrong
type is as if it were not there, for the full load says so a moment later. What it gives is unchecked.

Of a project's own file only what its folder's trust allows is seen, as in the full load.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import field
from typing import TYPE_CHECKING, Any

from core.config_bounds import LARGEST, dotted_line
from core.folders import TRUSTED
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FirstLook:
    """`model` is empty where none is set; `theme` is "auto" then. `keys` are keys by the ids of bindings."""

    model: str = ""
    theme: str = "auto"
    keys: Mapping[str, str] = field(default_factory=dict)


def peek(
    path: Path, environment: Mapping[str, str] = os.environ, *, project: Path | None = None
) -> FirstLook:
    """Look at the `config.toml` at `path`, at the `.caesura.toml` that is `project`, and at the variables
    `CAESURA_MODEL` and `CAESURA_THEME`. Blocks for a moment."""
    own = _table(path)
    look = _seen(own or {}, FirstLook())
    if project is not None:
        theirs = _table(project, links=False) or {}
        # Of a project nothing is trusted while the person's own file cannot be read.
        if own is None or not _is_trusted(path, project):
            theirs = {name: value for name, value in theirs.items() if name == "theme"}
        look = _seen(theirs, look)
    return FirstLook(
        environment.get("CAESURA_MODEL") or look.model,
        environment.get("CAESURA_THEME") or look.theme,
        look.keys,
    )


def _seen(table: Mapping[str, Any], below: FirstLook) -> FirstLook:
    keys = table.get("keys")
    own = {id_: key for id_, key in keys.items() if isinstance(key, str)} if isinstance(keys, dict) else {}
    return FirstLook(
        _text(table.get("model"), below.model),
        _text(table.get("theme"), below.theme),
        {**below.keys, **own},
    )


def _is_trusted(path: Path, project: Path) -> bool:
    folders = (_table(path.with_name(TRUSTED)) or {}).get("folders")
    return isinstance(folders, list) and os.path.realpath(project.parent) in folders


def _text(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) and value else otherwise


def _table(path: Path, *, links: bool = True) -> dict[str, Any] | None:
    """What the file says, nothing where there is none; None if that cannot be read."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG((path.stat() if links else path.lstat()).st_mode):
            return None
        with os.fdopen(os.open(path, flags), "rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8-sig")
        if len(content) > LARGEST or dotted_line(text) is not None:
            return None
        return tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
