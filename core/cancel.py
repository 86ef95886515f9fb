"""Who may stop what: a tree of tokens, each carrying at most one reason.

A token is marked by `cancel`, from any thread and at any moment, and marks its descendants with it. Marking
is one thing, delivery another: code runs *under* a token with `with token.bind():`, which opens an anyio
cancel scope, so that the cancel is delivered again at every await until the block is left.

This module must never wait, never take a lock and never import anything of ours. A lock would not keep a
signal handler out; instead, whatever other threads and handlers may touch is read and changed in single steps
of C code, in an order in which one of two sees the other.
The promises are T1 to T8 of tests/promises.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Self

import anyio

if TYPE_CHECKING:
    from types import TracebackType

END_OF_PROGRAM = "end of the program"
"""The source of a cancel that nobody asked for: the program ends."""


log = logging.getLogger(__name__)


class Cause(StrEnum):
    """Who or what asked for the end. It decides the outcome of the turn."""

    USER = "user"
    CLIENT = "client"
    SIGNAL = "signal"
    QUIT = "quit"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class CancelReason:
    """Why a token was cancelled.

    `source` is the key, signal, command or rule, for the record and the status line. `at` is
    `time.monotonic()` of the request itself: for a key, of its arrival and not of its handling. `words` is
    what the person said about it, for the model; with `remind` the model is told not to try again (S8).
    """

    cause: Cause
    source: str
    at: float = field(default_factory=time.monotonic)
    words: str = ""
    remind: bool = True

    def __str__(self) -> str:
        return f"{self.cause} ({self.source})"


class Cancelled(Exception):
    """A bound block was left because its token was cancelled: no error, and never the outer task's cancel.

    It is raised once the scope is closed, so it may be caught like any exception.
    """

    def __init__(self, reason: CancelReason) -> None:
        super().__init__(str(reason))
        self.reason = reason


_Callback = Callable[[CancelReason], None]


class Registration:
    """A callback waiting for a cancel. `close` takes it back; closing twice is harmless."""

    __slots__ = ("_waiting", "callback", "token")

    def __init__(self, token: CancelToken, callback: _Callback, waiting: dict[Registration, bool]) -> None:
        self.token = token
        self.callback = callback
        self._waiting = waiting
        token._pinned.add(self)
        waiting[self] = True

    def close(self) -> bool:
        """True for the one caller who took it back, so that it runs at most once."""
        taken = self._waiting.pop(self, False)
        self.token._pinned.discard(self)
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class CancelToken:
    """One node of the tree: session > turn > (stream | compaction | call > nested turn ...).

    An unused token changes nothing. A token is never reused: each turn makes its own.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_children",
        "_force_callbacks",
        "_forced",
        "_mark",
        "_pinned",
        "_scopes",
        "name",
        "parent",
    )

    def __init__(self, name: str, parent: CancelToken | None = None) -> None:
        self.name: Final = name
        self.parent: Final = parent
        # Weak references, or a long session would keep the tokens of all turns. No WeakSet: that is walked
        # in Python code, and fails when a signal handler adds a child meanwhile.
        self._children: set[weakref.ref[CancelToken]] = set()
        self._callbacks: dict[Registration, bool] = {}
        self._force_callbacks: dict[Registration, bool] = {}
        # One set for the whole tree: a token with a callback that is still to come stays alive by it, also
        # when only its parent is still referenced.
        self._pinned: set[Registration] = parent._pinned if parent is not None else set()
        self._scopes: dict[anyio.CancelScope, asyncio.AbstractEventLoop] = {}
        # Reason and mark in one slot: whoever sees the mark sees the reason. `dict.setdefault` is atomic, so
        # that even a signal handler in the middle of a `cancel` leaves exactly one winner.
        self._mark: dict[Literal["reason"], tuple[CancelReason]] = {}
        self._forced = False
        if parent is not None:
            # Known to the parent first and inherited second: a cancel in between marks it either way.
            parent._children.add(weakref.ref(self, parent._children.discard))
            if parent.reason is not None:
                self._claim(parent.reason)

    @classmethod
    def detached(cls, name: str) -> CancelToken:
        """A token that no turn or session owns: Esc never reaches it, only its own stop control and quitting.

        Background work takes one of these, so that having no canceller is written down and not forgotten.
        """
        return cls(name)

    def child(self, name: str) -> CancelToken:
        """A token that this one cancels; born cancelled if this one is (T3)."""
        return CancelToken(name, self)

    @property
    def reason(self) -> CancelReason | None:
        """Why it was cancelled, None while it is not. It never changes once set (T2)."""
        mark = self._mark.get("reason")
        return None if mark is None else mark[0]

    @property
    def cancelled(self) -> bool:
        return "reason" in self._mark

    @property
    def forced(self) -> bool:
        """Whether a second stop of this token or of an ancestor has ended the grace period."""
        token: CancelToken | None = self
        while token is not None:
            if token._forced:
                return True
            token = token.parent
        return False

    def check(self) -> None:
        """Raise `Cancelled` if the token is cancelled: before work that must not start after a stop."""
        if (reason := self.reason) is not None:
            raise Cancelled(reason)

    def cancel(self, reason: CancelReason) -> bool:
        """Mark this token and all its descendants; true for the first call only (T1, T2).

        Returns at once, from any thread. Callbacks run in the calling thread; bound blocks of another
        thread's event loop are reached through that loop. A `SystemExit` or `KeyboardInterrupt` of a
        callback is raised after all of them have run.
        """
        first = self._claim(reason)
        subtree = self._mark_descendants()
        # All of them, not only those marked just now: another cancel may have been interrupted half-way, or
        # be held up by a callback of its own, and delivering twice does no harm.
        _deliver([item for token in subtree for item in token._scopes.copy().items()])
        _run(registration for token in subtree for registration in token._all_callbacks())
        return first

    def on_cancel(self, callback: _Callback) -> Registration:
        """Have `callback(reason)` run once when this token is cancelled; at once if it is already (T6).

        It runs in whatever thread cancels, so it must be quick, thread-safe and must not wait. What it
        raises is logged and stops neither the cancel nor other callbacks.
        """
        # Known first, looked at second: a cancel in between sees it, and only who withdraws it runs it.
        registration = Registration(self, callback, self._callbacks)
        if self.cancelled:
            _run((registration,))
        return registration

    def force(self) -> bool:
        """The second stop: it ends the grace period of everything that is being stopped (S11, E7).

        It marks the same subtree as `cancel` and, like it, returns at once in any thread. Returns false and
        does nothing while the token is not cancelled.
        """
        if not self.cancelled:
            return False
        # Known first, the callbacks listed second: one that is missing there sees it and runs by itself.
        self._forced = True
        subtree = self._mark_descendants()
        _run(registration for token in subtree for registration in list(token._force_callbacks))
        return True

    def on_force(self, callback: _Callback) -> Registration:
        """Have `callback(reason)` run once at the second stop; under the same rules as `on_cancel`."""
        registration = Registration(self, callback, self._force_callbacks)
        # Forced by an ancestor but not marked by it yet: then that walk is still to come, and runs it.
        if self.cancelled and self.forced:
            _run((registration,))
        return registration

    def bind(self) -> _Binding:
        """`with token.bind():` runs the block under this token, in the current task.

        Raises `Cancelled` instead of entering when the token is cancelled already, and on leaving when the
        cancel ended the block. A block that ends by itself in the same tick counts as ended by itself (S6).
        Cancellation from outside, such as `Task.cancel`, passes through as it is (T5).
        """
        return _Binding(self)

    async def wait_cancelled(self) -> CancelReason:
        """Wait for the cancel and return its reason; at once if it happened already (T6)."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        with self.on_cancel(lambda _: _call_in(loop, wake)):
            await woken
        assert self.reason is not None
        return self.reason

    def _claim(self, reason: CancelReason) -> bool:
        mine = (reason,)
        return self._mark.setdefault("reason", mine) is mine

    def _mark_descendants(self) -> list[CancelToken]:
        """Mark what is below, each with its own parent's reason; return the whole subtree, parents first."""
        subtree = [self]
        for token in subtree:  # grows while we walk
            # Marked first, its children listed second: one that is missing here inherits by itself.
            assert token.reason is not None
            children = [child for known in list(token._children) if (child := known()) is not None]
            for child in children:
                child._claim(token.reason)
            subtree += children
        return subtree

    def _all_callbacks(self) -> Iterator[Registration]:
        """Those too that are registered while they run."""
        while waiting := list(self._callbacks):
            yield from waiting

    def __repr__(self) -> str:
        return f"<CancelToken {self.name!r} {self.reason or 'live'}>"


