"""The places that settings come from, each read as a layer: a file, the environment, the command line.

An unknown name is an error of the whole layer. An unknown variable of the environment is only a notice,
because it may be meant for another program or another version.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, assert_never

from core.config.errors import dotted_line
from core.config.layers import Layer, LayerKind, Origin
from core.config.tree import (
    ANY_NAME,
    Named,
    Setting,
    Table,
    find,
    nearest,
    no_setting,
    parse_key,
    settings,
    shown,
    tree,
    variable_of,
)
from core.config.validation import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from core.config.files import Document
    from core.config.layers import Values
    from core.config.tree import Key, Node

PREFIX = "CAESURA_"
_TAKEN = re.compile(r"CAESURA_(?:(?:TEST|CHILD)_.*|COMMAND|REQUEST|KILLS)")
"""Variables that Caesura or its tests use for something else."""


def file_layer(kind: LayerKind, document: Document) -> Layer:
    """The layer of a file. Raises `ConfigError`."""
    values: Values = {}
    try:
        for key, value in flat(document.table):
            values[key] = (value, Origin(kind, document.path, document.lines.of(key)))
    except Fault as fault:
        raise document.error_at(fault.where, fault) from None
    return Layer(kind, values, document)


def environment_layer(
    environment: Mapping[str, str], known: Collection[Key]
) -> tuple[Layer, tuple[str, ...]]:
    """The layer of the variables `CAESURA_...`, and a notice for each that sets nothing.

    An empty variable counts as not set. `known` are the keys of the layers below, with the names that their
    files give.
    """
    values: Values = {}
    notices: list[str] = []
    fixed = {variable_of(key): key for key, _ in settings() if ANY_NAME not in key}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or _TAKEN.fullmatch(name) or not text:
            continue
        key = fixed.get(name) or _named_key(name, known)
        if key is None:
            meant = nearest(name, list(fixed))
            hint = f"did you mean {meant}?" if meant else "`caesura config manual` lists them."
            notices.append(f"The variable {name} of the environment sets nothing; {hint}")
            continue
        values[key] = (read_value(key, text), Origin(LayerKind.ENVIRONMENT, name=name))
    return Layer(LayerKind.ENVIRONMENT, values), tuple(notices)


def option_layer(options: Mapping[str, object]) -> Layer:
    """The layer of the command line: values by dotted keys, None for one that is not given.

    Raises `ConfigError`.
    """
    values: Values = {}
    for name, given in options.items():
        if given is None:
            continue
        key = parse_key(name)
        value = read_value(key, given) if isinstance(given, str) else given
        values[key] = (value, Origin(LayerKind.OPTION, name=name))
    return Layer(LayerKind.OPTION, values)


def read_value(key: Key, text: str) -> object:
    """A value as a person types it outside of a file: text needs no quotation marks."""
    node = find(key)
    is_text = isinstance(node, Setting) and node.kind.is_text
    if is_text and not text.startswith(('"', "'")):
        return text
    try:
        table = tomllib.loads(f"value = {text}") if dotted_line(text) is None else {}
    except (ValueError, RecursionError):
        return text
    value = table.get("value", text) if len(table) == 1 else text
    return text if is_text and not isinstance(value, str) else value


def flat(table: Mapping[str, Any]) -> Iterator[tuple[Key, Any]]:
    """The values that the tables of a file set, by their keys. Raises `Fault` for unknown names."""
    return _flat(table, tree(), ())


def _flat(value: Any, node: Node, key: Key) -> Iterator[tuple[Key, Any]]:
    """Recurses only as deep as there are settings."""
    if isinstance(node, Setting):
        yield key, value
        return
    if not isinstance(value, dict):
        raise Fault(key, f"{shown(key)}: it must be a table.")
    if not value and key and isinstance(find(key[:-1]), Named):
        # A name with an empty table; validation tells later whether that is enough.
        yield key, {}
    for name, inner in value.items():
        match node:
            case Table(_, children):
                if name not in children:
                    raise Fault((*key, name), no_setting((*key, name), list(children)))
                yield from _flat(inner, children[name], (*key, name))
            case Named(child):
                yield from _flat(inner, child, (*key, name))
            case _:
                assert_never(node)


def _named_key(variable: str, known: Collection[Key]) -> Key | None:
    """The key of a variable such as `CAESURA_MODELS_CAREFUL_EFFORT`, with the name as the layers below have
    it, else in lower case."""
    found: list[Key] = []
    for key, _ in settings():
        if key.count(ANY_NAME) != 1 or key[-1] == ANY_NAME:
            continue
        at = key.index(ANY_NAME)
        beginning = variable_of(key[:at]) + "_"
        end = variable_of(key[at + 1 :]).removeprefix(PREFIX[:-1])
        middle = variable.removeprefix(beginning).removesuffix(end)
        if variable == f"{beginning}{middle}{end}" and middle:
            names = (each[at] for each in known if each[:at] == key[:at])
            meant = (name for name in names if variable_of((name,)) == PREFIX + middle)
            found.append((*key[:at], next(meant, middle.lower()), *key[at + 1 :]))
    return max(found, key=lambda key: len(key[-1]), default=None)
