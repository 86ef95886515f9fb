"""The list of models as rows: a head for each group, the models beneath it, and what is said of each.

Pure: what is selected and what a key does is the business of `tui.widgets.model_list`, which models there are
that of `tui.model_search`. Only rows that are looked at become lines. What is not known is shown as "?".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, assert_never

from rich.cells import cell_len

from core.model import ModelInfo, OfferKind
from core.values import dataclass
from tui.list_rows import HintRow, Line, Piece, Tone, fitted, inline, without_beginning
from tui.model_search import FAVOURITES, Entry, abilities, is_free
from tui.operation_rows import fit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from core.model import Offer

USE_AS_IT_IS: Final = "\0use"
"""The key of the row that uses what was typed; no model is called like this."""

WIDE: Final = 110
"""Columns from which abilities are written out."""

_MARKS: Final = 5
_LEAST_NAME: Final = 20
_STATE: Final = 7
_WORDS: Final = len("tools vision reasoning")
_SIZES: Final = 6
_PRICE: Final = 13
_GAP: Final = 2
_BY_IMPORTANCE: Final = ("state", "window", "price", "can", "output")
_IN_ORDER: Final = ("window", "output", "price", "can", "state")


class HeadRow(NamedTuple):
    """The name of a group."""

    text: str

    @property
    def key(self) -> str:
        return ""


class UseRow(NamedTuple):
    """The offer to use what was typed as the name of a model."""

    name: str

    @property
    def key(self) -> str:
        return USE_AS_IT_IS


ModelListRow: TypeAlias = HeadRow | Entry | UseRow | HintRow


@dataclass(frozen=True, slots=True)
class Looks:
    """How a row is shown. `current` and `favourites` are names of models."""

    width: int
    current: str
    favourites: Collection[str]
    selected: bool = False


def make_rows(entries: Sequence[Entry], favourites: Sequence[str]) -> list[ModelListRow]:
    """The favourites in their order, then the others in theirs, each group beneath its head."""
    wanted = dict.fromkeys(favourites)
    by_name = {entry.key: entry for entry in entries if entry.key in wanted}
    rows: list[ModelListRow] = []
    if by_name:
        rows.append(HeadRow(FAVOURITES))
        rows += [by_name[name] for name in wanted if name in by_name]
    group = ""
    for entry in entries:
        if entry.key in by_name:
            continue
        if entry.group != group:
            group = entry.group
            rows.append(HeadRow(group))
        # The entry itself: a row made for each of thousands with every key would be too slow.
        rows.append(entry)
    return rows


def row_line(row: ModelListRow, looks: Looks) -> Line:
    """What is painted, exactly as wide as asked for."""
    match row:
        case Entry(offer=offer):
            return _model_line(offer, looks)
        case HeadRow(text):
            return fitted([Piece(f" {inline(text)}", Tone.MARK)], looks.width)
        case UseRow(name):
            mark = Piece("› " if looks.selected else "  ", Tone.MARK)
            return fitted([mark, Piece(f"   use “{inline(name)}” as it is", Tone.NAME)], looks.width)
        case HintRow(text):
            return fitted([Piece(f" {text}", Tone.HINT)], looks.width)
        case _:
            assert_never(row)


def heads_line(width: int) -> str:
    """What stands above the columns."""
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
    """All that is known of it, in at most `height` lines of at most `width` cells."""
    facts = [inline(offer.info.model), *_facts(offer)]
    lines: list[str] = []
    for fact in facts:
        longer = f"{lines[-1]} · {fact}" if lines else fact
        if lines and (cell_len(longer) <= width or len(lines) == height):
            lines[-1] = longer
        else:
            lines.append(fact)
    return [fit(line, width).rstrip() for line in lines[:height]]


def tokens(count: int | None) -> str:
    """A number of tokens in at most six characters, as people say it: 200k, 1M, 1.05M.

    >>> [tokens(8_192), tokens(200_000), tokens(1_048_576), tokens(None)]
    ['8.19k', '200k', '1.05M', '?']
    """
    if count is None:
        return "?"
    if count < 1_000:
        return str(count)
    if count < 999_500:
        thousands = count / 1_000
        return f"{thousands:.3g}k"
    millions = count / 1_000_000
    return f"{millions:.3g}M" if millions < 999 else ">999M"


def dollars(price: float | None) -> str:
    """The price of a million tokens, from that of one.

    >>> [dollars(3e-06), dollars(1.5e-07), dollars(0.0), dollars(None)]
    ['$3', '$0.15', '$0', '?']
    """
    if price is None:
        return "?"
    million = price * 1_000_000
    if million >= 1_000:
        return f"${million:.0f}" if million < 1_000_000 else ">$1M"
    return f"${million:.3g}" if million >= 0.001 or not million else "<$0.001"


def _model_line(offer: Offer, looks: Looks) -> Line:
    info = offer.info
    current = info.model == looks.current
    cells = {
        "window": f"{tokens(info.context_window):>{_SIZES}}",
        "output": f"{tokens(info.max_output):>{_SIZES}}",
        "price": f"{_prices(info):>{_PRICE}}",
        "can": f"{_can(info, looks.width):<{_can_cells(looks.width)}}",
        "state": f"{_state(offer, current=current):<{_STATE}}",
    }
    kept = _kept(looks.width)
    facts = "".join(" " * _GAP + cells[name] for name in kept)
    if kept == ["state"] and offer.usable is not False:
        # The mark says what is current: here the name needs the room.
        facts = ""
    name = _short(inline(info.model), looks.width - _MARKS - cell_len(facts))
    star = "★" if info.model in looks.favourites else " "
    return fitted(
        [
            Piece("› " if looks.selected else "  ", Tone.MARK),
            Piece(("●" if current else " ") + star + " ", Tone.MARK),
            Piece(name, Tone.NAME if offer.usable is not False else Tone.DETAIL),
            Piece(facts, Tone.DETAIL),
        ],
        looks.width,
    )


def _kept(width: int) -> list[str]:
    """As many columns as leave room for a name, the most important ones kept to the last."""
    cells = {"state": _STATE, "window": _SIZES, "price": _PRICE, "can": _can_cells(width), "output": _SIZES}
    room = width - _MARKS - _LEAST_NAME
    kept: set[str] = set()
    for name in _BY_IMPORTANCE:
        if (room := room - cells[name] - _GAP) < 0:
            break
        kept.add(name)
    return [name for name in _IN_ORDER if name in kept]


def _can_cells(width: int) -> int:
    return _WORDS if width >= WIDE else len("T V E")


def _can(info: ModelInfo, width: int) -> str:
    """In words, or by their first letters, which the facts of the selected one spell out."""
    words = abilities(info)
    if width >= WIDE:
        return " ".join(words)
    return " ".join(word[0].upper() for word in words)


def _prices(info: ModelInfo) -> str:
    if is_free(info):
        return "free"
    if info.input_price is None and info.output_price is None:
        return "?"
    text = f"{dollars(info.input_price)}/{dollars(info.output_price)}"
    return text if len(text) <= _PRICE else "see below"


def _state(offer: Offer, *, current: bool) -> str:
    if offer.usable is False:
        return "no key"
    return "current" if current else ""


def _short(name: str, width: int) -> str:
    """In exactly `width` cells; what is cut of a long name are neither its provider nor its end."""
    if cell_len(name) <= width:
        return fit(name, width)
    provider, slash, rest = name.partition("/")
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
    """What is not in its row comes early."""
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
    match offer.usable:
        case True:
            yield "ready to use"
        case False:
            yield "no key found in the environment"
        case None:
            pass
        case _:
            assert_never(offer.usable)
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
        yield f"prompts above {tokens(info.long_prompt)}: {told}"


def _priced(prices: dict[str, float | None]) -> str:
    return ", ".join(f"{dollars(price)} {word}" for word, price in prices.items() if price is not None)
