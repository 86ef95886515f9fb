"""Settings from several places, one layer over the other, and where each value came from.

A layer counts as a whole or not at all, because a part of it may not be what the person meant. Values are
kept flat, by their keys, until all layers are read. A later layer extends a list that adds up and replaces
any other value. Among settings that exclude each other, the one in the later layer counts.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from msgspec import field

from core.base.values import Value
from core.config.errors import ConfigError, place
from core.config.schema import Config
from core.config.tree import Key, Setting, Table, find
from core.config.validation import Fault, validate

if TYPE_CHECKING:
    from pathlib import Path

    from core.config.files import Document
    from core.config.toml_lines import Place


class LayerKind(StrEnum):
    """Where a value can come from. A later kind overrides an earlier one."""

    DEFAULT = "default"
    USER = "config"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    OPTION = "option"


class Origin(Value):
    """The place a value came from. `name` is the variable or the option."""

    layer: LayerKind
    file: Path | None = None
    line: int | None = None
    name: str = ""

    def __str__(self) -> str:
        match self.layer:
            case LayerKind.DEFAULT:
                return "default"
            case LayerKind.USER | LayerKind.PROJECT:
                return "" if self.file is None else place(self.file, self.line)
            case LayerKind.ENVIRONMENT:
                return self.name
            case LayerKind.OPTION:
                return f"the option {self.name}"
            case _:
                assert_never(self.layer)


BY_DEFAULT = Origin(LayerKind.DEFAULT)
Values: TypeAlias = dict[Key, tuple[Any, Origin]]


class Layer(Value):
    """The settings of one place. `document` is its file, if it is one."""

    kind: LayerKind
    values: Values
    document: Document | None = None


class Stack(Value):
    """The layers so far: their merged values, and the config made of them."""

    values: Values = field(default_factory=dict)
    config: Config = field(default_factory=Config)

    def with_layer(self, layer: Layer) -> Stack:
        """The stack with one more layer. Raises `ConfigError`, which names the place in the layer."""
        if not layer.values:
            return self
        merged = _merged(self.values, layer.values)
        try:
            return Stack(merged, validate(Config, nested(merged)))
        except Fault as fault:
            raise _layer_error(fault, layer, self.values) from None


def value_at(config: object, key: Key) -> Any:
    """The value at `key` of a config or of tables; None if there is none."""
    for part in key:
        config = config.get(part) if isinstance(config, dict) else getattr(config, part, None)
    return config


def nested(values: Values) -> dict[str, Any]:
    """The tables that flat values make."""
    table: dict[str, Any] = {}
    for key, (value, _) in values.items():
        inner = table
        for part in key[:-1]:
            inner = inner.setdefault(part, {})
        if value != {} or key[-1] not in inner:
            inner[key[-1]] = value
    return table


def _merged(below: Values, above: Values) -> Values:
    merged = dict(below)
    for key, (value, origin) in above.items():
        around, node = find(key[:-1]), find(key)
        if isinstance(around, Table) and around.one_of and key[-1] in around.one_of.names:
            for other in around.one_of.names:
                if (*key[:-1], other) not in above:
                    merged.pop((*key[:-1], other), None)
        before = merged.get(key, (None, origin))[0]
        adds_up = isinstance(node, Setting) and node.doc.adds_up
        if adds_up and isinstance(before, list) and isinstance(value, list):
            value = [*before, *value]
        if value != {} or key not in merged:
            merged[key] = (value, origin)
    return merged


def _layer_error(fault: Fault, layer: Layer, below: Values) -> ConfigError:
    """The error for a fault that this layer has brought in."""
    wheres = [_place_in_layer(where, below) for where in (fault.where, *fault.others)]
    key = max(layer.values, key=lambda each: max(_common_length(each, where) for where in wheres))
    where = max(wheres, key=lambda each: _common_length(key, each))
    if layer.document is not None:
        return layer.document.error_at(where, fault)
    name = layer.values[key][1].name
    if layer.kind is LayerKind.ENVIRONMENT:
        return ConfigError(f"The variable {name} of the environment: {fault} Mend or unset it.")
    return ConfigError(f"The option {name}: {fault}")


def _place_in_layer(where: Place, below: Values) -> Place:
    """The place within the layer: in a list that adds up, the items of the layers below come first."""
    for length, part in enumerate(where):
        if isinstance(part, int):
            key = tuple(str(each) for each in where[:length])
            before = below.get(key, ([], BY_DEFAULT))[0]
            return (*where[:length], max(part - len(before), 0), *where[length + 1 :])
    return where


def _common_length(key: Key, where: Place) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, where, strict=False)))
