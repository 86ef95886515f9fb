"""The models to choose from, their order, and which of them have the words that were typed. Pure.

What each key needs is computed once, when the models have been read: three thousand are searched in a
millisecond. Nothing is guessed: what the catalog does not say is found by no word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from core.base.sanitize import printable
from core.base.values import Value
from core.model.provider import ModelInfo, Offer, OfferKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FAVOURITES: Final = "Favourites"

_OWN: Final = {
    OfferKind.SERVER: "Servers of your own",
    OfferKind.ROUTE: "Routes",
    OfferKind.NAMED: "Models of your own",
}
_WITHOUT_PROVIDER: Final = "other models"
_WINDOW: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([km])")
_BY_USE: Final = {True: 0, None: 1, False: 2}


class Entry(Value):
    """A model, which is also its row. `key` is its name, `group` the head above it, `words` the text that is
    searched, in lower case."""

    key: str
    offer: Offer
    group: str
    words: str

    @property
    def info(self) -> ModelInfo:
        return self.offer.info


class Query(Value):
    """A search: words that must all be there, and the least context windows, in tokens."""

    words: tuple[str, ...] = ()
    windows: tuple[tuple[str, int], ...] = ()

    def has(self, entry: Entry) -> bool:
        text = entry.words
        for word in self.words:
            if word not in text:
                return False
        for word, window in self.windows:
            if (entry.offer.info.context_window or 0) < window and word not in text:
                return False
        return True


def parse_query(text: str) -> Query:
    """Parse a search. `200k` and `1m` mean windows of at least so many tokens, or a part of a name."""
    words: list[str] = []
    windows: list[tuple[str, int]] = []
    for word in text.casefold().split():
        if (found := _WINDOW.fullmatch(word)) is None:
            words.append(word)
        else:
            windows.append((word, int(float(found[1]) * (1_000 if found[2] == "k" else 1_000_000))))
    return Query(tuple(words), tuple(windows))


def provider_of(model: str) -> str:
    """The provider prefix of a litellm name; "" if there is none.

    >>> provider_of("anthropic/claude-sonnet-4-5")
    'anthropic'
    """
    prefix, slash, _ = model.partition("/")
    return prefix if slash else ""


def is_free(info: ModelInfo) -> bool:
    """Whether the model is known to cost nothing."""
    return info.input_price == 0 and info.output_price == 0


def abilities(info: ModelInfo) -> tuple[str, ...]:
    """The abilities that the model is known to have."""
    reasons = "effort" if info.efforts else "reasoning" if info.reasoning else ""
    found = ("tools" if info.tools else "", "vision" if info.vision else "", reasons)
    return tuple(word for word in found if word)


def make_entry(offer: Offer) -> Entry:
    group = _OWN.get(offer.kind) or printable(provider_of(offer.info.model)) or _WITHOUT_PROVIDER
    return Entry(offer.info.model, offer, group, _words_of(offer))


def _words_of(offer: Offer) -> str:
    info = offer.info
    found = [info.model, offer.kind, *abilities(info)]
    if info.efforts:
        found.append("reasoning")
    if is_free(info):
        found.append("free")
    if offer.usable is False:
        found.append("no key")
    found += [member.model for member in info.members]
    return " ".join(found).casefold()


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """The person's own models as they come, then the catalog by provider, providers with a key first. Of two
    models with one name only the first is kept: the name means that one."""
    once: dict[str, Entry] = {}
    for entry in entries:
        once.setdefault(entry.key, entry)
    own: list[Entry] = []
    catalog: list[Entry] = []
    for entry in once.values():
        (catalog if entry.offer.kind is OfferKind.CATALOG else own).append(entry)
    groups: dict[str, int] = {}
    for entry in catalog:
        rank = _BY_USE[entry.offer.usable]
        groups[entry.group] = min(rank, groups.get(entry.group, rank))
    kinds = list(_OWN)
    own.sort(key=lambda entry: kinds.index(entry.offer.kind))
    catalog.sort(key=lambda entry: (groups[entry.group], entry.group, _BY_USE[entry.offer.usable], entry.key))
    return own + catalog


def unknown_entries(known: Collection[str], names: Iterable[str]) -> list[Entry]:
    """An entry for each of `names` that is not `known`: a model can be used without being in the catalog."""
    missing = [name for name in dict.fromkeys(names) if name and name not in known]
    return [make_entry(Offer(ModelInfo(name), OfferKind.CATALOG)) for name in missing]
