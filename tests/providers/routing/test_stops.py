"""Each part of routing alone, over a provider that never looks at its token: what a stop lets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.model.messages import FinishReason
from core.model.provider import (
    AttemptStarted,
    BackedOff,
    Closed,
    Closing,
    Emit,
    FailedOver,
    FailureKind,
    Finished,
    ModelError,
    ModelProvider,
    ModelRequest,
    Parameters,
    ParametersDropped,
    TextDelta,
)
from core.model.settings import ModelSettings, RetryPolicy, Route
from providers.routing.attempts import AllFailed
from providers.routing.failover import Failover
from providers.routing.retry import Member, Retry, wait_before
from providers.routing.router import DirectProvider
from providers.routing.routes import Target
from providers.routing.slots import ConcurrencyLimit, Limit
from tests.providers.routing.routed import ESCAPE, Hourglass, Listened, Stage, router

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken

LIMITED = ModelError(FailureKind.RATE_LIMITED, "Too often.")
REFUSED = ModelError(FailureKind.BAD_REQUEST, "temperature is not supported")
HOURGLASS = Hourglass(at_once=True)


class Careless:
    """A provider that is asked whatever its token says; `play` ends it."""

    def __init__(self, play: Callable[[CancelToken, Emit], None]) -> None:
        self.asked = 0
        self._stage = Stage(self._answer)
        self._play = play
        self.describe = self._stage.describe

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        self.asked += 1
        return await self._answer(request, token, emit)

    async def _answer(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        self._play(token, emit)
        return Finished(FinishReason.STOP, None, request.model)


def members(inner: ModelProvider) -> list[Member]:
    return [Member("a", inner), Member("b", inner)]


PARTS: dict[str, Callable[[ModelProvider], ModelProvider]] = {
    "leaf": lambda inner: DirectProvider(inner, Target("a", "a", parameters=Parameters(temperature=0.5))),
    "retry": lambda inner: Retry(Member("a", inner), RetryPolicy(), HOURGLASS.timing),
    "fallback": lambda inner: Failover(members(inner), 30.0, rotates=False, timing=HOURGLASS.timing),
    "rotation": lambda inner: Failover(members(inner), 30.0, rotates=True, timing=HOURGLASS.timing),
    "limit": lambda inner: Limit(inner, ConcurrencyLimit(1)),
}


def fail_in_the_stop(token: CancelToken, emit: Emit) -> None:
    token.cancel(ESCAPE)
    raise LIMITED


def refuse_in_the_stop(token: CancelToken, emit: Emit) -> None:
    token.cancel(ESCAPE)
    raise REFUSED


def fail(token: CancelToken, emit: Emit) -> None:
    raise LIMITED


def refuse(token: CancelToken, emit: Emit) -> None:
    raise REFUSED


@pytest.mark.promise("R1", "T3")
@pytest.mark.parametrize("part", PARTS)
async def test_nothing_is_asked_after_a_stop(part: str) -> None:
    inner = Careless(fail)
    asked = Listened(PARTS[part](inner), "x")
    assert (await asked.stop()).how is Closing.NEVER_OPENED
    assert inner.asked == 0
    assert len(asked.deltas) == 1


@pytest.mark.promise("R1", "R3")
@pytest.mark.parametrize("part", ["leaf", "retry", "fallback", "rotation"])
@pytest.mark.parametrize("play", [fail_in_the_stop, refuse_in_the_stop])
async def test_what_fails_because_of_a_stop_is_a_stop(part: str, play: Callable[..., None]) -> None:
    inner = Careless(play)
    provider = PARTS[part](inner)
    asked = Listened(provider, "x")
    await asked.stopped()
    assert inner.asked == 1
    started = [AttemptStarted] if part == "leaf" else []
    assert [type(delta) for delta in asked.deltas] == [*started, Closed]
    if isinstance(provider, Failover):
        assert provider.cool_until == {}
        assert provider.turn == 0


@pytest.mark.promise("R1", "R2")
@pytest.mark.parametrize(
    ("part", "play", "step"),
    [
        ("leaf", refuse, ParametersDropped),
        ("retry", fail, BackedOff),
        ("fallback", fail, FailedOver),
        ("rotation", fail, FailedOver),
    ],
)
async def test_nothing_is_asked_again_after_a_stop_between_the_attempts(
    part: str, play: Callable[..., None], step: type
) -> None:
    inner = Careless(play)
    # With a leaf below, where the part itself says something last: from there on the leaf has to look.
    below: ModelProvider = inner if part in ("leaf", "retry") else DirectProvider(inner, Target("a", "a"))
    them: list[Listened] = []

    def on_delta(delta: object) -> None:
        if isinstance(delta, step):
            them[0].token.cancel(ESCAPE)

    them.append(Listened(PARTS[part](below), "x", on_delta=on_delta))
    assert (await them[0].stopped()).how is Closing.NEVER_OPENED
    assert inner.asked == 1


@pytest.mark.promise("R4")
async def test_no_parameter_is_left_out_once_something_was_shown() -> None:
    def show_and_refuse(token: CancelToken, emit: Emit) -> None:
        emit(TextDelta("word"))
        raise REFUSED

    inner = Careless(show_and_refuse)
    assert await Listened(PARTS["leaf"](inner), "x").failure() is REFUSED
    assert inner.asked == 1


async def test_the_failure_of_an_only_member_is_its_own() -> None:
    async def play(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        raise LIMITED

    routes = {"one": Route(rotate=("a/b",)), "nested": Route(fallback=("one", "c/d"))}
    asking = router(Stage(play), ModelSettings(routes=routes))
    assert await Listened(asking, "one").failure() is LIMITED
    failure = await Listened(asking, "nested").failure()
    assert isinstance(failure, AllFailed)
    assert [name for name, _ in failure.failures] == ["one", "c/d"]


async def test_an_error_that_is_no_failure_of_a_model_goes_through() -> None:
    def break_down(token: CancelToken, emit: Emit) -> None:
        raise ZeroDivisionError

    inner = Careless(break_down)
    asked = Listened(PARTS["fallback"](Retry(Member("a", inner), RetryPolicy(), HOURGLASS.timing)), "x")
    with pytest.raises(ZeroDivisionError):
        await asked.outcome()
    assert inner.asked == 1


@pytest.mark.promise("R2")
@pytest.mark.parametrize(
    ("attempt", "retry_after_s", "chance", "seconds"),
    [
        (2, None, 0.0, 2.0),
        (3, None, 0.0, 4.0),
        (3, None, 1.0, 2.0),
        (7, None, 0.0, 60.0),
        (5_000, None, 1.0, 60.0),
        (2, 7.0, 0.5, 7.0),
        (2, 3_600.0, 0.5, 60.0),
        (2, -1.0, 0.5, 0.0),
    ],
)
def test_how_long_is_waited(attempt: int, retry_after_s: float | None, chance: float, seconds: float) -> None:
    policy = RetryPolicy(backoff=2.0, max_wait=60.0)
    assert wait_before(attempt, policy, retry_after_s, chance) == seconds
