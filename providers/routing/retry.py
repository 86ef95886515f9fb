"""Asking the same again after a while, as long as nothing of the reply was shown.

The wait is one timer and two ways to end it early: a stop, after which nothing is sent, and the person's wish
to go on now. It must never poll, and never last longer than the person allows, whatever the server asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from itertools import count
from typing import TYPE_CHECKING, Protocol

from core.model import BackedOff, BackingOff, ModelError, Phase, PhaseChanged, Wait
from core.values import dataclass
from providers.attempts import each_failure, in_words, listed, watch, worth_a_retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.model import Emit, Finished, ModelInfo, ModelProvider, ModelRequest
    from core.model_settings import RetryPolicy
    from providers.attempts import Watch

JITTER = 0.5
"""The most of a wait that is left out at random, lest all who have failed together come back together."""


class Timer(Protocol):
    def cancel(self) -> object: ...


def _call_later(seconds: float, callback: Callable[[], object]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time and chance come from. `call_later` is asked in the task that waits."""

    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    call_later: Callable[[float, Callable[[], object]], Timer] = _call_later


@dataclass(frozen=True, slots=True)
class Member:
    """A provider under the name that a person knows it by."""

    name: str
    provider: ModelProvider


class Retry:
    """A `core.model.ModelProvider` that asks `member` again when it fails for a while only."""

    def __init__(self, member: Member, policy: RetryPolicy, timing: Timing | None = None) -> None:
        self._member = member
        self._policy = policy
        self._timing = timing or Timing()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """See `core.model.ModelProvider`. Raises what the last attempt raised."""
        attempts = 1 + max(0, self._policy.retries)
        with watch(emit, token) as watched:
            for attempt in count(1):
                token.check()
                try:
                    return await self._member.provider.stream(request, token, watched)
                except ModelError as error:
                    # Whatever fails because of a stop is a stop, and no failure (R3, U7).
                    token.check()
                    if watched.shown or attempt >= attempts or not worth_a_retry(error):
                        raise
                    failed = error
                await self._back_off(failed, attempt + 1, attempts, token, watched)
        raise AssertionError("unreachable")

    async def describe(self, model: str) -> ModelInfo:
        return await self._member.provider.describe(model)

    async def _back_off(
        self, error: ModelError, attempt: int, attempts: int, token: CancelToken, watched: Watch
    ) -> None:
        seconds = wait_before(attempt, self._policy, error.retry_after_s, self._timing.random())
        wait = Wait(seconds)
        failed = listed([model for model, _ in each_failure(self._member.name, error)])
        watched.say(PhaseChanged(Phase.BACK_OFF))
        watched.say(BackingOff(wait, attempt, attempts, failed, in_words(error)))
        await _wait(wait, token, self._timing)
        watched.say(BackedOff())
        watched.say(PhaseChanged(Phase.BEFORE_REQUEST))


def wait_before(attempt: int, policy: RetryPolicy, retry_after_s: float | None, chance: float) -> float:
    """How long is waited before the attempt of this number, from 2, in seconds; `chance` is from 0 to 1."""
    if retry_after_s is None:
        doublings = min(attempt - 2, 60)
        seconds = policy.backoff * 2.0**doublings * (1 - JITTER * chance)
    else:
        seconds = retry_after_s
    return max(0.0, min(seconds, policy.max_wait))


async def _wait(wait: Wait, token: CancelToken, timing: Timing) -> None:
    """Until the time is over, the wait is skipped, or a stop ends it, which raises `Cancelled`."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    def end_from_any_thread() -> None:
        # A closed loop has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(end)

    with token.bind():
        wait.on_skip(end_from_any_thread)
        timer = timing.call_later(wait.seconds, end)
        try:
            await over
        finally:
            timer.cancel()
