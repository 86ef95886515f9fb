"""Check tables against the declared settings, and say what is wrong and where.

A complaint never repeats a value, because it may be a secret that was put into the wrong place. The names of
models and routes are the exception: without them the complaint could not be understood.
"""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeVar, assert_never, cast

from core.config.schema import Config
from core.config.tree import Named, Setting, Table, nearest, no_setting, shown, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.config.files import Document
    from core.config.toml_lines import Place
    from core.config.tree import Node
    from core.model.settings import Route

SettingsT = TypeVar("SettingsT")


class Fault(Exception):
    """What is wrong at a place in the tables, as the second half of a sentence. `others` are further places
    that are part of the fault."""

    def __init__(self, where: Place, complaint: str, others: tuple[Place, ...] = ()) -> None:
        super().__init__(complaint)
        self.where = where
        self.others = others


def validate(kind: type[SettingsT], table: Mapping[str, Any]) -> SettingsT:
    """The settings in the tables, with defaults for the rest. Raises `Fault`."""
    settings: SettingsT = _read(tree(cast("Any", kind)), table, ())
    if isinstance(settings, Config):
        _check_names(settings)
        _check_routes(settings.routes)
    return settings


def validated(kind: type[SettingsT], document: Document) -> SettingsT:
    """The settings in a file. Raises `ConfigError`, which names the line."""
    try:
        return validate(kind, document.table)
    except Fault as fault:
        raise document.error_at(fault.where, fault) from None


def _read(node: Node, value: Any, where: Place) -> Any:
    """The value of a node. Goes only as deep as there are settings. Raises `Fault`."""
    match node:
        case Setting(item=None):
            return _read_value(node, value, where)
        case Setting(item=item):
            if not isinstance(value, list | tuple):
                raise Fault(where, f"{_name(where)}: it must be {node.kind.words}.")
            assert item is not None
            return tuple(_read(item, each, (*where, number)) for number, each in enumerate(value))
        case Table():
            return _read_table(node, _demand_table(value, where), where)
        case Named(child):
            table = _demand_table(value, where)
            return {name: _read(child, each, (*where, name)) for name, each in table.items()}
        case _:
            assert_never(node)


def _read_value(setting: Setting, value: Any, where: Place) -> Any:
    try:
        return setting.kind.read(value)
    except ValueError as error:
        complaint = f"{error}." if str(error) else f"it must be {setting.kind.words}.{_meant(setting, value)}"
        raise Fault(where, f"{_name(where)}: {complaint}") from None


def _meant(setting: Setting, value: Any) -> str:
    """The nearest of several words. These are harmless to repeat; what was written is not repeated."""
    choices = list(setting.kind.choices)
    near = nearest(value[:40], choices) if isinstance(value, str) and choices else None
    return f" Did you mean {near!r}?" if near else ""


def _read_table(table: Table, value: Mapping[str, Any], where: Place) -> Any:
    # One slip is often two faults, a name that is not known and one that is missing: reported in this order.
    for name in value:
        if name not in table.children:
            raise Fault((*where, name), no_setting(_key((*where, name)), list(table.children)))
    found = {name: _read(table.children[name], each, (*where, name)) for name, each in value.items()}
    for name, child in table.children.items():
        if isinstance(child, Setting) and child.required and name not in found:
            raise Fault((*where, name), f"the setting {_name((*where, name))!r} is missing.")
    if table.one_of is not None and sum(bool(found.get(name)) for name in table.one_of.names) != 1:
        raise Fault(where, f"{_name(where)}: {table.one_of.complaint}.")
    return table.type(**found)


def _demand_table(value: Any, where: Place) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Fault(where, f"{_name(where)}: it must be a table.")
    return value


def _key(where: Place) -> tuple[str, ...]:
    return tuple(part for part in where if isinstance(part, str))


def _name(where: Place) -> str:
    return shown(_key(where)) or "the file"


def _check_names(config: Config) -> None:
    for name in config.providers:
        if not name or "/" in name:
            raise Fault(("providers", name), "the name of a provider has no / and is not empty.")
    places = {("providers", name): server.headers for name, server in config.providers.items()}
    mcp = {("mcp", "servers", name): server.headers for name, server in config.mcp.servers.items()}
    for place, headers in (places | mcp).items():
        for header in headers:
            if not re.fullmatch(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+", header):
                where = (*place, "headers", header)
                raise Fault(
                    where,
                    f"{_name(where)}: the name of a header takes ASCII letters, digits and signs such as -, "
                    "no spaces.",
                )


def _check_routes(routes: Mapping[str, Route]) -> None:
    """Refuse routes that lead back to themselves."""
    try:
        TopologicalSorter({name: route.members for name, route in routes.items()}).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][::-1]
        places = tuple(("routes", each) for each in circle)
        raise Fault(places[0], f"the route leads back to itself: {' > '.join(circle)}.", places) from None
