"""The list of models as rows: a head for each group, the models beneath it, and the facts of each. Pure.

What is not known is shown as "?". Only rows in sight become lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from rich.cells import cell_len

from core.model.provider import ModelInfo, OfferKind
from tui.base.fit import count_fitting, fit, without_beginning
from tui.base.format import format_price, format_tokens
from tui.base.row import HintRow, Line, Piece, TextRow, Tone, cursor, fitted, inline
from tui.lists.models.search import FAVOURITES, Entry, abilities, is_free

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from core.model.provider import Offer

USE_AS_IT_IS: Final = "\0use"
"""The key of the row that uses the typed name; no model has this name."""

WIDE: Final = 110
"""Columns from which abilities are written out."""

_MARKS: Final = 5
_LEAST_NAME: Final = 20
_STATE: Final = 7
_WORDS: Final = len("tools vision reasoning")
_SIZES: Final = 6
_PRICE: Final = 13
_GAP: Final = 2
_IN_ORDER: Final = ("window", "output", "price", "can", "state")


ModelListRow: TypeAlias = Entry | TextRow | HintRow


def use_row(name: str) -> TextRow:
    """Offers to use the typed text as the name of a model."""
    return TextRow((Piece(f"   use “{inline(name)}” as it is", Tone.NAME),), key=USE_AS_IT_IS)


def _head(group: str) -> HintRow:
    return HintRow(inline(group), Tone.MARK)


def model_rows(entries: Sequence[Entry], favourites: Sequence[str]) -> list[ModelListRow]:
    """The favourites in their order, then the others in theirs, each group beneath its head."""
    wanted = dict.fromkeys(favourites)
    by_name = {entry.key: entry for entry in entries if entry.key in wanted}
    rows: list[ModelListRow] = []
    if by_name:
        rows.append(_head(FAVOURITES))
        rows += [by_name[name] for name in wanted if name in by_name]
    group = ""
    for entry in entries:
        if entry.key in by_name:
            continue
        if entry.group != group:
            group = entry.group
            rows.append(_head(group))
        # The entry itself: making a row for each of thousands at every key would be too slow.
        rows.append(entry)
    return rows


def model_line(
    entry: Entry, width: int, *, selected: bool, current: str, favourites: Collection[str]
) -> Line:
    """The row in exactly `width` cells. `current` and `favourites` are names of models."""
    is_current = entry.key == current
    marks = ("●" if is_current else " ") + ("★" if entry.key in favourites else " ") + " "
    pieces = _model_pieces(entry.offer, width, is_current=is_current)
    return fitted((cursor(selected), Piece(marks, Tone.MARK), *pieces), width)


def heads_line(width: int) -> str:
    """The heads of the columns."""
    heads = {
        "window": f"{'window':>{_SIZES}}",
        "output": f"{'output':>{_SIZES}}",
        "price": f"{'$/M in/out':>{_PRICE}}",
        "can": f"{'can':<{_can_cells(width)}}",
        "state": " " * _STATE,
    }
    columns = "".join(" " * _GAP + heads[name] for name in _kept(width))
    return fit(" " * _MARKS + "model", width - len(columns)) + columns


def fact_lines(offer: Offer, width: int, height: int) -> list[str]:
    """The facts of a model in at most `height` lines of at most `width` cells."""
    facts = [_short(inline(offer.info.model), width).rstrip(), *_facts(offer)]
    lines: list[str] = []
    for fact in facts:
        longer = f"{lines[-1]} · {fact}" if lines else fact
        if lines and (cell_len(longer) <= width or len(lines) == height):
            lines[-1] = longer
        else:
            lines.append(fact)
    return [fit(line, width).rstrip() for line in lines[:height]]


def _model_pieces(offer: Offer, width: int, *, is_current: bool) -> tuple[Piece, Piece]:
    """The name and the columns."""
    info = offer.info
    state = "no key" if offer.usable is False else "current" if is_current else ""
    cells = {
        "window": f"{_size(info.context_window):>{_SIZES}}",
        "output": f"{_size(info.max_output):>{_SIZES}}",
        "price": f"{_prices(info):>{_PRICE}}",
        "can": f"{_can(info, width):<{_can_cells(width)}}",
        "state": f"{state:<{_STATE}}",
    }
    kept = _kept(width)
    facts = "".join(" " * _GAP + cells[name] for name in kept)
    if kept == ["state"] and offer.usable is not False:
        # The mark shows the current model; the name needs the room.
        facts = ""
    name = _short(inline(info.model), width - _MARKS - cell_len(facts))
    tone = Tone.NAME if offer.usable is not False else Tone.DETAIL
    return Piece(name, tone), Piece(facts, Tone.DETAIL)


def _kept(width: int) -> list[str]:
    """As many columns as leave room for a name; the least important are left out first."""
    cells = {"state": _STATE, "window": _SIZES, "price": _PRICE, "can": _can_cells(width), "output": _SIZES}
    count = count_fitting((size + _GAP for size in cells.values()), width - _MARKS - _LEAST_NAME)
    kept = list(cells)[:count]
    return [name for name in _IN_ORDER if name in kept]


def _can_cells(width: int) -> int:
    return _WORDS if width >= WIDE else len("T V E")


def _can(info: ModelInfo, width: int) -> str:
    """The abilities in words, or by their first letters in a narrow list."""
    return " ".join(word if width >= WIDE else word[0].upper() for word in abilities(info))


def _prices(info: ModelInfo) -> str:
    if is_free(info):
        return "free"
    if info.input_price is None and info.output_price is None:
        return "?"
    text = f"{format_price(info.input_price)}/{format_price(info.output_price)}"
    return text if len(text) <= _PRICE else "see below"


def _size(count: int | None) -> str:
    return format_tokens(count, decimals=2)


def _short(name: str, width: int) -> str:
    """The name in exactly `width` cells; a long one keeps its provider and its end. Of a path whole parts are
    left out, and its provider goes before the name of its file does."""
    if cell_len(name) <= width:
        return fit(name, width)
    provider, slash, rest = name.partition("/")
    for start in (f"{provider}/…", "…"):
        for at in (index for index, letter in enumerate(rest) if letter == "/"):
            if cell_len(shorter := start + rest[at:]) <= width:
                return fit(shorter, width)
    if "/" in rest:
        return fit(without_beginning(rest.rpartition("/")[2], width), width)
    if not slash or cell_len(provider) + 1 > width // 2:
        return fit(name, width)
    return fit(f"{provider}/{without_beginning(rest, width - cell_len(provider) - 1)}", width)


_KINDS: Final = {
    OfferKind.ROUTE: "a route",
    OfferKind.NAMED: "a model of your own",
    OfferKind.SERVER: "on a server of your own",
    OfferKind.CATALOG: "from the catalogue",
}
_UNKNOWN: Final = "its limits and prices are not known, but it can be used"


def _facts(offer: Offer) -> Iterable[str]:
    """The facts, those first that its row does not show."""
    info = offer.info
    if info == ModelInfo(info.model):
        yield _UNKNOWN
    if info.members:
        yield "asks " + ", ".join(inline(member.model) for member in info.members)
    if info.context_window is not None:
        yield f"window {info.context_window:,}"
    if info.max_output is not None:
        yield f"output up to {info.max_output:,}"
    yield from _price_facts(info)
    if words := _abilities_in_full(info):
        yield words
    if offer.usable is not None:
        yield "ready to use" if offer.usable else "no key found in the environment"
    yield _KINDS[offer.kind]


def _abilities_in_full(info: ModelInfo) -> str:
    known = {"tools": info.tools, "vision": info.vision, "reasoning": info.reasoning, "effort": info.efforts}
    can = [word for word, there in known.items() if there]
    lacks = [f"no {word}" for word, there in known.items() if there is False]
    return ", ".join((*can, *lacks))


def _price_facts(info: ModelInfo) -> Iterable[str]:
    if is_free(info):
        yield "free"
        return
    usual = {
        "in": info.input_price,
        "out": info.output_price,
        "cached": info.cached_input_price,
        "reasoning": info.reasoning_price,
    }
    if told := _priced(usual):
        yield f"{told} per million tokens"
    long = {
        "in": info.long_input_price,
        "out": info.long_output_price,
        "cached": info.long_cached_input_price,
    }
    if info.long_prompt is not None and (told := _priced(long)):
        yield f"prompts above {_size(info.long_prompt)}: {told}"


def _priced(prices: dict[str, float | None]) -> str:
    return ", ".join(f"{format_price(price)} {word}" for word, price in prices.items() if price is not None)
