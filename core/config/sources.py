"""The places that settings come from, each read as a layer: a file, the environment, the command line.

What is unknown there is an error of the whole layer, but for a variable of the environment, which may be
meant for another program or another Caesura: that is a notice.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, assert_never

from core.config_bounds import dotted_line
from core.config_errors import ConfigError
from core.config_layers import Layer, LayerKind, Origin
from core.config_tree import (
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
from core.config_validation import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from core.config_files import Document
    from core.config_layers import Values
    from core.config_tree import Key, Node

PREFIX = "CAESURA_"
_TAKEN = re.compile(r"CAESURA_(?:(?:TEST|CHILD)_.*|COMMAND|REQUEST|KILLS)")
"""Variables that Caesura itself or its tests use for something else."""


def file_layer(kind: LayerKind, document: Document) -> Layer:
    """The layer that a file is. Raises `ConfigError`."""
    values: Values = {}
    try:
        for key, value in flat(document.table):
            values[key] = (value, Origin(kind, document.path, document.line_of(key)))
    except Fault as fault:
        raise ConfigError(f"{document.place_of(fault.where)}: {fault} Mend or remove it.") from None
    return Layer(kind, values, document)


def environment_layer(
    environment: Mapping[str, str], known: Collection[Key]
) -> tuple[Layer, tuple[str, ...]]:
    """What the variables `CAESURA_...` say, and a notice for each that means nothing.

    An empty one is as if it were not set. `known` are the keys of the layers before, with names as they are
    written there.
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
    """What the command line says: values by dotted keys, None for one that is not given. Raises
    `ConfigError`."""
    values: Values = {}
    for name, given in options.items():
        if given is None:
            continue
        key = parse_key(name)
        value = read_value(key, given) if isinstance(given, str) else given
        values[key] = (value, Origin(LayerKind.OPTION, name=name))
    return Layer(LayerKind.OPTION, values)


def read_value(key: Key, text: str) -> object:
    """A value as a person types it where there is no TOML around it: text needs no quotation marks."""
    node = find(key)
    is_text = isinstance(node, Setting) and node.is_text
    if is_text and not text.startswith(('"', "'")):
        return text
    try:
        table = tomllib.loads(f"value = {text}") if dotted_line(text) is None else {}
    except (ValueError, RecursionError):
        return text
    value = table.get("value", text) if len(table) == 1 else text
    return text if is_text and not isinstance(value, str) else value


def flat(table: Mapping[str, Any]) -> Iterator[tuple[Key, Any]]:
    """What the tables of a file set, by keys. Raises `Fault` for names that are none."""
    return _flat(table, tree(), ())


def _flat(value: Any, node: Node, key: Key) -> Iterator[tuple[Key, Any]]:
    """Goes only as deep as there are settings. Raises `Fault` for names that are none."""
    if isinstance(node, Setting):
        yield key, value
        return
    if not isinstance(value, dict):
        raise Fault(key, f"{shown(key)}: it must be a table.")
    if not value and key and isinstance(find(key[:-1]), Named):
        # A name that says nothing more: whether that is enough is found out later.
        yield key, {}
    for name, inner in value.items():
        match node:
            case Table(_, children):
                if name not in children:
                    raise Fault((*key, name), no_setting((*key, name), list(children)))
                yield from _flat(inner, children[name], (*key, name))
            case Named(_, child):
                yield from _flat(inner, child, (*key, name))
            case _:
                assert_never(node)


def _named_key(variable: str, known: Collection[Key]) -> Key | None:
    """The key of `CAESURA_MODELS_CAREFUL_EFFORT`: in lower case, where such a name is not known otherwise."""
    found: list[Key] = []
    for key, _ in settings():
        if key.count(ANY_NAME) != 1 or key[-1] == ANY_NAME:
            continue
        at = key.index(ANY_NAME)
        beginning = variable_of(key[:at]) + "_"
        end = variable_of(key[at + 1 :]).removeprefix(PREFIX[:-1])
        middle = variable.removeprefix(beginning).removesuffix(end)
        if variable == f"{beginning}{middle}{end}" and middle:
            name = next(
                (each[at] for each in known if each[:at] == key[:at] and _shouted(each[at]) == middle),
                middle.lower(),
            )
            found.append((*key[:at], name, *key[at + 1 :]))
    return max(found, key=lambda key: len(key[-1]), default=None)


def _shouted(name: str) -> str:
    return variable_of((name,)).removeprefix(PREFIX)
