"""The cost of requests, from the provider's own token counts and the catalog's prices; and a budget for it.

Nothing is estimated or invented: an unknown cost is None, a sum with an unknown part says so, and so does a
budget that therefore cannot be kept (H6, H7).

Not solved: charges besides tokens (searches, stored caches, other tiers of service) are not in the provider's
counts. The cost of a request is known only when it is over, so the request that reaches a budget overruns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.values import Value
from core.model.messages import Usage

if TYPE_CHECKING:
    from core.model.provider import ModelInfo

_NOTHING_USED = Usage(0, 0)
_LEAST_SHOWN = 0.0001


class BudgetReached(CaesuraError):
    """The budget is used up: no further request is made."""


def cost_of(usage: Usage | None, info: ModelInfo) -> float | None:
    """The cost of one request in dollars; None when its tokens or its model's prices are not known.

    Cached tokens are part of the input and reasoning tokens part of the output; each has its own price if the
    catalog names one. A prompt over the catalog's bound is charged entirely as a long one.
    """
    if usage is None:
        return None
    read, written = max(0, usage.input_tokens), max(0, usage.output_tokens)
    cached = min(max(0, usage.cached_tokens), read)
    reasoned = min(max(0, usage.reasoning_tokens), written)
    into, out = info.input_price, info.output_price
    cached_price, reasoning_price = info.cached_input_price, info.reasoning_price
    if info.long_prompt is not None and usage.input_tokens > info.long_prompt:
        # The usual price of a cached token would be too low for a long prompt.
        cached_price = info.long_cached_input_price
        if info.long_input_price is not None:
            into = info.long_input_price
        if info.long_output_price is not None:
            out, reasoning_price = info.long_output_price, None
    if into is None or out is None:
        return None
    return (
        (read - cached) * into
        + cached * (into if cached_price is None else cached_price)
        + (written - reasoned) * out
        + reasoned * (out if reasoning_price is None else reasoning_price)
    )


class Spend(Value):
    """A sum of requests. `known` is the known part of its cost in dollars, the whole cost unless
    `part_unknown`. `usage` counts the tokens that were reported."""

    usage: Usage = _NOTHING_USED
    known: float = 0.0
    part_unknown: bool = False

    def plus(self, usage: Usage | None, cost: float | None) -> Spend:
        """The sum with one more request; None for an unknown value."""
        return Spend(
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
        # "At least under" such an amount has no meaning.
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


def check_budget(dollars: float, spent: Spend) -> None:
    """Raise `BudgetReached` if a budget of so many dollars allows no further request; zero allows none.

    Call before every request and after checking its token: a stop comes before a limit (U6). Unknown costs
    count as nothing, which `budget_doubt` reports.
    """
    if spent.known >= dollars:
        raise BudgetReached(
            f"The session has cost {spent}, and its budget is {format_dollars(dollars)}: no further "
            "request was made. Give it a larger budget to go on."
        )


def budget_doubt(dollars: float, spent: Spend) -> str | None:
    """Why the budget cannot be relied on, to be shown once in a session; None while it can."""
    if not spent.part_unknown:
        return None
    return (
        "What this model costs is not known, or its provider has not counted a request: the budget of "
        f"{format_dollars(dollars)} cannot be kept, only what is known counts against it."
    )
