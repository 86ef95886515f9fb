"""What the attempts of one request know together: what of it went out, how its stop is proven, and what a
failure says of the next attempt.

One watch stands between the outermost of the providers and whoever listens, however deep they are nested, so
that a chunk costs the same in all of them.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from core.cancel import Cancelled
from core.model import (
    Closed,
    Closing,
    Delta,
    FailureKind,
    ModelError,
    ParametersDropped,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.cancel import CancelToken
    from core.model import Emit

_CONTENT = (TextDelta, ReasoningDelta, ToolCallDelta)


class Watch:
    """Passes deltas on. `shown` is set before the first piece of the reply goes out, and stays set: from then
    on nothing of this request is asked again (R4)."""

    __slots__ = ("_emit", "_heard", "_token", "_under_way", "closed", "dropped", "model", "shown")

    def __init__(self, emit: Emit, token: CancelToken) -> None:
        self._emit = emit
        self._token = token
        self._under_way = False
        self._heard = False
        self.shown = False
        self.closed = False
        self.model = ""
        self.dropped: tuple[str, ...] = ()

    def __call__(self, delta: Delta) -> None:
        if isinstance(delta, _CONTENT):
            self.shown = True
        elif isinstance(delta, Closed):
            self.closed = True
        elif isinstance(delta, ParametersDropped) and self._under_way:
            # The attempt knows its model under another name than the person does.
            self.dropped += delta.names
            delta = replace(delta, model=self.model)
        self._heard = True
        self._emit(delta)

    def say(self, delta: Delta) -> None:
        """Emit something of our own, unless a stop has come: then nothing more is said, and it raises."""
        self._token.check()
        self(delta)

    def begin(self, model: str) -> None:
        """An attempt is handed over, to the model that a person calls `model`."""
        self.model = model
        self.dropped = ()
        self._under_way = True
        self._heard = False

    def end(self) -> None:
        """The attempt has come to an end that is no stop."""
        self._under_way = False

    def prove(self) -> None:
        """The end of a stopped request: exactly one proof, after all else.

        Where no attempt was under way, nothing was open. One that was, and left no proof of its own, is said
        to be unconfirmed, unless nothing was ever heard of it.
        """
        if not self.closed:
            how = Closing.UNCONFIRMED if self._under_way and self._heard else Closing.NEVER_OPENED
            self(Closed(how, time.monotonic()))


@contextmanager
def watch(emit: Emit, token: CancelToken) -> Iterator[Watch]:
    """The watch of the request that `emit` belongs to; its outermost user makes it and proves the stop."""
    if isinstance(emit, Watch):
        yield emit
        return
    watched = Watch(emit, token)
    try:
        yield watched
    except (Cancelled, asyncio.CancelledError):
        if token.cancelled:
            watched.prove()
        raise


TEMPORARY = frozenset(
    {
        FailureKind.RATE_LIMITED,
        FailureKind.OVERLOADED,
        FailureKind.SERVER_ERROR,
        FailureKind.UNREACHABLE,
        FailureKind.NAME_NOT_FOUND,
        FailureKind.BROKEN_STREAM,
    }
)
"""What may be over in a moment. The model process, too, is replaced, but by itself: no retry adds to that."""

THE_REQUEST_ITSELF = frozenset({FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE})
"""What no other model would do better with."""

NOT_THE_MEMBERS = THE_REQUEST_ITSELF | {
    FailureKind.CONTEXT_TOO_LONG,
    FailureKind.PROCESS_DIED,
    FailureKind.UNKNOWN,
}
"""What says nothing of how the model does for others."""

_NAMED = 5

_WORDS = {
    FailureKind.WRONG_KEY: "key not accepted",
    FailureKind.BROKEN_STREAM: "reply broke off",
    FailureKind.UNKNOWN: "failed",
}


class AllFailed(ModelError):
    """No member could answer. `failures` are all of theirs, by the name of the model; the kind is the last's.

    `retry_after_s` is the least that one of them asked for.
    """

    def __init__(self, failures: tuple[tuple[str, ModelError], ...]) -> None:
        said = listed([f"{model} ({in_words(error)})" for model, error in failures])
        last = failures[-1][1]
        super().__init__(
            last.kind,
            f"None of the models could answer: {said}. Wait a little and send the prompt again, or choose "
            "another model with /model or --model.",
            detail="\n".join(f"{model}: {error} {error.detail}".rstrip() for model, error in failures),
            status=last.status,
            retry_after_s=min(
                (error.retry_after_s for _, error in failures if error.retry_after_s is not None),
                default=None,
            ),
        )
        self.failures = failures


def each_failure(model: str, error: ModelError) -> tuple[tuple[str, ModelError], ...]:
    """What has failed behind `model`, which may be a route: by the names of the models."""
    return error.failures if isinstance(error, AllFailed) else ((model, error),)


def listed(names: Sequence[str]) -> str:
    """The first of them, each once, and how many more there are: a route may have many members."""
    unique = tuple(dict.fromkeys(names))
    more = len(unique) - _NAMED
    return ", ".join(unique[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def in_words(error: ModelError) -> str:
    """Why, in a word or two for the screen; of several failures each reason once."""
    said = [_WORDS.get(one.kind, one.kind.value) for _, one in each_failure("", error)]
    return ", ".join(dict.fromkeys(said))


def worth_a_retry(error: ModelError) -> bool:
    """Whether the same may be asked again. A server that says itself that it was too slow may be; one that
    was silent until the time was over would only be silent for as long again."""
    return any(
        one.kind in TEMPORARY or (one.kind is FailureKind.TIMED_OUT and one.status is not None)
        for _, one in each_failure("", error)
    )


def worth_another_model(error: ModelError) -> bool:
    return error.kind not in THE_REQUEST_ITSELF


def speaks_of_the_member(error: ModelError) -> bool:
    """Whether the member is better left alone for a while."""
    return any(one.kind not in NOT_THE_MEMBERS for _, one in each_failure("", error))
