"""Sends a request again after a while, as long as nothing of the reply was shown.

The wait is one timer. A stop ends it early and nothing is sent; the user can also skip it. It must never
poll, and never last longer than the settings allow, whatever the server asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from itertools import count
from typing import TYPE_CHECKING, Protocol

from core.base.values import Value
from core.model.provider import BackedOff, BackingOff, ModelError, Phase, PhaseChanged, Wait
from providers.routing.attempts import describe_failure, each_failure, is_retryable, listed, monitor_attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.model.provider import Emit, Finished, ModelInfo, ModelProvider, ModelRequest
    from core.model.settings import RetryPolicy
    from providers.routing.attempts import AttemptMonitor

JITTER = 0.5
"""The largest part of a wait that is left out at random, so that requests that failed together spread out."""


class Timer(Protocol):
    def cancel(self) -> object: ...


def _call_later(seconds: float, callback: Callable[[], object]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


class Timing(Value):
    """Sources of time and chance. `call_later` is called in the task that waits."""

    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    call_later: Callable[[float, Callable[[], object]], Timer] = _call_later


class Member(Value):
    """A provider under the name that the user knows."""

    name: str
    provider: ModelProvider


class Retry:
    """A `ModelProvider` that sends a request to `member` again after a temporary failure."""

    def __init__(self, member: Member, policy: RetryPolicy, timing: Timing | None = None) -> None:
        self._member = member
        self._policy = policy
        self._timing = timing or Timing()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send a request as `core.model.provider.ModelProvider` defines. Raises the last attempt's error."""
        attempts = 1 + max(0, self._policy.retries)
        with monitor_attempts(emit, token) as monitor:
            for attempt in count(1):
                token.check()
                try:
                    return await self._member.provider.stream(request, token, monitor)
                except ModelError as error:
                    # A failure caused by a stop counts as a stop (R3, U7).
                    token.check()
                    if monitor.shown or attempt >= attempts or not is_retryable(error):
                        raise
                    failed = error
                await self._back_off(failed, attempt + 1, attempts, token, monitor)
        raise AssertionError("unreachable")

    async def describe(self, model: str) -> ModelInfo:
        return await self._member.provider.describe(model)

    async def _back_off(
        self, error: ModelError, attempt: int, attempts: int, token: CancelToken, monitor: AttemptMonitor
    ) -> None:
        seconds = wait_before(attempt, self._policy, error.retry_after_s, self._timing.random())
        wait = Wait(seconds)
        failed = listed([model for model, _ in each_failure(self._member.name, error)])
        monitor.emit(PhaseChanged(Phase.BACK_OFF))
        monitor.emit(BackingOff(wait, attempt, attempts, failed, describe_failure(error)))
        await _wait(wait, token, self._timing)
        monitor.emit(BackedOff())
        monitor.emit(PhaseChanged(Phase.BEFORE_REQUEST))


def wait_before(attempt: int, policy: RetryPolicy, retry_after_s: float | None, chance: float) -> float:
    """Seconds to wait before the attempt of this number, which is at least 2. `chance` is from 0 to 1."""
    if retry_after_s is None:
        doublings = min(attempt - 2, 60)
        seconds = policy.backoff * 2.0**doublings * (1 - JITTER * chance)
    else:
        seconds = retry_after_s
    return max(0.0, min(seconds, policy.max_wait))


async def _wait(wait: Wait, token: CancelToken, timing: Timing) -> None:
    """Wait until the time is over or the wait is skipped. Raises `Cancelled` on a stop."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    def end_from_any_thread() -> None:
        # On a closed loop no task waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(end)

    with token.bind():
        wait.on_skip(end_from_any_thread)
        timer = timing.call_later(wait.seconds, end)
        try:
            await over
        finally:
            timer.cancel()
