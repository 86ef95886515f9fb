"""The front end without a screen: a prompt in, the reply on standard output, a code at exit.

Nothing but the reply is ever written to standard output; what else there is to say goes to standard error.
It works without a terminal and must never import a screen library. Writing happens in threads, so that a
reader who is slow, or stopped, cannot hold up a stop (Q1, Q4), not even one that comes when the reply is
complete and only its writing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from core.costs import Spending
from core.events import (
    Answer,
    AnswerKind,
    BackOffStarted,
    CallEnded,
    CallStarted,
    Event,
    ModelFailedOver,
    Notice,
    Outcome,
    ParametersLeftOut,
    QuestionAsked,
    TextArrived,
    TurnEnded,
)
from core.sanitize import PrintableStream, printable
from core.waits import in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.session import Session

LAST_WORDS_S = 1.0
"""How long the end of the reply may take to be written after a stop, and what is said on standard error at
any end; a reader who is gone takes no more."""


NOBODY = "There is nobody to ask here: do it without this, or say what you would have done."
"""What a model is told whose call would have needed an answer."""


class ExitCode(IntEnum):
    """What `caesura run` ends with; one that signal n has stopped or hurried ends with 128 + n."""

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
    """Writes to a descriptor from a thread of its own; `on_closed`, in the loop, says that nobody reads it.

    The thread is a daemon: one that is stuck in a write ends with the process.
    """

    def __init__(self, fd: int, name: str, on_closed: Callable[[], object] = lambda: None) -> None:
        self._fd = fd
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def write(self, text: str) -> None:
        self._texts.put(text)

    def finish(self) -> asyncio.Future[None]:
        """Nothing more will come; the result is done when all is written or nobody reads any more."""
        self._texts.put(None)
        return self._finished

    def _run(self) -> None:
        try:
            while (text := self._texts.get()) is not None:
                rest = memoryview(text.encode("utf-8", "replace"))
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._tell(self._on_closed)
        self._tell(self._finished.set_result, None)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)


class Headless:
    """Runs one prompt through a session and says how it ended."""

    def __init__(self, session: Session, output: Output) -> None:
        self._session = session
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._ended: TurnEnded | None = None
        self._signal: signal.Signals | None = None
        self._output_closed = False
        self._hurried: asyncio.Future[None] = self._loop.create_future()
        to_terminal = os.isatty(sys.stdout.fileno())
        self._printable = PrintableStream() if to_terminal else None
        self._last = "\n"
        self._paragraph = ""
        self._running: dict[str, str] = {}
        self._writer = _Writer(sys.stdout.fileno(), "standard output", self._on_output_closed)
        self._errors = _Writer(sys.stderr.fileno(), "standard error")

    async def run(self, prompt: str) -> int:
        """The exit code. Raises `core.session.SessionError` for a prompt that is none."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            self._loop.add_signal_handler(number, self._on_signal, number)
        unsubscribe = self._session.subscribe(self._on_event)
        # Its prices and its window; asked first, so that it is known before the reply has an end.
        self._session.model.describe_soon()
        try:
            self._session.submit(prompt)
            await self._session.wait_idle()
        finally:
            unsubscribe()
        self._write_end()
        await self._wait_written()
        # Only now: on a terminal the two must not mix.
        self._say_end()
        await asyncio.wait({self._errors.finish()}, timeout=LAST_WORDS_S)
        for number in signals:
            self._loop.remove_signal_handler(number)
        return self._exit_code()

    async def _wait_written(self) -> None:
        """Wait for a reader as long as it takes, but from a signal on for `LAST_WORDS_S` at most."""
        written = self._writer.finish()
        await asyncio.wait({written, self._hurried}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({written}, timeout=LAST_WORDS_S)

    def _hurry(self) -> None:
        if not self._hurried.done():
            self._hurried.set_result(None)

    def _on_signal(self, number: signal.Signals) -> None:
        """Q1: the first stops as a key would, a second one skips the grace."""
        self._hurry()
        if self._signal is None:
            self._signal = number
            self._session.stop(CancelReason(Cause.SIGNAL, number.name))
        else:
            self._session.force()

    def _on_output_closed(self) -> None:
        self._output_closed = True
        self._hurry()
        self._session.stop(CancelReason(Cause.CLIENT, "standard output was closed"))

    def _on_event(self, event: Event) -> None:
        match event:
            case TextArrived(text=text):
                if self._output is Output.TEXT:
                    self._write(self._paragraph + text)
                    self._paragraph = ""
            case CallStarted(title=title):
                self._paragraph = "\n\n" if self._last != "\n" else ""
                self._running[event.call_id] = title
            case CallEnded(name=name, status=status):
                title = self._running.pop(event.call_id, event.title)
                self._say(f"{name} {title}: {status}")
            case QuestionAsked(question=question):
                # Nobody is there to answer; after this listener the question is open.
                self._loop.call_soon(self._session.answer, question.ask_id, Answer(AnswerKind.DENY, NOBODY))
            case Notice(text=text):
                self._say(text)
            case BackOffStarted() | ModelFailedOver() | ParametersLeftOut():
                self._say(in_words(event))
            case TurnEnded():
                self._ended = event
            case _:
                pass

    def _write(self, text: str) -> None:
        """A terminal gets no control sequence of the model's; a file gets the reply as it is."""
        self._write_shown(text if self._printable is None else self._printable.feed(text))

    def _write_shown(self, shown: str) -> None:
        self._last = shown[-1:] or self._last
        self._writer.write(shown)

    def _write_end(self) -> None:
        assert self._ended is not None
        match self._output:
            case Output.JSON:
                # Escapes say the same to a program and nothing to a terminal.
                escaped = self._printable is not None
                told = asdict(self._ended) | self._figures()
                self._writer.write(json.dumps(told, ensure_ascii=escaped) + "\n")
            case Output.TEXT:
                if self._printable is not None:
                    self._write_shown(self._printable.close())
                if self._last != "\n":
                    self._writer.write("\n")
            case _:
                assert_never(self._output)

    def _figures(self) -> dict[str, object]:
        """Where to go on, and what the turn has used and cost (H6); None where that is not known."""
        session = self._session
        spent = session.record.spent_in(session.record.turns[-1].turn) if session.record.turns else Spending()
        return {
            "session": session.session_id,
            "model": session.history[-1].model if session.history else session.choice.model,
            "usage": None if spent == Spending() else asdict(spent.usage),
            "cost": spent.dollars,
        }

    def _say_end(self) -> None:
        assert self._ended is not None
        proof = self._ended.proof
        if self._ended.error is not None:
            self._say(self._ended.error)
        elif proof is not None:
            after = "" if proof.after_s is None else f" after {proof.after_s * 1000:.1f} ms"
            how = "" if proof.closing is None else f", connection {proof.closing}"
            self._say(f"{self._ended.outcome} by {proof.source}{after}{how}")
        if self._ended.unsaved is not None:
            self._say(self._ended.unsaved)

    def _say(self, text: str) -> None:
        self._errors.write(f"caesura: {printable(text)}\n")

    def _exit_code(self) -> int:
        """A signal counts for a complete reply too: it may have cut what was left to write."""
        assert self._ended is not None
        if self._output_closed:
            return ExitCode.OUTPUT_CLOSED
        if self._signal is not None:
            return 128 + self._signal
        match self._ended.outcome:
            case Outcome.COMPLETED:
                return ExitCode.COMPLETED if self._ended.unsaved is None else ExitCode.FAILED
            case Outcome.CANCELLED:
                return 128 + signal.SIGINT
            case Outcome.TIMEOUT:
                return ExitCode.TIMED_OUT
            case Outcome.ERROR | Outcome.MAX_TURNS_REACHED | Outcome.MAX_BUDGET_REACHED:
                return ExitCode.FAILED
            case _:
                assert_never(self._ended.outcome)


async def run_prompt(session: Session, prompt: str, output: Output) -> int:
    """Run `prompt` in a session and close that; the exit code."""
    try:
        return await Headless(session, output).run(prompt)
    finally:
        await session.aclose(CancelReason(Cause.QUIT, "end of the program"))
