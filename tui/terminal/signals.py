"""SIGINT, SIGTERM and SIGHUP are handled like the stop key, and a blocked event loop cannot delay them.

Purpose: a Python signal handler runs in the main thread, between two bytecodes, and what it schedules runs in
the loop. If the loop is blocked, that never happens and the terminal stays broken. So a separate thread
receives the signals: it passes each one to the loop and, if the loop does not answer in time, restores the
terminal and ends the process itself.

It must never decide what a signal means to a turn, or end a process whose loop still answers and that was
asked only once.

Nothing else in the process may call `signal.set_wakeup_fd` or `loop.add_signal_handler` meanwhile: there is
one wake-up descriptor per process.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

from core.base.values import Value

if TYPE_CHECKING:
    import asyncio
    from types import FrameType, TracebackType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE: Final = 1.0

OnSignal = Callable[[signal.Signals, int], None]
"""Called in the event loop with the signal and its number since the last `settle`: at 1 do what the stop key
does, from 2 on skip the grace period."""


def _nothing(_number: int = 0, _frame: FrameType | None = None) -> None:
    """Do nothing: a signal with a Python handler does not end the process; the thread does the work."""


class _Deadline(Value):
    """When the process is ended because of `number`, unless the loop has begun to handle signal `serial` by
    then; without a serial only the end of the process meets it."""

    number: signal.Signals
    at: float
    serial: int | None


class SignalWatch:
    """Watches SIGINT, SIGTERM and SIGHUP as a context manager. Main thread only, else raises ValueError.

    The process is ended with 128 + the signal's number, after `restore` and then `last_resort` were called in
    the watching thread (they must be quick), if
    - `patience` seconds after a SIGTERM or SIGHUP, or after a second signal of any kind, the loop has not
      begun to handle it, or
    - `patience` seconds after a second signal that is a SIGTERM or SIGHUP the process still exists.
    """

    def __init__(
        self,
        on_signal: OnSignal,
        *,
        loop: asyncio.AbstractEventLoop,
        restore: Callable[[], object],
        last_resort: Callable[[], object] = _nothing,
        patience: float = PATIENCE,
    ) -> None:
        self._on_signal = on_signal
        self._loop = loop
        self._restore = restore
        self._last_resort = last_resort
        self._patience = patience
        self._count = 0
        self._hung_up = False
        self._taken = 0
        self._answered = 0
        self._deadline: _Deadline | None = None
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="caesura-signals", daemon=True)
        self._before: dict[signal.Signals, signal.Handlers | int | Callable[..., object] | None] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        """Take over the signals; one that is ignored (nohup) stays ignored."""
        self._wakeup_before = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _nothing)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back, after the terminal was restored."""
        self._closing.set()
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")
        self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    def settle(self) -> None:
        """Count the next signal as a first one: what the signals asked for is done (a turn has ended)."""
        self._count = 0
        self._deadline = None

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._closing.is_set():
                deadline = self._deadline
                if selector.select(None if deadline is None else max(0.0, deadline.at - time.monotonic())):
                    for number in self._wake_read.recv(4096):
                        if number in SIGNALS:
                            self._take(signal.Signals(number))
                    # The kernel may have given the signal to any thread; other handlers (a new size, a
                    # continued process) run in the main thread only when that wakes up.
                    self._in_loop(_nothing)
                elif deadline is not None and deadline is self._deadline:
                    self._deadline = None
                    if not self._is_met(deadline):
                        self._end_process(deadline.number)

    def _take(self, number: signal.Signals) -> None:
        # A closed terminal sends several hang-ups: those of kernel, shell and driver count as one.
        if number is signal.SIGHUP and self._hung_up:
            return
        self._hung_up = self._hung_up or number is signal.SIGHUP
        self._count += 1
        self._taken += 1
        asks_to_quit = number is not signal.SIGINT
        again = self._count > 1
        if asks_to_quit or again:
            running = self._deadline
            at = time.monotonic() + self._patience
            if running is not None and not self._is_met(running):
                at = running.at
            self._deadline = _Deadline(number, at, None if asks_to_quit and again else self._taken)
        self._in_loop(functools.partial(self._hand_over, number, self._count, self._taken))

    def _in_loop(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(callback)

    def _hand_over(self, number: signal.Signals, count: int, serial: int) -> None:
        self._answered = serial
        self._on_signal(number, count)

    def _is_met(self, deadline: _Deadline) -> bool:
        return deadline.serial is not None and self._answered >= deadline.serial

    def _end_process(self, number: signal.Signals) -> None:
        with contextlib.ExitStack() as steps:  # runs all from the last to the first, whatever they raise
            steps.callback(os._exit, 128 + number)
            steps.callback(self._last_resort)
            steps.callback(self._restore)
