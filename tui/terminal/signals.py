"""SIGINT, SIGTERM and SIGHUP take the way of the key, and a blocked event loop cannot hold them up.

Why it exists: a Python signal handler runs in the main thread, between two bytecodes, and what it schedules
runs when the loop gets to it. When the loop is blocked that is never, and the terminal stays broken. So the
signals are seen by a thread of their own: it hands each one to the loop and, when the loop does not answer in
time, restores the terminal and ends the process itself.

What it must never do: decide what a signal means to a turn, or end a process whose loop still answers and
that was asked only once.

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

from core.values import dataclass

if TYPE_CHECKING:
    import asyncio
    from types import FrameType, TracebackType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE: Final = 1.0

OnSignal = Callable[[signal.Signals, int], None]
"""Called in the event loop with the signal and which one it is since the last `settle`: at 1 take the way of
the key, from 2 on skip the grace."""


def _nothing(_number: int = 0, _frame: FrameType | None = None) -> None:
    """A signal with a Python handler does not end the process; the work is done by the thread."""


@dataclass(frozen=True, slots=True)
class _Deadline:
    """When the process is ended because of `number`, unless the loop has begun to handle signal `serial` by
    then; without a serial nothing but the end of the process meets it."""

    number: signal.Signals
    at: float
    serial: int | None


class SignalWatch:
    """Watches the signals from `install_signals` until `close`; a context manager does both ends."""

    def __init__(
        self,
        on_signal: OnSignal,
        *,
        loop: asyncio.AbstractEventLoop,
        restore: Callable[[], object],
        last_resort: Callable[[], object],
        patience: float,
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

    def install(self) -> None:
        """Take over the signals. Main thread only; a signal that is ignored (nohup) stays ignored."""
        self._wakeup_before = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _nothing)
        self._thread.start()

    def settle(self) -> None:
        """What the signals asked for is done (a turn has ended): the next one is a first one again."""
        self._count = 0
        self._deadline = None

    def close(self) -> None:
        """Give the signals back. Main thread only; call it after the terminal was restored."""
        if self._closing.is_set():
            return
        self._closing.set()
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._wake()
        self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._closing.is_set():
                deadline = self._deadline
                if selector.select(None if deadline is None else max(0.0, deadline.at - time.monotonic())):
                    for number in self._wake_read.recv(4096):
                        if number in SIGNALS:
                            self._take(signal.Signals(number))
                    # The kernel may have given the signal to any thread; the handlers of others (a new size,
                    # a continued process) run in the main thread only once that wakes up.
                    self._in_loop(_nothing)
                elif deadline is not None and deadline is self._deadline:
                    self._deadline = None
                    if not self._is_met(deadline):
                        self._end_process(deadline.number)

    def _take(self, number: signal.Signals) -> None:
        # A closed terminal sends several hang-ups: the kernel's, the shell's and the driver's are one.
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
        with contextlib.ExitStack() as steps:  # from the last to the first, whatever the others raise
            steps.callback(os._exit, 128 + number)
            steps.callback(self._last_resort)
            steps.callback(self._restore)


def install_signals(
    on_signal: OnSignal,
    *,
    loop: asyncio.AbstractEventLoop,
    restore: Callable[[], object],
    last_resort: Callable[[], object] = _nothing,
    patience: float = PATIENCE,
) -> SignalWatch:
    """Watch SIGINT, SIGTERM and SIGHUP until the result is closed. Main thread only.

    The process is ended with 128 + the signal's number, after `restore` and then `last_resort` were called in
    a thread of ours (they must be quick), when
    - `patience` seconds after a SIGTERM or SIGHUP, or after a second signal of any kind, the loop has not
      begun to handle it, or
    - `patience` seconds after a second signal that is a SIGTERM or SIGHUP the process is still there.

    Raises ValueError outside the main thread.
    """
    watch = SignalWatch(on_signal, loop=loop, restore=restore, last_resort=last_resort, patience=patience)
    watch.install()
    return watch
