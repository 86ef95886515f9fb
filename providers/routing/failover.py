"""Asking another model when one fails, and several in turn.

What is remembered between requests, the turn and who is to be left alone, is changed in single steps under a
lock that nobody holds while waiting: requests come from any number of event loops at once.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from core.cancel import Cancelled
from core.model import FailedOver, FailureKind, ModelError, ModelInfo
from providers.attempts import (
    AllFailed,
    each_failure,
    in_words,
    speaks_of_the_member,
    watch,
    worth_another_model,
)
from providers.backoff import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.cancel import CancelToken
    from core.model import Emit, Finished, ModelRequest
    from providers.backoff import Member


class _Choice:
    """Asks one member after the other, each once at most, until one answers or shows something.

    A member whose failure speaks of it is left alone for `cooldown` seconds: others go before it, and of
    several such the one whose time is over first.
    """

    rotates: ClassVar[bool]

    def __init__(self, members: Sequence[Member], cooldown: float, timing: Timing | None = None) -> None:
        if not members:
            raise ValueError("a choice needs members")
        self.members = tuple(members)
        self._cooldown = cooldown
        self._clock = (timing or Timing()).clock
        self._cool_until: dict[int, float] = {}
        self._turn = 0
        self._lock = threading.Lock()

    @property
    def turn(self) -> int:
        """The number of the member whose turn it is."""
        return self._turn % len(self.members)

    @property
    def left_alone(self) -> dict[int, float]:
        """Until when, by the clock, members that have failed come after others; the past may be among it."""
        with self._lock:
            return dict(self._cool_until)

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """See `core.model.ModelProvider`. Raises `AllFailed` when each member has failed, and what a member
        raised when that is about the request, or part of the reply is out."""
        left = set(range(len(self.members)))
        failures: list[tuple[str, ModelError]] = []
        failed = why = ""
        with watch(emit, token) as watched:
            while True:
                token.check()
                index, moved = self._take(left)
                name = self.members[index].name
                if failures:
                    watched(FailedOver(failed, name, why))
                try:
                    return await self._ask(index, moved, request, token, watched)
                except ModelError as error:
                    if watched.shown or not worth_another_model(error) or len(self.members) == 1:
                        raise
                    left.discard(index)
                    if error.kind is FailureKind.CONTEXT_TOO_LONG:
                        left = await self._larger_than(index, left, token)
                        if not left:
                            raise
                    failures += each_failure(name, error)
                    failed, why = name, in_words(error)
                    if not left:
                        raise AllFailed(tuple(failures)) from error

    async def describe(self, model: str) -> ModelInfo:
        """What holds whichever member answers; `members` has each of them."""
        return merged(model, await self._infos(range(len(self.members))))

    def _take(self, left: set[int]) -> tuple[int, int]:
        """Whose turn it is among `left`, and how far the turn has moved for it."""
        count = len(self.members)
        with self._lock:
            now = self._clock()
            order = ((self._turn + step) % count for step in range(count))
            # Stable: of those that are not left alone, all the same here, it is the first in order.
            index = min((each for each in order if each in left), key=lambda each: self._alone(each, now))
            moved = (index - self._turn) % count + 1 if self.rotates else 0
            self._turn += moved
        return index, moved

    def _alone(self, index: int, now: float) -> float:
        """For how long a member is still left alone."""
        return max(0.0, self._cool_until.get(index, now) - now)

    async def _ask(
        self, index: int, moved: int, request: ModelRequest, token: CancelToken, emit: Emit
    ) -> Finished:
        try:
            finished = await self._ask_unless_stopped(index, request, token, emit)
        except (Cancelled, asyncio.CancelledError):
            with self._lock:
                self._turn -= moved
            raise
        except ModelError as error:
            if speaks_of_the_member(error):
                with self._lock:
                    self._cool_until[index] = self._clock() + self._cooldown
            raise
        with self._lock:
            self._cool_until.pop(index, None)
        return finished

    async def _ask_unless_stopped(
        self, index: int, request: ModelRequest, token: CancelToken, emit: Emit
    ) -> Finished:
        try:
            return await self.members[index].provider.stream(request, token, emit)
        except ModelError:
            # Whatever fails because of a stop is a stop, and no failure (R3, U7).
            token.check()
            raise

    async def _larger_than(self, index: int, others: set[int], token: CancelToken) -> set[int]:
        """Those of `others` that surely take more than the member `index`, for which it was too long."""
        with token.bind():
            asked = (index, *others)
            windows = dict(zip(asked, map(_largest_window, await self._infos(asked)), strict=True))
        token.check()
        known = windows[index]
        return set() if known is None else {other for other in others if (windows[other] or 0) > known}

    async def _infos(self, indexes: Iterable[int]) -> list[ModelInfo]:
        members = [self.members[index] for index in indexes]
        return await asyncio.gather(*(member.provider.describe(member.name) for member in members))


class Fallback(_Choice):
    """A `core.model.ModelProvider` that asks the first of its members, and the next one when one fails."""

    rotates = False


class RoundRobin(_Choice):
    """A `core.model.ModelProvider` that asks its members in turn, and the next one when one fails.

    The turn moves behind a member the moment the request is handed over to it, so that requests at the same
    time go to different members. A member that is stopped, wherever it had got to, gives its move back: the
    turn is then as if it had not been asked (R1). One that fails keeps it.
    """

    rotates = True


def _largest_window(info: ModelInfo) -> int | None:
    windows = [one.context_window for one in info.members or (info,) if one.context_window is not None]
    return max(windows, default=None)


def merged(model: str, infos: Sequence[ModelInfo]) -> ModelInfo:
    """What is known of a route over models of which `infos` is known.

    The least of each limit, so that whatever fits one fits all; prices where all agree in all of them, for a
    part of them would make a wrong sum. Tools and pictures need all members to take them; reasoning and
    efforts one that does, for the others are asked without.
    """
    leaves = {leaf.model: leaf for info in infos for leaf in (info.members or (info,))}
    members = tuple(leaves.values())
    first = members[0]
    agree = all(_prices(member) == _prices(first) for member in members)
    return ModelInfo(
        model=model,
        context_window=_least(member.context_window for member in members),
        max_output=_least(member.max_output for member in members),
        tools=_all(member.tools for member in members),
        vision=_all(member.vision for member in members),
        reasoning=_any(member.reasoning for member in members),
        efforts=_any(member.efforts for member in members),
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


def _all(abilities: Iterable[bool | None]) -> bool | None:
    known = tuple(abilities)
    if False in known:
        return False
    return None if None in known else True


def _any(abilities: Iterable[bool | None]) -> bool | None:
    known = tuple(abilities)
    if True in known:
        return True
    return None if None in known else False
