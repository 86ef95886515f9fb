"""A first look at `config.toml`, for the first frame: which model, which theme, which keys.

It must stay cheap (`tomllib` and nothing else of weight) and never raises: what is broken or of the wrong
type is as if it were not there, for the full load says so a moment later. What it gives is unchecked.

Not solved: a project's own file is not looked at, so a theme set there comes with the full load.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import field
from typing import TYPE_CHECKING, Any

from core.config_bounds import LARGEST, dotted_line
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


def peek(path: Path, environment: Mapping[str, str] = os.environ) -> FirstLook:
    """Look at the `config.toml` at `path` and at `CAESURA_MODEL` and `CAESURA_THEME`. Blocks for a moment."""
    table = _table(path)
    usual = FirstLook()
    keys = table.get("keys")
    return FirstLook(
        environment.get("CAESURA_MODEL") or _text(table.get("model"), usual.model),
        environment.get("CAESURA_THEME") or _text(table.get("theme"), usual.theme),
        {id_: value for id_, value in keys.items() if isinstance(value, str)}
        if isinstance(keys, dict)
        else {},
    )


def _text(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) and value else otherwise


def _table(path: Path) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return {}
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8-sig")
        if len(content) > LARGEST or dotted_line(text) is not None:
            return {}
        return tomllib.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
