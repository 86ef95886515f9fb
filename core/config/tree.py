"""The declared settings as a tree: which keys there are, what each takes, and its name in the environment.

All lookups of settings are made here, so that they agree. Nothing here recurses into the content of a file: a
hostile file cannot cause deep or long recursion.
"""

from __future__ import annotations

import difflib
import json
import re
import typing
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, assert_never

from msgspec import NODEFAULT, structs

from core.base.setting import TEXT, Doc, Kind, OneOf, ProjectMay, choice
from core.base.values import Value
from core.config.errors import ConfigError
from core.config.schema import Config
from core.config.toml_lines import parse_dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SHOWN = 80
"""Characters of a key in a message."""
MOST_PARTS = 20
"""Parts of a key that a person types."""
ANY_NAME = "NAME"
"""Stands in a key for the names that a person gives."""

Key: TypeAlias = tuple[str, ...]
"""A setting by the tables that lead to it: `("tools", "max_steps")`."""


class Setting(Value):
    """One value. `required` says that its table cannot be without it; `item` is what each value of a list
    is, None if it is no list."""

    kind: Kind
    doc: Doc
    default: Any = None
    required: bool = False
    project_may: ProjectMay | None = None
    item: Node | None = None


class Table(Value):
    """Settings whose names are known, read as a `type`. `doc` is what it is for."""

    doc: str
    children: dict[str, Node]
    type: type
    one_of: OneOf | None = None


class Named(Value):
    """A table whose keys are names that the person gives."""

    child: Node


Node: TypeAlias = Setting | Table | Named


class NoSuchSetting(ConfigError):
    """There is no setting of this name."""


@cache
def tree(kind: type = Config) -> Table:
    """All settings, or those that another class declares."""
    children = {each.name: _node(each.type, _default(each)) for each in structs.fields(kind)}
    return Table((kind.__doc__ or "").strip(), children, kind, getattr(kind, "ONE_OF", None))


def find(key: Key) -> Node:
    """The node at `key`. Raises `NoSuchSetting`."""
    node: Node = tree()
    for depth, part in enumerate(key):
        match node:
            case Table() if part in node.children:
                node = node.children[part]
            case Named():
                node = node.child
            case Table() | Setting():
                known = list(node.children) if isinstance(node, Table) else []
                raise NoSuchSetting(no_setting(key[: depth + 1], known))
            case _:
                assert_never(node)
    return node


def settings(node: Node | None = None, key: Key = ()) -> Iterator[tuple[Key, Setting]]:
    """Every setting in the order of the declarations; `NAME` stands for names that a person gives."""
    match node if node is not None else tree():
        case Setting() as setting:
            yield key, setting
        case Table(_, children):
            for name, child in children.items():
                yield from settings(child, (*key, name))
        case Named(child):
            yield from settings(child, (*key, ANY_NAME))
        case _ as unknown:
            assert_never(unknown)


def parse_key(text: str) -> Key:
    """Read a dotted key as a person types it. Raises `ConfigError`.

    The ids of bindings contain dots: `keys.pane.toggle_panel` needs no quotation marks.
    """
    try:
        found = parse_dotted(text) if "\n" not in text and text.count(".") < MOST_PARTS else ()
    except (ValueError, RecursionError):
        found = ()
    if not found:
        raise ConfigError(f'{text!r} is no key: write it like tools.max_steps or models."a.b".effort.')
    for depth in range(1, len(found)):
        node = find(found[:depth])
        if isinstance(node, Named) and isinstance(node.child, Setting):
            return (*found[:depth], ".".join(found[depth:]))
    return found


def dotted(key: Key) -> str:
    """`key` as a file has it."""
    return ".".join(quoted(part) for part in key)


def shown(key: Key) -> str:
    """`key` for a message, shortened."""
    text = dotted(key)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def quoted(part: str) -> str:
    """One part of a key, in quotation marks if it needs them."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", part):
        return part
    return json.dumps(part, ensure_ascii=not part.isprintable()).replace("\x7f", "\\u007f")


def variable_of(key: Key) -> str:
    """The environment variable of a setting, such as `CAESURA_TOOLS_MAX_STEPS`."""
    return "CAESURA_" + "_".join(re.sub(r"\W", "_", part).upper() for part in key)


def nearest(name: str, known: list[str]) -> str | None:
    """The name that `name` was probably meant to be."""
    return next(iter(difflib.get_close_matches(name[:100], known, 1)), None)


def no_setting(key: Key, known: list[str]) -> str:
    """The complaint about a name that is not among those `known` in its table."""
    return f"there is no setting {shown(key)!r}; {_hint(key[-1], known)}"


def _hint(name: str, known: list[str]) -> str:
    meant = nearest(name, known)
    if meant is not None:
        return f"did you mean {meant!r}?"
    return f"there are {', '.join(known)}." if known else "it is a value of its own."


def _default(field: structs.FieldInfo) -> Any:
    """The default of a field; `NODEFAULT` if there is none."""
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


def _node(annotation: Any, default: Any, doc: Doc | None = None) -> Node:
    bare, marks = _unwrapped(annotation)
    doc = next((mark for mark in marks if isinstance(mark, Doc)), doc or Doc(""))
    kind = next((mark for mark in marks if isinstance(mark, Kind)), None)
    origin, item = typing.get_origin(bare), None
    if kind is None and isinstance(bare, type) and issubclass(bare, Value):
        return tree(bare)
    if origin is dict:
        return Named(_node(typing.get_args(bare)[1], None, doc))
    if origin is tuple:
        item = _node(typing.get_args(bare)[0], None)
        words = item.kind.words if isinstance(item, Setting) else "a table"
        kind = Kind(f"a list, of which each is {words}", tuple)
    elif isinstance(bare, type) and issubclass(bare, StrEnum):
        kind = choice(bare)
    may = next((mark for mark in marks if isinstance(mark, ProjectMay)), None)
    is_required = default is NODEFAULT
    return Setting(kind or TEXT, doc, None if is_required else default, is_required, may, item)


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """The type itself, without None, and the marks around it."""
    marks: list[Any] = []
    while True:
        arguments = typing.get_args(annotation)
        if typing.get_origin(annotation) is Annotated:
            marks += arguments[1:]
            annotation = arguments[0]
        elif NoneType in arguments:
            annotation = next(each for each in arguments if each is not NoneType)
        else:
            return annotation, marks
