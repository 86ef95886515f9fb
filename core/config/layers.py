"""Settings from several places, each laid over those before it, and where each of them came from.

A layer is taken as a whole or not at all: half of what somebody meant is not what they meant. Values are kept
flat, by their keys, until all layers are there. A list that adds up grows; of settings that exclude each
other the later layer's holds; any other value replaces the one before.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from core.config_errors import ConfigError, place
from core.config_schema import Config
from core.config_tree import Key, Setting, Table, find
from core.config_validation import Fault, validate
from core.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from core.config_files import Document
    from core.config_lines import Place


class LayerKind(StrEnum):
    """Where a value can come from; each goes before those above it."""

    DEFAULT = "default"
    USER = "config"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. `name` is the variable or the option."""

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


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says. `document` is its file, if it is one."""

    kind: LayerKind
    values: Values
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """The layers so far: their values together, and the config that these are."""

    values: Values = field(default_factory=dict)
    config: Config = field(default_factory=Config)

    def laid(self, layer: Layer) -> Stack:
        """With one more layer. Raises `ConfigError`, which says where in the layer the fault lies."""
        if not layer.values:
            return self
        merged = _merged(self.values, layer.values)
        try:
            return Stack(merged, validate(Config, nested(merged)))
        except Fault as fault:
            raise _blamed(fault, layer, self.values) from None


def value_at(config: object, key: Key) -> Any:
    """The value that holds at `key`; None where nothing does."""
    for part in key:
        config = config.get(part) if isinstance(config, dict) else getattr(config, part, None)
    return config


def nested(values: Values) -> dict[str, Any]:
    """Tables again, of flat values."""
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
        if isinstance(around, Table) and key[-1] in around.one_of:
            for other in around.one_of:
                if (*key[:-1], other) not in above:
                    merged.pop((*key[:-1], other), None)
        before = merged.get(key, (None, origin))[0]
        if (
            isinstance(node, Setting)
            and node.adds_up
            and isinstance(before, list)
            and isinstance(value, list)
        ):
            value = [*before, *value]
        if value != {} or key not in merged:
            merged[key] = (value, origin)
    return merged


def _blamed(fault: Fault, layer: Layer, below: Values) -> ConfigError:
    """The error of a layer without which there was no fault."""
    wheres = [_own_place(where, below) for where in (fault.where, *fault.others)]
    key = max(layer.values, key=lambda each: max(_common(each, where) for where in wheres))
    where = max(wheres, key=lambda each: _common(key, each))
    name = layer.values[key][1].name
    match layer.kind:
        case LayerKind.USER | LayerKind.PROJECT | LayerKind.DEFAULT:
            at = "" if layer.document is None else layer.document.place_of(where)
            return ConfigError(f"{at}: {fault} Mend or remove it.")
        case LayerKind.ENVIRONMENT:
            return ConfigError(f"The variable {name} of the environment: {fault} Mend or unset it.")
        case LayerKind.OPTION:
            return ConfigError(f"The option {name}: {fault}")
        case _:
            assert_never(layer.kind)


def _own_place(where: Place, below: Values) -> Place:
    """A place in the layer itself, where the items of a list that adds up come behind those below."""
    for length, part in enumerate(where):
        if isinstance(part, int):
            key = tuple(str(each) for each in where[:length])
            before = below.get(key, ([], BY_DEFAULT))[0]
            return (*where[:length], max(part - len(before), 0), *where[length + 1 :])
    return where


def _common(key: Key, where: Place) -> int:
    pairs = zip(key, where, strict=False)
    return next(
        (length for length, (one, other) in enumerate(pairs) if one != other), min(len(key), len(where))
    )
