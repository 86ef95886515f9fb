"""Whether tables read from a file say what settings can be, and if not, what is wrong and where.

A complaint never repeats a value, for it may be a secret that was put into the wrong place; the one
exception are the names of models and routes, which an error could not be understood without.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from core.config_errors import ConfigError
from core.config_schema import Config
from core.config_tree import Named, Setting, Table, no_setting, shown, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.config_files import Document
    from core.config_lines import Place
    from core.config_schema import RouteSettings
    from core.config_tree import Node

SettingsT = TypeVar("SettingsT")


class Fault(Exception):
    """What is wrong at a place in the tables, as half a sentence. `others` are places that share in it."""

    def __init__(self, where: Place, complaint: str, others: tuple[Place, ...] = ()) -> None:
        super().__init__(complaint)
        self.where = where
        self.others = others


def validate(kind: type[SettingsT], table: Mapping[str, Any]) -> SettingsT:
    """The settings in the tables, with defaults where they say nothing. Raises `Fault`."""
    import pydantic

    try:
        settings: SettingsT = _adapter(cast("Any", kind)).validate_python(table)
    except pydantic.ValidationError as error:
        # One slip of the pen is often two faults: a setting that is not known, and one that is missing.
        faults = error.errors(include_url=False, include_context=False)
        first = min(faults, key=lambda fault: fault["type"] == "missing")
        where = tuple(part for part in first["loc"] if part != "[key]")
        raise Fault(where, _complaint(kind, where, first)) from None
    if isinstance(settings, Config):
        _check_names(settings)
        _check_routes(settings.routes)
    return settings


def validated(kind: type[SettingsT], document: Document) -> SettingsT:
    """The settings in a file. Raises `ConfigError`, which names the line."""
    try:
        return validate(kind, document.table)
    except Fault as fault:
        raise ConfigError(f"{document.place_of(fault.where)}: {fault} Mend or remove it.") from None


@cache
def _adapter(kind: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(kind)


def _complaint(kind: type, where: Place, error: Any) -> str:
    name = shown(tuple(part for part in where if isinstance(part, str)))
    match error["type"]:
        case "unexpected_keyword_argument":
            around = _node_at(kind, where[:-1])
            known = list(around.children) if isinstance(around, Table) else []
            return no_setting(tuple(part for part in where if isinstance(part, str)), known)
        case "missing":
            return f"the setting {name!r} is missing."
        case "value_error":
            return f"{name or 'the file'}: {str(error['msg']).removeprefix('Value error, ')}."
        case _:
            node = _node_at(kind, where)
            words = node.words if isinstance(node, Setting) else "a table"
            return f"{name or 'the file'}: it must be {words}.{_meant(error, words)}"


def _meant(error: Any, words: str) -> str:
    """The nearest of several words. These are harmless to repeat; what was written is not repeated."""
    given = error["input"]
    if error["type"] != "enum" or not isinstance(given, str):
        return ""
    choices = [word.strip('"') for word in words.removeprefix("one of ").split(", ")]
    near = difflib.get_close_matches(given[:40], choices, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _node_at(kind: type, where: Place) -> Node:
    """The node at a place, or the last one on the way there."""
    node: Node = tree(kind)
    for part in where:
        match node:
            case Table(_, children) if part in children:
                node = children[str(part)]
            case Named(_, child):
                node = child
            case Setting(item=item) if item is not None:
                node = item
            case _:
                break
    return node


def _check_names(config: Config) -> None:
    for name in config.providers:
        if not name or "/" in name:
            raise Fault(("providers", name), "the name of a provider has no / and is not empty.")


def _check_routes(routes: Mapping[str, RouteSettings]) -> None:
    """Refuse routes that lead back to themselves."""
    finished: set[str] = set()
    for start in routes:
        way: list[str] = []
        ahead: list[tuple[str, ...]] = [(start,)]
        while ahead:
            if not ahead[-1]:
                ahead.pop()
                if way:
                    finished.add(way.pop())
                continue
            name, ahead[-1] = ahead[-1][0], ahead[-1][1:]
            if name in way:
                circle = [*way[way.index(name) :], name]
                places = tuple(("routes", each) for each in circle)
                raise Fault(places[0], f"the route leads back to itself: {' > '.join(circle)}.", places)
            if name in routes and name not in finished:
                way.append(name)
                ahead.append(routes[name].members)
