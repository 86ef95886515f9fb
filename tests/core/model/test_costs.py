"""What requests cost: the provider's counts times the catalogue's prices, and nothing that is made up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.costs import BudgetReached, Spend, budget_doubt, check_budget, cost_of, format_dollars
from core.model.messages import Usage
from core.model.provider import ModelInfo
from providers.catalog import describe

LONG = {
    "input_cost_per_token": 1.25e-06,
    "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 1.25e-07,
    "input_cost_per_token_above_200k_tokens": 2.5e-06,
    "output_cost_per_token_above_200k_tokens": 1.5e-05,
    "cache_read_input_token_cost_above_200k_tokens": 2.5e-07,
}
"""As litellm's cost map has Gemini 2.5 Pro."""

PLAIN = ModelInfo("a/b", input_price=3e-06, output_price=1.5e-05)


@pytest.mark.promise("H6")
@pytest.mark.parametrize(
    ("usage", "entry", "dollars"),
    [
        (Usage(1_000, 100), {"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05}, 0.0045),
        (Usage(1_000, 100, 800), LONG, 200 * 1.25e-06 + 800 * 1.25e-07 + 100 * 1e-05),
        (Usage(200_000, 100, 1_000), LONG, 199_000 * 1.25e-06 + 1_000 * 1.25e-07 + 100 * 1e-05),
        (Usage(200_001, 100, 1_000), LONG, 199_001 * 2.5e-06 + 1_000 * 2.5e-07 + 100 * 1.5e-05),
        (Usage(10, 100, 0, 60), LONG, 10 * 1.25e-06 + 100 * 1e-05),
        (Usage(0, 100, 0, 60), LONG | {"output_cost_per_reasoning_token": 4e-05}, 40 * 1e-05 + 60 * 4e-05),
        (Usage(9, 9), {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}, 0.0),
        (Usage(9, 9), {"input_cost_per_token": 3e-06}, None),
        (Usage(9, 9), {}, None),
        (None, LONG, None),
        (Usage(1, 0, cached_tokens=5), LONG, 1.25e-07),
        (Usage(-5, -5, -5, -5), LONG, 0.0),
    ],
)
def test_a_cost_is_counts_times_prices(
    usage: Usage | None, entry: dict[str, object], dollars: float | None
) -> None:
    cost = cost_of(usage, describe("a/b", entry))
    assert cost == (None if dollars is None else pytest.approx(dollars, rel=1e-12, abs=0))


COUNTS = st.integers(-10, 10**7)
PRICES = st.none() | st.floats(0, 1)


@given(
    st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS),
    st.builds(
        ModelInfo,
        st.just("a/b"),
        input_price=PRICES,
        output_price=PRICES,
        cached_input_price=PRICES,
        reasoning_price=PRICES,
        long_prompt=st.none() | st.integers(1, 10**6),
        long_input_price=PRICES,
        long_cached_input_price=PRICES,
        long_output_price=PRICES,
    ),
)
def test_a_cost_is_never_negative_nor_endless(usage: Usage, info: ModelInfo) -> None:
    cost = cost_of(usage, info)
    assert cost is None or 0 <= cost < math.inf


@pytest.mark.promise("H6")
def test_a_sum_says_what_it_does_not_know() -> None:
    nothing = Spend()
    assert (str(nothing), nothing.dollars) == ("$0.00", 0.0)
    usage = Usage(1_000, 100)
    one = nothing.plus(usage, cost_of(usage, PLAIN))
    assert str(one) == "$0.0045"
    assert one.dollars == pytest.approx(0.0045)
    partly = one.plus(usage, None)
    assert (str(partly), partly.dollars, partly.usage) == ("at least $0.0045", None, usage + usage)
    assert partly.plus(usage, 0.1).known == pytest.approx(0.1045)
    assert str(partly.plus(usage, 0.1)) == "at least $0.10"
    assert str(nothing.plus(usage, 0.00001).plus(usage, None)) == "unknown"
    uncounted = nothing.plus(None, None)
    assert (str(uncounted), uncounted.usage) == ("unknown", Usage(0, 0))


@pytest.mark.parametrize(
    ("dollars", "written"),
    [
        (0.0, "$0.00"),
        (0.00001, "under $0.0001"),
        (0.0123, "$0.0123"),
        (0.0999, "$0.0999"),
        (0.09996, "$0.10"),
        (0.12, "$0.12"),
        (12345.678, "$12,345.68"),
        (None, "unknown"),
    ],
)
def test_dollars_in_words(dollars: float | None, written: str) -> None:
    assert format_dollars(dollars) == written


@pytest.mark.promise("H7")
def test_a_budget_allows_requests_until_it_is_reached() -> None:
    check_budget(0.01, Spend(known=0.0099))
    assert budget_doubt(0.01, Spend(known=0.0099)) is None
    with pytest.raises(BudgetReached, match=r"cost \$0\.0100, and its budget is \$0\.0100: no further"):
        check_budget(0.01, Spend(known=0.01))
    with pytest.raises(BudgetReached):
        check_budget(0, Spend())


@pytest.mark.promise("H7")
def test_a_budget_over_unknown_costs_says_that_it_cannot_be_kept() -> None:
    unknown = Spend().plus(None, None)
    check_budget(1, unknown)
    assert "$1.00 cannot be kept" in (budget_doubt(1, unknown) or "")
    with pytest.raises(BudgetReached, match="at least"):
        check_budget(1, unknown.plus(None, 1.0))
