"""Uses another model when one fails, or several in turn.

Requests come from any number of event loops at once. The turn and the cool-downs, which are kept between
requests, change in single steps under a lock that is never held while waiting.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from core.cancel import Cancelled
from core.model.provider import FailedOver, FailureKind, ModelError, ModelInfo
from providers.routing.attempts import (
    AllFailed,
    describe_failure,
    each_failure,
    is_failover_candidate,
    monitor_attempts,
    needs_cooldown,
)
from providers.routing.retry import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.cancel import CancelToken
    from core.model.provider import Emit, Finished, ModelRequest
    from providers.routing.retry import Member


class Failover:
    """A `ModelProvider` that tries one member after the other, each once at most, until one answers or shows
    something.

    A member with a failure that `needs_cooldown` cools down for `cooldown` seconds: others take precedence
    until the clock's time in `cool_until`. If all cool down, the one whose time ends first is used.

    The first member comes first, unless the choice `rotates`. Then the turn moves past a member when it gets
    a request, so that concurrent requests go to different members. A stopped request reverts its move: the
    turn is then as if it had not been sent (R1). A failed request keeps it.
    """

    def __init__(
        self, members: Sequence[Member], cooldown: float, *, rotates: bool, timing: Timing | None = None
    ) -> None:
        if not members:
            raise ValueError("a choice needs members")
        self.members = tuple(members)
        self.cool_until: dict[int, float] = {}
        self.turn = 0
        self._rotates = rotates
        self._cooldown = cooldown
        self._clock = (timing or Timing()).clock
        self._lock = threading.Lock()

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """Send a request to one member after the other, as `core.model.provider.ModelProvider` defines.

        Raises `AllFailed` when every member has failed. Raises a member's own error when another model would
        fail as well, or a part of the reply is shown.
        """
        left = set(range(len(self.members)))
        failures: list[tuple[str, ModelError]] = []
        failed = why = ""
        with monitor_attempts(emit, token) as monitor:
            while True:
                token.check()
                index, moved = self._take(left)
                name = self.members[index].name
                if failures:
                    monitor(FailedOver(failed, name, why))
                try:
                    return await self._ask(index, moved, request, token, monitor)
                except ModelError as error:
                    if monitor.shown or not is_failover_candidate(error) or len(self.members) == 1:
                        raise
                    left.discard(index)
                    if error.kind is FailureKind.CONTEXT_TOO_LONG:
                        left = await self._larger_than(index, left, token)
                        if not left:
                            raise
                    failures += each_failure(name, error)
                    failed, why = name, describe_failure(error)
                    if not left:
                        raise AllFailed(tuple(failures)) from error

    async def describe(self, model: str) -> ModelInfo:
        """Information that holds whichever member answers. `members` has each of them."""
        return merged(model, await self._infos(range(len(self.members))))

    def _take(self, left: set[int]) -> tuple[int, int]:
        """The member of `left` whose turn it is, and how far the turn has moved for it."""
        count = len(self.members)
        with self._lock:
            now = self._clock()
            order = ((self.turn + step) % count for step in range(count))
            # `min` takes the first in order of members that do not cool down.
            index = min(
                (each for each in order if each in left),
                key=lambda each: max(0.0, self.cool_until.get(each, now) - now),
            )
            moved = (index - self.turn) % count + 1 if self._rotates else 0
            self.turn += moved
        return index, moved

    async def _ask(
        self, index: int, moved: int, request: ModelRequest, token: CancelToken, emit: Emit
    ) -> Finished:
        try:
            finished = await self.members[index].provider.stream(request, token, emit)
        except (Cancelled, asyncio.CancelledError):
            with self._lock:
                self.turn -= moved
            raise
        except ModelError as error:
            stopped = token.cancelled
            with self._lock:
                if stopped:
                    self.turn -= moved
                elif needs_cooldown(error):
                    self.cool_until[index] = self._clock() + self._cooldown
            if stopped:
                # A failure caused by a stop counts as a stop (R3, U7).
                token.check()
            raise
        with self._lock:
            self.cool_until.pop(index, None)
        return finished

    async def _larger_than(self, index: int, others: set[int], token: CancelToken) -> set[int]:
        """The `others` with a larger context window than member `index`, whose window was too small."""
        with token.bind():
            asked = (index, *others)
            windows = dict(zip(asked, map(_largest_window, await self._infos(asked)), strict=True))
        token.check()
        known = windows[index]
        return set() if known is None else {other for other in others if (windows[other] or 0) > known}

    async def _infos(self, indexes: Iterable[int]) -> list[ModelInfo]:
        members = [self.members[index] for index in indexes]
        return await asyncio.gather(*(member.provider.describe(member.name) for member in members))


def _largest_window(info: ModelInfo) -> int | None:
    windows = [one.context_window for one in info.members or (info,) if one.context_window is not None]
    return max(windows, default=None)


def merged(model: str, infos: Sequence[ModelInfo]) -> ModelInfo:
    """What is known of a route over models with these `infos`.

    Each limit is the lowest one, so that what fits one member fits all. Prices are known if all members have
    the same. Tools and images need the support of all members; reasoning and efforts need one member, since
    requests to the others leave them out.
    """
    leaves = {leaf.model: leaf for info in infos for leaf in (info.members or (info,))}
    members = tuple(leaves.values())
    first = members[0]
    agree = all(_prices(member) == _prices(first) for member in members)
    return ModelInfo(
        model=model,
        context_window=_least(member.context_window for member in members),
        max_output=_least(member.max_output for member in members),
        tools=all_of(member.tools for member in members),
        vision=all_of(member.vision for member in members),
        reasoning=any_of(member.reasoning for member in members),
        efforts=any_of(member.efforts for member in members),
        members=members,
        **(_prices(first) if agree else {}),
    )


_PRICES = (
    *("input_price", "output_price", "cached_input_price", "reasoning_price"),
    *("long_prompt", "long_input_price", "long_cached_input_price", "long_output_price"),
)


def _prices(info: ModelInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in _PRICES}


def _least(limits: Iterable[int | None]) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def all_of(abilities: Iterable[bool | None]) -> bool | None:
    """Whether all are true; None if that is not known."""
    known = tuple(abilities)
    if False in known:
        return False
    return None if None in known else True


def any_of(abilities: Iterable[bool | None]) -> bool | None:
    """Whether one is true; None if that is not known."""
    known = tuple(abilities)
    if True in known:
        return True
    return None if None in known else False