class _Binding:
    """The block of `CancelToken.bind`. Used once, in one task, like the scope it holds."""

    __slots__ = ("_scope", "_token")

    def __init__(self, token: CancelToken) -> None:
        self._token = token
        self._scope = anyio.CancelScope()

    def __enter__(self) -> None:
        self._scope.__enter__()
        # Known first, looked at second: a cancel from another thread in between is seen by one of the two.
        self._token._scopes[self._scope] = asyncio.get_running_loop()
        if self._token.cancelled:
            self.__exit__(None, None, None)
            self._token.check()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._token._scopes.pop(self._scope, None)
        if self._scope.__exit__(kind, error, trace):
            assert self._token.reason is not None
            raise Cancelled(self._token.reason) from None
        return False


def shielded(seconds: float) -> anyio.CancelScope:
    """`with shielded(2):` lets a clean-up await although its token is cancelled, for `seconds` at most.

    The block is left when the time is over; `cancelled_caught` of the returned scope tells that it was. There
    is no unbounded form (T7). It does not hold off `Task.cancel` from outside, which is delivered once and
    passes through.

    Raises `ValueError` for a bound that is not a positive, finite number of seconds.
    """
    if not (0 < seconds < math.inf):
        raise ValueError(f"a shielded clean-up needs a positive, finite bound in seconds, not {seconds!r}")
    return anyio.move_on_after(seconds, shield=True)


