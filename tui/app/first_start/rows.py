"""The rows of the first start: the choices of each step, their order and their text.

Pure functions. Names from a server go through `inline`, and a row is never longer than its line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from core.model.setup import EnvironmentKey, KeyHome, LocalServer, StoredKey
from tui.app.first_start.steps import ModelOf, Remedy, Way
from tui.base.fit import fit
from tui.base.row import HintRow, Line, Piece, Tone, cursor, fitted, inline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.model.setup import Found, KeyedProvider
    from tui.app.first_start.steps import Attempt, Item

NAME_CELLS = 12
"""Minimum width of the column of names, if there is room for another column."""


class StartRow(NamedTuple):
    """A row that can be chosen."""

    key: str
    name: str
    detail: str
    item: Item


AnyRow: TypeAlias = StartRow | HintRow


def choice_rows(found: Iterable[Found]) -> list[StartRow]:
    """Rows for environment keys, keyring keys and servers, each in the given order, then the fixed rows."""
    kinds = (EnvironmentKey, StoredKey, LocalServer)
    ordered = sorted(found, key=lambda one: kinds.index(type(one)))
    return [
        *map(_found_row, ordered),
        StartRow("enter", "Enter a key", "of Anthropic, OpenAI, Gemini or another provider", Way.ENTER_KEY),
        StartRow("demo", "Try the demo", "no key, no account: scripted replies", Way.DEMO),
    ]


def key_of(found: Found) -> str:
    """Identifies an item when it is found a second time."""
    match found:
        case EnvironmentKey(provider, _):
            return f"environment:{provider.name}"
        case StoredKey(provider, home):
            return f"{home}:{provider.name}"
        case LocalServer(api_base=api_base):
            return f"server:{api_base}"
        case _:
            assert_never(found)


def _found_row(found: Found) -> StartRow:
    match found:
        case EnvironmentKey(provider, variable):
            detail = f"key in {variable} · {_plain(provider.model)}"
            return StartRow(key_of(found), provider.title, detail, found)
        case StoredKey(provider, home):
            where = "keys.toml" if home is KeyHome.FILE else "the keyring"
            detail = f"key in {where} · {_plain(provider.model)}"
            return StartRow(key_of(found), provider.title, detail, found)
        case LocalServer(title=title, api_base=api_base, models=models):
            where = api_base.partition("://")[2].partition("/")[0]
            return StartRow(key_of(found), title, f"{_count(models)} · on this computer, {where}", found)
        case _:
            assert_never(found)


def _plain(model: str) -> str:
    return model.partition("/")[2] or model


def _count(models: tuple[str, ...]) -> str:
    if not models:
        return "has no model yet"
    return models[0] if len(models) == 1 else f"{len(models)} models"


def provider_rows(providers: Iterable[KeyedProvider], query: str) -> list[AnyRow]:
    rows: list[AnyRow] = [
        StartRow(one.name, one.title, f"{one.variable} · {_plain(one.model)}", one)
        for one in providers
        if _has(f"{one.title} {one.name}", query)
    ]
    return rows or [
        HintRow(" No provider of this name is known here; config.toml takes any: see [providers.NAME].")
    ]


def model_rows(server: LocalServer, query: str) -> list[AnyRow]:
    rows: list[AnyRow] = [
        StartRow(model, model, "", ModelOf(server, model)) for model in server.models if _has(model, query)
    ]
    return rows or [HintRow(" None of its models is called so.")]


def _has(name: str, query: str) -> bool:
    folded = name.casefold()
    return all(word in folded for word in query.casefold().split())


def remedy_rows(attempt: Attempt) -> list[StartRow]:
    """What can be done after a test that did not pass."""
    again = StartRow("again", "Test again", "once more, as it is", Remedy.AGAIN)
    other = StartRow("key", "Enter the key again", f"of {attempt.title}", Remedy.OTHER_KEY)
    anyway = StartRow("anyway", "Use it anyway", "if you know that it works", Remedy.ANYWAY)
    back = StartRow("back", "Choose something else", "another key, a server, the demo", Remedy.BACK)
    return [again, other, anyway, back] if attempt.entered is not None else [again, anyway, back]


PLACE_ROWS = (
    StartRow("run", "This run only", "the key is forgotten when Caesura ends", KeyHome.THIS_RUN),
    StartRow("file", "In a file", "readable by you alone, but not encrypted", KeyHome.FILE),
)


def name_cells(rows: Sequence[AnyRow]) -> int:
    """The width that the column of names needs."""
    names = [cell_len(inline(row.name)) for row in rows if isinstance(row, StartRow) and row.detail]
    return max(NAME_CELLS, *names) if names else NAME_CELLS


def row_line(row: StartRow, width: int, names: int, *, selected: bool) -> Line:
    """The row in exactly `width` cells."""
    cells = max(1, min(names, width * 2 // 5))
    name, detail = inline(row.name), inline(row.detail)
    pieces = (
        cursor(selected),
        Piece(fit(name, cells) if detail else name, Tone.NAME),
        Piece(f"  {detail}" if detail else "", Tone.DETAIL),
    )
    return fitted(pieces, width)
