"""The front end without a screen: a prompt in, the reply on standard output, a code at exit.

Nothing but the reply is ever written to standard output; what else there is to say goes to standard error.
It works without a terminal and must never import a screen library. Writing happens in a thread, so that a
reader who is slow, or stopped, cannot hold up a stop (Q1, Q4).
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, assert_never

from core.cancel import CancelReason, Cause
from core.events import CallRefused, Event, Outcome, TextArrived, TurnEnded
from core.sanitize import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.session import Session

LAST_WORDS_S = 1.0
"""How long the end of the reply may take to be written after a stop; a reader who is gone takes no more."""


class ExitCode(IntEnum):
    """What `caesura run` ends with; a stop by signal n ends with 128 + n."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 124
    OUTPUT_CLOSED = 141


class Output(StrEnum):
    """TEXT: the reply as it comes. JSON: one object at the end, the final event with the whole text."""

    TEXT = "text"
    JSON = "json"


class _Writer:
    """Writes to a descriptor from a thread of its own; calls `on_closed` there when nobody reads any more."""

    def __init__(self, fd: int, on_closed: Callable[[], object]) -> None:
        self._fd = fd
        self._on_closed = on_closed
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="standard output", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        self._texts.put(text)

    def finish(self, seconds: float | None) -> None:
        """Wait until all is written, for `seconds` at most."""
        self._texts.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                rest = memoryview(text.encode("utf-8", "replace"))
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError:
                self._on_closed()
                return


class Headless:
    """Runs one prompt through a session and says how it ended."""

    def __init__(self, session: Session, output: Output) -> None:
        self._session = session
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._ended: TurnEnded | None = None
        self._signal: signal.Signals | None = None
        self._output_closed = False
        self._to_terminal = os.isatty(sys.stdout.fileno())
        self._last = "\n"
        self._writer = _Writer(
            sys.stdout.fileno(), lambda: self._loop.call_soon_threadsafe(self._on_output_closed)
        )

    async def run(self, prompt: str) -> int:
        """The exit code. Raises `core.session.SessionError` for a prompt that is none."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            self._loop.add_signal_handler(number, self._on_signal, number)
        unsubscribe = self._session.subscribe(self._on_event)
        try:
            self._session.submit(prompt)
            await self._session.wait_idle()
        finally:
            unsubscribe()
        self._tell_end()
        stopped = self._signal is not None or self._output_closed
        await asyncio.to_thread(self._writer.finish, LAST_WORDS_S if stopped else None)
        for number in signals:
            self._loop.remove_signal_handler(number)
        return self._exit_code()

    def _on_signal(self, number: signal.Signals) -> None:
        """Q1: the first stops as a key would, a second one skips the grace."""
        if self._signal is None:
            self._signal = number
            self._session.stop(CancelReason(Cause.SIGNAL, number.name))
        else:
            self._session.force()

    def _on_output_closed(self) -> None:
        self._output_closed = True
        self._session.stop(CancelReason(Cause.CLIENT, "standard output was closed"))

    def _on_event(self, event: Event) -> None:
        match event:
            case TextArrived(text=text):
                if self._output is Output.TEXT:
                    self._write(text)
            case CallRefused(name=name):
                _say(f"the model asked for the tool {name}, but there are no tools yet")
            case TurnEnded():
                self._ended = event
            case _:
                pass

    def _write(self, text: str) -> None:
        """A terminal gets no control sequence of the model's; a file gets the reply as it is."""
        shown = printable(text) if self._to_terminal else text
        self._last = shown[-1:] or self._last
        self._writer.write(shown)

    def _tell_end(self) -> None:
        assert self._ended is not None
        match self._output:
            case Output.JSON:
                self._writer.write(json.dumps(asdict(self._ended), ensure_ascii=False) + "\n")
            case Output.TEXT:
                if self._last != "\n":
                    self._writer.write("\n")
            case _:
                assert_never(self._output)
        proof = self._ended.proof
        if self._ended.error is not None:
            _say(self._ended.error)
        elif proof is not None:
            after = "" if proof.after_s is None else f" after {proof.after_s * 1000:.1f} ms"
            how = "" if proof.closing is None else f", connection {proof.closing}"
            _say(f"{self._ended.outcome} by {proof.source}{after}{how}")

    def _exit_code(self) -> int:
        assert self._ended is not None
        if self._output_closed:
            return ExitCode.OUTPUT_CLOSED
        match self._ended.outcome:
            case Outcome.COMPLETED:
                return ExitCode.COMPLETED
            case Outcome.CANCELLED:
                return 128 + (self._signal or signal.SIGINT)
            case Outcome.TIMEOUT:
                return ExitCode.TIMED_OUT
            case Outcome.ERROR | Outcome.MAX_TURNS_REACHED | Outcome.MAX_BUDGET_REACHED:
                return ExitCode.FAILED
            case _:
                assert_never(self._ended.outcome)


def _say(text: str) -> None:
    print(f"caesura: {printable(text)}", file=sys.stderr, flush=True)


async def run_prompt(make_session: Callable[[], Session], prompt: str, output: Output) -> int:
    """Make a session, run `prompt` in it, close it; the exit code."""
    session = make_session()
    try:
        return await Headless(session, output).run(prompt)
    finally:
        await session.aclose(CancelReason(Cause.QUIT, "end of the program"))
