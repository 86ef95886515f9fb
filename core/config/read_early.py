"""Read the few settings that the first frame needs: the model, the theme, the keys.

It must stay cheap, so it imports little besides `tomllib`. It never raises: what is broken or of the wrong
type counts as not set, because the full load reports it a moment later. The values are not checked.

Of a project that is not trusted only the theme is used, as in the full load.
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

from msgspec import field

from core.base.folders import TRUSTED
from core.base.regular_file import read_regular
from core.base.values import Value
from core.config.errors import LARGEST, dotted_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class EarlyConfig(Value):
    """`model` is empty and `theme` is "auto" where none is set. `keys` maps ids of bindings to keys."""

    model: str = ""
    theme: str = "auto"
    keys: Mapping[str, str] = field(default_factory=dict)


def read_early(
    path: Path, environment: Mapping[str, str] = os.environ, *, project: Path | None = None
) -> EarlyConfig:
    """Read the `config.toml` at `path`, the `.caesura.toml` at `project`, and the variables `CAESURA_MODEL`
    and `CAESURA_THEME`. Blocks for a moment."""
    own = _table(path)
    look = _seen(own or {}, EarlyConfig())
    if project is not None:
        theirs = _table(project, links=False) or {}
        # No project is trusted while the person's own file cannot be read.
        if own is None or not _is_trusted(path, project):
            theirs = {name: value for name, value in theirs.items() if name == "theme"}
        look = _seen(theirs, look)
    return EarlyConfig(
        environment.get("CAESURA_MODEL") or look.model,
        environment.get("CAESURA_THEME") or look.theme,
        look.keys,
    )


def _seen(table: Mapping[str, Any], below: EarlyConfig) -> EarlyConfig:
    keys = table.get("keys")
    own = {id_: key for id_, key in keys.items() if isinstance(key, str)} if isinstance(keys, dict) else {}
    return EarlyConfig(
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
    """The tables of the file; empty if it does not exist, None if it cannot be read."""
    try:
        text = read_regular(path, LARGEST, follow=links).decode("utf-8-sig")
        return None if dotted_line(text) is not None else tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
