"""The schema as a tree that can be walked: which keys there are, what each takes, and its name in the
environment. Whatever asks "is there such a setting?" asks here, so that all answers are the same.

Nothing here recurses into what a file says: a hostile file cannot make it run deep or long.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import typing
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, assert_never

from core.config_errors import ConfigError
from core.config_schema import Config, Doc, ProjectMay
from core.config_values import Kind, words_of
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SHOWN = 80
"""Characters of a key in a message."""
ANY_NAME = "NAME"
"""Stands in a key for the names that a person gives."""

Key: TypeAlias = tuple[str, ...]
"""A setting by the tables that lead to it: `("tools", "max_steps")`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value. `words` say what it has to be; `required` that its table cannot be without it; `item` what
    each value of a list is."""

    words: str
    doc: str
    default: Any = None
    required: bool = False
    is_text: bool = False
    adds_up: bool = False
    secret: bool = False
    project_may: ProjectMay | None = None
    example: Any = None
    item: Node | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Settings whose names are known. `doc` is what it is for; of those in `one_of` there can be one only."""

    doc: str
    children: dict[str, Node]
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A table whose keys are names that the person gives."""

    doc: str
    child: Node


Node: TypeAlias = Setting | Table | Named


class NoSuchSetting(ConfigError):
    """There is no setting of this name. `key` is as far as it goes, the unknown part last."""

    def __init__(self, key: Key, known: list[str]) -> None:
        super().__init__(no_setting(key, known))
        self.key = key


@cache
def tree(kind: type = Config) -> Table:
    """All settings, or those of another file that is read like them."""
    return _table(kind)


def find(key: Key, kind: type = Config) -> Node:
    """What stands at `key`. Raises `NoSuchSetting`."""
    node: Node = tree(kind)
    for depth, part in enumerate(key):
        match node:
            case Table() if part in node.children:
                node = node.children[part]
            case Named():
                node = node.child
            case Table() | Setting():
                known = list(node.children) if isinstance(node, Table) else []
                raise NoSuchSetting(key[: depth + 1], known)
            case _:
                assert_never(node)
    return node


def settings(node: Node | None = None, key: Key = ()) -> Iterator[tuple[Key, Setting]]:
    """Every setting, in the schema's order; a name that the person gives is shown as `NAME`."""
    match node if node is not None else tree():
        case Setting() as setting:
            yield key, setting
        case Table(_, children):
            for name, child in children.items():
                yield from settings(child, (*key, name))
        case Named(_, child):
            yield from settings(child, (*key, ANY_NAME))
        case _ as unknown:
            assert_never(unknown)


def parse_key(text: str) -> Key:
    """Read a dotted key as a person types it. Raises `ConfigError`.

    `keys.pane.toggle_panel` needs no quotation marks: an id of a binding may have dots.
    """
    try:
        table: Any = tomllib.loads(f"{text} = 0") if "\n" not in text and text.count(".") < 20 else {}
    except (ValueError, RecursionError):
        table = {}
    found: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        [(part, table)] = table.items()
        found.append(part)
    if table != 0 or not found:
        raise ConfigError(f'{text!r} is no key: write it like tools.max_steps or models."a.b".effort.')
    for depth in range(1, len(found)):
        node = find(tuple(found[:depth]))
        if isinstance(node, Named) and isinstance(node.child, Setting):
            return (*found[:depth], ".".join(found[depth:]))
    return tuple(found)


def dotted(key: Key) -> str:
    """`key` as it is written in a file."""
    return ".".join(quoted(part) for part in key)


def shown(key: Key) -> str:
    """`key` for a message, shortened where somebody has written a novel."""
    text = dotted(key)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def quoted(part: str) -> str:
    """One part of a key, in quotation marks where it needs them."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", part):
        return part
    return json.dumps(part, ensure_ascii=not part.isprintable()).replace("\x7f", "\\u007f")


def variable_of(key: Key) -> str:
    """The environment variable that sets it: `CAESURA_TOOLS_MAX_STEPS`."""
    return "CAESURA_" + "_".join(re.sub(r"\W", "_", part).upper() for part in key)


def nearest(name: str, known: list[str]) -> str | None:
    """What `name` was probably meant to be."""
    return next(iter(difflib.get_close_matches(name[:100], known, 1)), None)


def no_setting(key: Key, known: list[str]) -> str:
    """The complaint about a name that is none of those that are `known` where it stands."""
    return f"there is no setting {shown(key)!r}; {_hint(key[-1], known)}"


def _hint(name: str, known: list[str]) -> str:
    meant = nearest(name, known)
    if meant is not None:
        return f"did you mean {meant!r}?"
    return f"there are {', '.join(known)}." if known else "it is a value of its own."


def _table(kind: type) -> Table:
    hints = typing.get_type_hints(kind, include_extras=True)
    children = {each.name: _node(hints[each.name], _default(each)) for each in fields(kind)}
    return Table((kind.__doc__ or "").strip(), children, getattr(kind, "ONE_OF", ()))


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return MISSING if field.default_factory is MISSING else field.default_factory()


def _node(annotation: Any, default: Any) -> Node:
    doc, may = Doc(""), None
    bare, kinds = annotation, list[Kind]()
    if typing.get_origin(annotation) is Annotated:
        bare, *marks = typing.get_args(annotation)
        doc = next((mark for mark in marks if isinstance(mark, Doc)), doc)
        may = next((mark for mark in marks if isinstance(mark, ProjectMay)), None)
        kinds = [mark for mark in marks if isinstance(mark, Kind)]
    if is_dataclass(bare) and isinstance(bare, type) and not kinds:
        return _table(bare)
    if typing.get_origin(bare) is dict:
        child = _node(typing.get_args(bare)[1], MISSING)
        if isinstance(child, Setting):
            child = Setting(child.words, doc.text, secret=doc.secret, is_text=True, example=doc.example)
        return Named(doc.text, child)
    return Setting(
        words_of(annotation),
        doc.text,
        default=None if default is MISSING else default,
        required=default is MISSING,
        is_text=_is_text(bare),
        adds_up=doc.adds_up,
        secret=doc.secret,
        project_may=may,
        example=doc.example,
        item=_node(typing.get_args(bare)[0], MISSING) if typing.get_origin(bare) is tuple else None,
    )


def _is_text(annotation: Any) -> bool:
    """Whether its value is written as it is, without quotation marks, where there is no TOML around it."""
    inner = [each for each in typing.get_args(annotation) if each is not NoneType]
    if typing.get_origin(annotation) is Annotated:
        return _is_text(inner[0])
    if typing.get_origin(annotation) is tuple:
        return False
    if inner:
        return _is_text(inner[0])
    return isinstance(annotation, type) and issubclass(annotation, str)