@contextlib.contextmanager
def stopped_by_signals(token: CancelToken) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP cancel `token` while the block runs; a second one forces the stop (Q1).

    For commands without a screen, in the event loop of the main thread. The source of the reason is the name
    of the signal.
    """
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: signal.Signals) -> None:
        if not token.cancel(CancelReason(Cause.SIGNAL, number.name)):
            token.force()

    for number in signals:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _deliver(bound: list[tuple[anyio.CancelScope, asyncio.AbstractEventLoop]]) -> None:
    """Cancel the scopes, outermost tokens first, those of one loop together.

    Together matters: were a child's scope to be left before its parent's is cancelled, the code between the
    two blocks would run for one more step.
    """
    try:
        here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    by_loop: dict[asyncio.AbstractEventLoop, list[anyio.CancelScope]] = {}
    for scope, loop in bound:
        by_loop.setdefault(loop, []).append(scope)
    for loop, scopes in by_loop.items():
        if loop is here:
            _cancel_scopes(scopes)
        # Our own loop too: a signal handler may have interrupted its wait for input, which only this ends.
        _call_in(loop, partial(_cancel_scopes, scopes))


def _run(registrations: Iterable[Registration]) -> None:
    """Run each callback unless it has run already.

    A `SystemExit` or `KeyboardInterrupt` is raised after the others: they close sockets and must run in any
    case.
    """
    exits: list[BaseException] = []
    for registration in registrations:
        if not registration.close():
            continue
        token = registration.token
        assert token.reason is not None
        try:
            registration.callback(token.reason)
        except (Exception, asyncio.CancelledError):
            # Nothing is awaited here, so a CancelledError is no cancel of this task: it comes from reading
            # the result of a cancelled future.
            log.exception("a cancel callback of %r failed", token.name)
        except BaseException as stop:  # noqa: BLE001 - raised below
            exits.append(stop)
    if exits:
        raise exits[0]


def _cancel_scopes(scopes: list[anyio.CancelScope]) -> None:
    for scope in scopes:
        scope.cancel()


def _call_in(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(action)
    except RuntimeError:
        # The loop is closed, and with it every block that was bound in it.
        log.debug("a cancel found its event loop closed")
