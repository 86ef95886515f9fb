"""What requests cost, from the provider's own token counts and the catalogue's prices; and a budget for it.

Nothing here is ever estimated or made up: a cost that is not known is None, a sum with such a part in it says
so, and a budget that can therefore not be kept says so as well (H6, H7).

Not solved: what a provider charges besides tokens (searches, stored caches, other tiers of service) is not in
its counts, and the cost of a request is known only when it is over, so that a budget is overrun by the
request that reaches it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.errors import CaesuraError
from core.messages import Usage
from core.values import dataclass

if TYPE_CHECKING:
    from core.model import ModelInfo

_NOTHING_USED = Usage(0, 0)
_LEAST_SHOWN = 0.0001


class BudgetReached(CaesuraError):
    """What may be spent has been spent: no further request is made."""


@dataclass(frozen=True, slots=True)
class _Prices:
    """Dollars per token."""

    input: float
    cached: float
    output: float
    reasoning: float


def cost_of(usage: Usage | None, info: ModelInfo) -> float | None:
    """What one request has cost, in dollars; None when its tokens or its model's prices are not known.

    Cached tokens are part of the input and reasoning tokens part of the output; each has its own price where
    the catalogue names one. A prompt over the catalogue's bound is charged as a long one, all of it.
    """
    prices = None if usage is None else _prices(info, usage.input_tokens)
    if usage is None or prices is None:
        return None
    read, written = max(0, usage.input_tokens), max(0, usage.output_tokens)
    cached = min(max(0, usage.cached_tokens), read)
    reasoned = min(max(0, usage.reasoning_tokens), written)
    return (
        (read - cached) * prices.input
        + cached * prices.cached
        + (written - reasoned) * prices.output
        + reasoned * prices.reasoning
    )


def _prices(info: ModelInfo, prompt_tokens: int) -> _Prices | None:
    into, cached, out = info.input_price, info.cached_input_price, info.output_price
    reasoning = info.reasoning_price
    if info.long_prompt is not None and prompt_tokens > info.long_prompt:
        into, out = _first(info.long_input_price, into), _first(info.long_output_price, out)
        # The usual price of a cached token beside a long prompt's would be too low.
        cached = info.long_cached_input_price
        reasoning = None if info.long_output_price is not None else reasoning
    if into is None or out is None:
        return None
    return _Prices(into, into if cached is None else cached, out, out if reasoning is None else reasoning)


def _first(price: float | None, otherwise: float | None) -> float | None:
    return otherwise if price is None else price


@dataclass(frozen=True, slots=True)
class Spending:
    """A sum of requests. `known` is what is known of its cost, in dollars; it is the whole cost unless
    `part_unknown`. `usage` counts the tokens that were reported."""

    usage: Usage = _NOTHING_USED
    known: float = 0.0
    part_unknown: bool = False

    def plus(self, usage: Usage | None, cost: float | None) -> Spending:
        """The sum with one more request in it; None for what is not known of that."""
        return Spending(
            self.usage if usage is None else self.usage + usage,
            self.known if cost is None else self.known + cost,
            self.part_unknown or cost is None,
        )

    @property
    def dollars(self) -> float | None:
        """The cost, None when any part of it is unknown."""
        return None if self.part_unknown else self.known

    def __str__(self) -> str:
        if not self.part_unknown:
            return format_dollars(self.known)
        # "At least under" so much says nothing.
        return f"at least {format_dollars(self.known)}" if self.known >= _LEAST_SHOWN else "unknown"


def format_dollars(dollars: float | None) -> str:
    """
    >>> format_dollars(0.01234), format_dollars(0.5), format_dollars(1234.5), format_dollars(None)
    ('$0.0123', '$0.50', '$1,234.50', 'unknown')
    """
    if dollars is None:
        return "unknown"
    if 0 < dollars < _LEAST_SHOWN:
        return "under $0.0001"
    return f"${dollars:.4f}" if 0 < dollars < 0.09995 else f"${dollars:,.2f}"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a session may spend, in dollars. Raises `ValueError` for what is no sum; zero allows nothing."""

    dollars: float

    def __post_init__(self) -> None:
        if not 0 <= self.dollars < math.inf:
            raise ValueError(f"a budget is a sum of dollars from 0 on, not {self.dollars!r}")

    def check(self, spent: Spending) -> None:
        """May another request be made? Raises `BudgetReached` if not.

        To be asked before every request and after its token: a stop comes before a limit (U6). Costs that
        are unknown count as nothing, which `doubt` tells.
        """
        if spent.known < self.dollars:
            return
        raise BudgetReached(
            f"The session has cost {spent}, and its budget is {format_dollars(self.dollars)}: no further "
            "request was made. Give it a larger budget to go on."
        )

    def doubt(self, spent: Spending) -> str | None:
        """Why the budget cannot be relied on, to be said once in a session; None while it can."""
        if not spent.part_unknown:
            return None
        return (
            "What this model costs is not known, or its provider has not counted a request: the budget of "
            f"{format_dollars(self.dollars)} cannot be kept, only what is known counts against it."
        )
