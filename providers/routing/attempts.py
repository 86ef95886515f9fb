"""State of the attempts of one request: whether the reply is shown, how its stop ends, what a failure means.

One `AttemptMonitor` connects the outermost provider and the caller, however deep providers are nested, so
that a chunk always costs the same.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.cancel import Cancelled
from core.model.provider import (
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
    from core.model.provider import Emit

_CONTENT = (TextDelta, ReasoningDelta, ToolCallDelta)


class AttemptMonitor:
    """Passes deltas on. `shown` is set before the first piece of the reply goes out, and stays set.

    From then on this request is not sent again (R4).
    """

    __slots__ = ("_any_delta", "_emit", "_token", "_under_way", "closed", "dropped", "model", "shown")

    def __init__(self, emit: Emit, token: CancelToken) -> None:
        self._emit = emit
        self._token = token
        self._under_way = False
        self._any_delta = False
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
            # The attempt knows its model under another name than the user does.
            self.dropped += delta.names
            delta = replace(delta, model=self.model)
        self._any_delta = True
        self._emit(delta)

    def emit(self, delta: Delta) -> None:
        """Emit a delta of our own. Raises `Cancelled` after a stop."""
        self._token.check()
        self(delta)

    def begin(self, model: str) -> None:
        """Begin an attempt with the model that the user calls `model`."""
        self.model = model
        self.dropped = ()
        self._under_way = True
        self._any_delta = False

    def end(self) -> None:
        """End an attempt that was not stopped."""
        self._under_way = False

    def emit_closed(self) -> None:
        """Emit the one `Closed` that ends a stopped request, after everything else.

        Without an attempt under way nothing was open. An attempt that emitted deltas but no `Closed` is
        unconfirmed.
        """
        if not self.closed:
            how = Closing.UNCONFIRMED if self._under_way and self._any_delta else Closing.NEVER_OPENED
            self(Closed(how, time.monotonic()))


@contextmanager
def monitor_attempts(emit: Emit, token: CancelToken) -> Iterator[AttemptMonitor]:
    """The monitor of the request that `emit` belongs to. The outermost caller creates it and ends the
    stop."""
    if isinstance(emit, AttemptMonitor):
        yield emit
        return
    monitor = AttemptMonitor(emit, token)
    try:
        yield monitor
    except (Cancelled, asyncio.CancelledError):
        if token.cancelled:
            monitor.emit_closed()
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
"""Failures that may be over in a moment. A certificate, a redirect and a page for people stay what they are.
A model process that died is replaced without a retry."""

REQUEST_FAULTS = frozenset({FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE})
"""Failures that another model would also have."""

NO_COOLDOWN = REQUEST_FAULTS | {FailureKind.CONTEXT_TOO_LONG, FailureKind.PROCESS_DIED, FailureKind.UNKNOWN}
"""Failures that do not suggest that the model fails for other requests."""

_NAMED = 5

_DESCRIPTIONS = {
    FailureKind.WRONG_KEY: "key not accepted",
    FailureKind.BROKEN_STREAM: "reply broke off",
    FailureKind.UNKNOWN: "failed",
}


class AllFailed(ModelError):
    """No member could answer. `failures` has each model's name and error; the kind is that of the last.

    `retry_after_s` is the shortest wait that one of them asked for.
    """

    def __init__(self, failures: tuple[tuple[str, ModelError], ...]) -> None:
        reasons = listed([f"{model} ({describe_failure(error)})" for model, error in failures])
        last = failures[-1][1]
        super().__init__(
            last.kind,
            f"None of the models could answer: {reasons}. Wait a little and send the prompt again, or choose "
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
    """The models that failed behind `model`, which may be a route, with their errors."""
    return error.failures if isinstance(error, AllFailed) else ((model, error),)


def listed(names: Sequence[str]) -> str:
    """The first names, each once, and the number of the others: a route may have many members."""
    unique = tuple(dict.fromkeys(names))
    more = len(unique) - _NAMED
    return ", ".join(unique[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def describe_failure(error: ModelError) -> str:
    """A short reason of a failure for the screen. Of several failures each reason once."""
    reasons = [_DESCRIPTIONS.get(one.kind, one.kind.value) for _, one in each_failure("", error)]
    return ", ".join(dict.fromkeys(reasons))


def is_retryable(error: ModelError) -> bool:
    """Whether the same request may be sent again.

    True if a server reports that it was too slow. A server that was silent for the whole time limit would
    only be silent for as long again.
    """
    return any(
        one.kind in TEMPORARY or (one.kind is FailureKind.TIMED_OUT and one.status is not None)
        for _, one in each_failure("", error)
    )


def is_failover_candidate(error: ModelError) -> bool:
    """Whether another model may answer the request."""
    return error.kind not in REQUEST_FAULTS


def needs_cooldown(error: ModelError) -> bool:
    """Whether other members take precedence over this one for a while."""
    return any(one.kind not in NO_COOLDOWN for _, one in each_failure("", error))
