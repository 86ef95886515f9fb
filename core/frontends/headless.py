"""`caesura run`: takes one prompt, writes the reply to standard output and returns an exit code.

Only the reply is written to standard output; messages go to standard error. It works without a terminal and
must never import a screen library. Writing happens in threads, so that a slow or stopped reader cannot hold
up a stop (Q1, Q4), even one that comes when only the writing is left.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec.structs import asdict

from core.base.output import LAST_MESSAGES_S, OutputThread
from core.base.sanitize import PrintableStream, printable
from core.cancel import END_OF_PROGRAM, CancelReason, Cause
from core.model.costs import Spend
from core.model.reply_end import ReplyEnd
from core.operations.backoffs import describe
from core.operations.events import (
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

if TYPE_CHECKING:
    from core.session.session import Session

NOBODY = "There is nobody to ask here: do it without this, or say what you would have done."
"""The answer to a call that asks a question."""


class ExitCode(IntEnum):
    """The exit codes of `caesura run`. After a signal n the code is 128 + n."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CUT = 3
    FILTERED = 4
    EMPTY = 5
    BROKEN_OFF = 6
    UNKNOWN_END = 7
    TIMED_OUT = 124
    OUTPUT_CLOSED = 141


class Output(StrEnum):
    """TEXT: the reply as it comes. JSON: one object at the end, the final event with the whole text."""

    TEXT = "text"
    JSON = "json"


