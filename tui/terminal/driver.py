"""The terminal driver: Esc without a delay and without the event loop, and one way to restore the terminal.

Purpose: Textual's Linux driver waits 100 ms for every plain Esc, passes it to the event loop like any key,
and leaves the terminal broken if the process does not end through the loop. Here the input thread itself
presses the application's `InterruptGate` and only informs the loop.

It must never deliver a press twice (to the gate and as a key), take a part of another key for Esc, wait for
the event loop in the input thread, or change the order of what was typed.

Ctrl+Z and SIGTSTP work as in Textual: the terminal is given back, and taken again on SIGCONT.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import termios
import threading
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any, Final, TextIO, assert_never, cast

from textual import constants, events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui.terminal.interrupt import InterruptGate, InterruptKey, Press
from tui.terminal.keystream import (
    ESC,
    SSH_ESCAPE_WAIT,
    Answer,
    Chord,
    KeyStream,
    Pasted,
    Pressed,
    Sequence,
    Text,
    Unit,
)
from tui.terminal.kitty import read_report
from tui.terminal.looks import ASK, ASK_NO_MORE, may_ask, read_answer
from tui.terminal.restore import DRAIN_LIMIT, own_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from textual.app import App

    from tui.terminal.looks import Scheme

READ_SIZE: Final = 1 << 16
_REPORT_ALTERNATE_KEYS: Final = "\x1b[=4;2u"
"""Adds to the kitty flags that Textual pushed: the key's place on a US keyboard, so that Ctrl+C is found on a
keyboard of another script too. Popped with the other flags."""


class Interrupted(Message, bubble=False):
    """Sent to the app after a press went to the gate's target, so that the screen can show it.

    It does not ask to stop anything: that has happened. No key event follows.
    """

    def __init__(self, press: Press) -> None:
        super().__init__()
        self.press = press


class SchemeReported(Message, bubble=False):
    """Sent to an app that follows the terminal: the terminal is now dark, or light."""

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self.scheme = scheme


class KeyParser(XTermParser):
    """Textual's parser, given whole sequences: unknown ones are dropped instead of typed."""

    def of_sequence(self, sequence: str) -> Iterator[Message]:
        """The events of one whole escape sequence."""
        if read_report(sequence) is not None and (keys := list(self._sequence_to_key_events(sequence))):
            # Longer than the parser's limit of 32 characters, as a word from an input method can be.
            yield from (key for key in keys if key.key != "<ignore>")
            return
        yield from self.feed(sequence)
        if self._timeout_time is not None:
            self._timeout_time = 0.0
            for _ in self.tick():
                pass

    def of_chord(self, character: str) -> Iterator[Message]:
        """The event of Alt with `character`; Alt+Enter is a key of its own."""
        if character == "\r":
            yield events.Key("alt+enter", None)
            return
        known = list(self._sequence_to_key_events(ESC + character))
        yield from known or self._sequence_to_key_events(character, alt=True)


def escape_wait(environment: Mapping[str, str]) -> float:
    """Seconds of silence that make a lone ESC the Esc key: none if the terminal is on this machine."""
    return SSH_ESCAPE_WAIT if "SSH_CONNECTION" in environment else 0.0


