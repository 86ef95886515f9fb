"""Settings as lines for a person: the manual of all settings, and the values in force with their origins.

Both are TOML, so that a line can be copied into a file. Values that may be secrets are left out.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, assert_never

from msgspec.structs import asdict

from core.base.secrets import without_login
from core.base.values import Value
from core.config.edit import rendered
from core.config.layers import BY_DEFAULT, value_at
from core.config.tree import ANY_NAME, Named, Setting, Table, dotted, quoted, tree, variable_of
from core.permissions.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.config.load import Loaded
    from core.config.tree import Key, Node

WIDTH = 88
VALUE_WIDTH = 60
"""Columns. The origin of a longer value is printed above it."""


def manual() -> Iterator[str]:
    """Every setting with its meaning, type, default and variable, as a file in which every line is a
    comment."""
    yield from _comment("Every setting of config.toml with its default. Take over the lines that you change.")
    yield ""
    yield from _table_lines(tree(), ())


def value_lines(loaded: Loaded) -> Iterator[str]:
    """Every setting in force, with its origin."""
    yield from _values(loaded, tree(), ())
    if loaded.kept:
        yield f"# permissions.allow has {len(loaded.kept)} more, which are kept in permissions.toml"


def value_text(value: Any) -> str:
    """A value as a file has it."""
    return rendered(plain(value))


def is_secret(setting: Setting, value: Any) -> bool:
    """Whether a value is not listed: also an address with a password in it."""
    return setting.doc.secret or (isinstance(value, str) and without_login(value) != value)


def plain(value: Any) -> Any:
    """A value of the config as TOML has it."""
    match value:
        case bool() | int() | float():
            return value
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case tuple() | list():
            return [plain(each) for each in value]
        case None:
            return None
        case Rule(tool, "*"):
            return tool
        case _ if isinstance(value, Value) and not isinstance(value, Rule):
            inner = {name: plain(each) for name, each in asdict(value).items()}
            return {
                name: each for name, each in inner.items() if each is not None and each not in ([], {}, "")
            }
        case _:
            return str(value)


def _table_lines(table: Table, key: Key) -> Iterator[str]:
    """The settings of a table first, then the tables in it, as TOML demands."""
    if key and any(isinstance(child, Setting) for child in table.children.values()):
        yield from _comment(table.doc)
        yield f"#[{dotted(key)}]"
    for name, child in table.children.items():
        if isinstance(child, Setting):
            yield from _setting_lines(child, (*key, name))
    for name, child in table.children.items():
        yield from _inner_lines(child, (*key, name))


def _inner_lines(node: Node, key: Key) -> Iterator[str]:
    match node:
        case Setting():
            return
        case Table():
            yield from _table_lines(node, key)
        case Named(Setting() as child):
            yield f"#[{dotted(key)}]"
            yield from _setting_lines(child, (*key, ANY_NAME))
        case Named(Table() as child):
            yield from _table_lines(child, (*key, ANY_NAME))
        case Named():
            raise AssertionError(f"names within names: {key}")
        case _:
            assert_never(node)


def _setting_lines(setting: Setting, key: Key) -> Iterator[str]:
    default = plain(setting.default)
    is_unset = default is None or default in ("", [])
    yield from _comment(setting.doc.text)
    needed = " It has to be there." if setting.required else " Unset by default." if is_unset else ""
    # A setting whose key ends with a free name has no variable: the name could not be read back.
    variable = f" {variable_of(key)}" if key[-1] != ANY_NAME else ""
    yield from _comment(f"It is {setting.kind.words}.{needed}{variable}")
    yield f"#{quoted(key[-1])} = {rendered(setting.doc.example if is_unset else default)}"
    yield ""


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text.replace("`", ""), WIDTH - 2, break_on_hyphens=False):
        yield f"# {line}"


def _values(loaded: Loaded, node: Node, key: Key) -> Iterator[str]:
    match node:
        case Setting():
            yield from _value_line(loaded, node, key)
        case Table(_, children):
            is_fixed = ANY_NAME in key or isinstance(value_at(loaded.config, key[:-1]), dict)
            for name, child in children.items():
                inner = (*key, name)
                if not is_fixed or any(each[: len(inner)] == inner for each in loaded.origins):
                    yield from _values(loaded, child, inner)
        case Named(child):
            for name in value_at(loaded.config, key) or {}:
                yield from _values(loaded, child, (*key, name))
        case _:
            assert_never(node)


def _value_line(loaded: Loaded, setting: Setting, key: Key) -> Iterator[str]:
    origin = loaded.origins.get(key, BY_DEFAULT)
    value = value_at(loaded.config, key)
    if key == ("permissions", "allow") and loaded.kept:
        value = value[: -len(loaded.kept)]
    if value is None:
        yield f"# {dotted(key)} is not set"
        return
    if is_secret(setting, value):
        yield f"# {dotted(key)} is not shown  # {origin}"
        return
    line = f"{dotted(key)} = {value_text(value)}"
    if len(line) > VALUE_WIDTH:
        yield f"# {origin}"
        yield line
    else:
        yield f"{line:<{VALUE_WIDTH}}  # {origin}"