class Headless:
    """Runs one prompt in a session."""

    def __init__(self, session: Session, output: Output) -> None:
        self._session = session
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._ended: TurnEnded | None = None
        self._signal: signal.Signals | None = None
        self._output_closed = False
        self._signalled: asyncio.Future[None] = self._loop.create_future()
        self._printable = PrintableStream() if os.isatty(sys.stdout.fileno()) else None
        self._last = "\n"
        self._paragraph = ""
        self._running: dict[str, str] = {}
        self._writer = OutputThread(sys.stdout.fileno(), "standard output", self._on_output_closed)
        self._errors = OutputThread(sys.stderr.fileno(), "standard error")

    async def run(self, prompt: str) -> int:
        """Run the prompt and return the exit code. Raises `core.session.session.SessionError` if it is
        empty."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            self._loop.add_signal_handler(number, self._on_signal, number)
        unsubscribe = self._session.subscribe(self._on_event)
        # Prices and window of the model, requested first so that they are known when the reply ends.
        self._session.model.describe_soon()
        try:
            self._session.submit(prompt)
            await self._session.wait_idle()
        finally:
            unsubscribe()
        self._write_end()
        await self._wait_written()
        # After the reply, because on a terminal the two must not mix.
        self._write_end_message()
        await asyncio.wait({self._errors.finish()}, timeout=LAST_MESSAGES_S)
        for number in signals:
            self._loop.remove_signal_handler(number)
        return self._exit_code()

    async def _wait_written(self) -> None:
        """Wait until all is written; after a signal for `LAST_MESSAGES_S` at most."""
        written = self._writer.finish()
        await asyncio.wait({written, self._signalled}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({written}, timeout=LAST_MESSAGES_S)

    def _stop_waiting(self) -> None:
        if not self._signalled.done():
            self._signalled.set_result(None)

    def _on_signal(self, number: signal.Signals) -> None:
        """The first signal stops as a key does, a second one skips the grace (Q1)."""
        self._stop_waiting()
        if self._signal is None:
            self._signal = number
            self._session.stop(CancelReason(Cause.SIGNAL, number.name))
        else:
            self._session.force()

    def _on_output_closed(self) -> None:
        self._output_closed = True
        self._stop_waiting()
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
                self._write_message(f"{name} {title}: {status}")
            case QuestionAsked(question=question):
                # No person can answer. The question is open only after this listener has returned.
                self._loop.call_soon(
                    self._session.questions.answer, question.ask_id, Answer(AnswerKind.DENY, NOBODY)
                )
            case Notice(text=text):
                self._write_message(text)
            case BackOffStarted() | ModelFailedOver() | ParametersLeftOut():
                self._write_message(describe(event))
            case TurnEnded():
                self._ended = event
            case _:
                pass

    def _write(self, text: str) -> None:
        """A terminal gets no control sequences of the model; a file gets the reply as it is."""
        self._write_shown(text if self._printable is None else self._printable.feed(text))

    def _write_shown(self, shown: str) -> None:
        self._last = shown[-1:] or self._last
        self._writer.write(shown)

    def _write_end(self) -> None:
        assert self._ended is not None
        match self._output:
            case Output.JSON:
                # JSON escapes mean the same to a program and are harmless on a terminal.
                escaped = self._printable is not None
                told = msgspec.to_builtins(self._ended) | self._figures()
                self._writer.write(json.dumps(told, ensure_ascii=escaped) + "\n")
            case Output.TEXT:
                if self._printable is not None:
                    self._write_shown(self._printable.close())
                if self._last != "\n":
                    self._writer.write("\n")
            case _:
                assert_never(self._output)

    def _figures(self) -> dict[str, object]:
        """The session, and what the turn has used and cost (H6); None for what is not known."""
        session, record = self._session, self._session.record
        spent = record.spent_in(record.turns[-1].turn) if record.turns else Spend()
        steps = record.plain_steps
        return {
            "session": session.session_id,
            "model": steps[-1].model if steps else session.model.choice.model,
            "usage": None if spent == Spend() else asdict(spent.usage),
            "cost": spent.dollars,
        }

    def _write_end_message(self) -> None:
        assert self._ended is not None
        proof = self._ended.proof
        if self._ended.error is not None:
            self._write_message(self._ended.error)
        elif proof is not None:
            after = "" if proof.after_s is None else f" after {proof.after_s * 1000:.1f} ms"
            how = "" if proof.closing is None else f", connection {proof.closing}"
            left = (
                f"; asked to stop, not confirmed: {', '.join(proof.unconfirmed)}" if proof.unconfirmed else ""
            )
            self._write_message(f"{self._ended.outcome} by {proof.source}{after}{how}{left}")
        if self._ended.unsaved is not None:
            self._write_message(self._ended.unsaved)

    def _write_message(self, text: str) -> None:
        self._errors.write(f"caesura: {printable(text)}\n")

    def _exit_code(self) -> int:
        """A signal counts after a complete reply too: it may have cut the output."""
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
            case Outcome.ERROR:
                return _code_of(self._ended.end)
            case Outcome.MAX_TURNS_REACHED | Outcome.MAX_BUDGET_REACHED:
                return ExitCode.FAILED
            case _:
                assert_never(self._ended.outcome)


def _code_of(end: ReplyEnd | None) -> ExitCode:
    """The code of a failed turn whose last reply ended like this (P7)."""
    match end:
        case ReplyEnd.CUT:
            return ExitCode.CUT
        case ReplyEnd.FILTERED:
            return ExitCode.FILTERED
        case ReplyEnd.EMPTY:
            return ExitCode.EMPTY
        case ReplyEnd.BROKEN_OFF:
            return ExitCode.BROKEN_OFF
        case ReplyEnd.UNKNOWN:
            return ExitCode.UNKNOWN_END
        case (
            None
            | ReplyEnd.COMPLETE
            | ReplyEnd.CALLS
            | ReplyEnd.FAILED
            | ReplyEnd.STOPPED
            | ReplyEnd.INTERRUPTED
        ):
            return ExitCode.FAILED
        case _:
            assert_never(end)


async def run_prompt(session: Session, prompt: str, output: Output) -> int:
    """Run `prompt` in a session, close the session and return the exit code."""
    try:
        return await Headless(session, output).run(prompt)
    finally:
        await session.aclose(CancelReason(Cause.QUIT, END_OF_PROGRAM))