class CaesuraDriver(LinuxDriver):
    """The driver to pass as `driver_class` to an App that has an `interrupt_gate`, else it raises TypeError.

    An app with a true `follows_scheme` is sent `SchemeReported`.
    """

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        gate = getattr(app, "interrupt_gate", None)
        if not isinstance(gate, InterruptGate):
            raise TypeError("CaesuraDriver needs an App with an InterruptGate as `interrupt_gate`")
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._gate = gate
        self._terminal = own_terminal(self.fileno, cast("TextIO", self._file).fileno())
        self._file = cast("Any", self._terminal.output)
        self._reader: threading.Thread | None = None
        self._follows_scheme = bool(getattr(app, "follows_scheme", False))
        self._leaving = threading.Event()
        self._frame: list[str] = []
        self._wake_read, self._wake_write = os.pipe()

    def write(self, data: str) -> None:
        """Write to the terminal while this process has it; drop the data before and after that.

        A frame wakes the thread that writes once, not for each of its three parts: a switch between threads
        costs more than the frame.
        """
        if not self._terminal.taken or self._writer_thread is None:
            self._frame.clear()
            return
        if data == SYNC_START or self._frame:
            self._frame.append(data)
            if data != SYNC_END:
                return
            data = "".join(self._frame)
            self._frame.clear()
        super().write(data)

    def start_application_mode(self) -> None:
        """Take the terminal."""
        self._terminal.take()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if not constants.DISABLE_KITTY_KEY:
            self.write(_REPORT_ALTERNATE_KEYS)
        if self._follows_scheme:
            self._ask_scheme()

    def follow_scheme(self, *, follow: bool) -> None:
        """Ask the terminal whether it is dark and request reports of changes, or end these reports.

        Nothing waits for the answer, and there may be none.
        """
        if follow:
            self._ask_scheme()
        elif self._follows_scheme:
            self.write(ASK_NO_MORE)
        self._follows_scheme = follow

    def _ask_scheme(self) -> None:
        if self.input_tty and may_ask(os.environ):
            self.write(ASK)

    def disable_input(self) -> None:
        """Stop reading immediately. What is typed from now on is dropped."""
        if self._key_thread is not None:
            self._key_thread.join()
        reader, self._reader = self._reader, None
        if reader is None:
            return
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        self._disable_mouse_support()
        self._leaving.set()
        os.write(self._wake_write, b"\0")
        reader.join()
        os.read(self._wake_read, 1)
        self._leaving.clear()
        with contextlib.suppress(termios.error):
            termios.tcflush(self.fileno, termios.TCIFLUSH)

    def stop_application_mode(self) -> None:
        """Give the terminal back, in bounded time even if it accepts no output."""
        self.disable_input()
        writer, self._writer_thread = self._writer_thread, None
        if writer is not None:
            self._terminal.output.finish(DRAIN_LIMIT)
            writer.stop()
        self._in_band_window_resize = False
        self._terminal.restore()

    def _sigtstp_application(self, *_: object) -> None:
        # Not while the main thread is in the middle of something: it may hold the lock of the output's queue.
        # While another program has the terminal (App.suspend) there is no output, and no loop to run this.
        if self._auto_restart:
            self._in_loop(super()._sigtstp_application)
        else:
            super()._sigtstp_application()

    def _sigcont_application(self, *_: object) -> None:
        if self._auto_restart:
            self._in_loop(self._continue)

    def _in_loop(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed and takes nothing
            self._loop.call_soon_threadsafe(callback)

    def _continue(self) -> None:
        """Continue after a stop. SIGSTOP gives no warning and leaves the terminal taken: take it again, or a
        second input thread would compete with the first."""
        if self._terminal.taken:
            self.suspend_application_mode()
            self._must_signal_resume = True
        if self._must_signal_resume:
            self.resume_application_mode()

    def _run_input_thread(self) -> None:
        # Textual's thread is no daemon: an exit that skips `disable_input` would wait for it forever, with
        # the terminal still taken.
        self._reader = threading.Thread(target=super()._run_input_thread, name="caesura-input", daemon=True)
        self._reader.start()

    def run_input_thread(self) -> None:
        """Read, cut into keys, and handle them, until told to leave or until the terminal is gone."""
        keys = KeyStream(escape_wait=escape_wait(os.environ))
        parser = KeyParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            terminal = selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._leaving.is_set():
                ready = selector.select(keys.patience)
                if not ready:
                    units = keys.expire()
                elif any(key is terminal for key, _ in ready):
                    data = self._read()
                    if data is None:
                        return
                    more = bool(select.select([self.fileno], [], [], 0)[0])
                    units = keys.feed(decode(data), more=more)
                else:
                    continue
                for unit in units:
                    self._handle(unit, parser)

    def _read(self) -> bytes | None:
        """Available input; None if the terminal is gone, which then counts as a hang-up.

        Under `nohup`, where a hang-up is ignored, it is a SIGTERM: an unreachable process must end.
        """
        try:
            data = os.read(self.fileno, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if data:
            return data
        if self.input_tty and not self._leaving.is_set():
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM if ignored else signal.SIGHUP)
        return None

    def _handle(self, unit: Unit, parser: KeyParser) -> None:
        match unit:
            case Text():
                self._send_keys(parser.feed(unit.characters))
            case Sequence():
                self._send_keys(parser.of_sequence(unit.text))
            case Pasted():
                self.process_message(events.Paste(unit.text.replace("\0", "")))
            case Pressed():
                self._press(unit, parser)
            case Chord() if self._gate.armed:
                self._press(Pressed(InterruptKey.ESCAPE, ESC), parser)
                self._send_keys(parser.feed(unit.character))
            case Chord():
                self._send_keys(parser.of_chord(unit.character))
            case Answer():
                if self._follows_scheme and (scheme := read_answer(unit.text)) is not None:
                    self.process_message(SchemeReported(scheme))
            case _:
                assert_never(unit)

    def _press(self, pressed: Pressed, parser: KeyParser) -> None:
        if pressed.held and self._gate.is_armed(pressed.key):
            return
        press = self._gate.press(pressed.key)
        if press is not None:
            self.process_message(Interrupted(press))
        elif pressed.raw == ESC:
            self.process_message(events.Key("escape", ESC))
        elif len(pressed.raw) == 1:
            self._send_keys(parser.feed(pressed.raw))
        else:
            self._send_keys(parser.of_sequence(pressed.raw))

    def _send_keys(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)
