"""The parent's side of the model process: start it, talk to it, stop one stream, kill it, start it again.

A thread of its own does all the talking and all the waiting, so that a stop needs nothing of the event loop:
`CancelToken.cancel`, in whatever thread, writes the cancel message itself, and this thread kills the child
when it does not confirm in time, sockets and all (P4). The thread also starts the children.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, assert_never

from core.cancel import shielded
from core.model import (
    Closing,
    Emit,
    FailureKind,
    Finished,
    ModelInfo,
    ModelRequest,
    Offer,
)
from providers.call import Call, died, failed, prove, receive
from providers.child import Child, start_child
from providers.questions import Questions
from providers.wire import (
    Cancel,
    Describe,
    Described,
    End,
    Failed,
    Listed,
    ListModels,
    Open,
    Piece,
    Ready,
    Stopped,
    ToChild,
    ToParent,
    UseKey,
    dump_to_child,
    load_to_parent,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.cancel import CancelToken

log = logging.getLogger(__name__)

CONFIRM_WITHIN_S = 0.25
"""A stop that the child has not confirmed by then is enforced by SIGKILL (P4)."""

END_WITHIN_S = 2.0
"""How long a stopped stream waits for its end, kill included; the last bound behind all others (T7)."""

READY_WITHIN_S = 90.0
"""A child that has not got ready by then never will; a slow machine takes ten seconds for the import."""

SLOW_START_S = 15.0
"""A stop of a request that has waited this long for a start ends the start too: the next begins afresh."""

_CHUNK = 1 << 18


class ModelProcess:
    """A `core.model.ModelProvider` whose library lives in a process of its own, and its `core.model.Catalog`.

    `start` returns at once and may be called before there is an event loop; `close` ends the child and the
    thread. One instance serves any number of streams at once, from any number of event loops. What the child
    writes to its standard error goes to the file that `log_file` names, in the thread, or nowhere.
    """

    def __init__(self, log_file: Callable[[], Path] | None = None) -> None:
        self._log_file = log_file
        # Re-entrant, because a signal handler that cancels may interrupt a holder. Never held while waiting.
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._questions = Questions(self._ids, self._ask)
        self._typed_keys: dict[str, str] = {}
        self._outgoing = bytearray()
        self._child: Child | None = None
        self._child_is_ready = False
        self._ready_by = 0.0
        self._wanted = True
        self._closing = False
        # Sockets and not descriptors of a pipe: whoever is late to wake the thread finds them closed, and not
        # some other file under their number.
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="model-process", daemon=True)
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The child's process id, None between two children."""
        child = self._child
        return None if child is None else child.pid

    def start(self) -> None:
        """Start the child, so that it is warm when the first prompt comes."""
        self._thread.start()

    def close(self) -> None:
        """End the child and everything it has open. Waits for it, for `END_WITHIN_S` at most."""
        self._closing = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(END_WITHIN_S)

    def kill(self) -> None:
        """End the child this instant, from any thread, without waiting: the program is about to end."""
        self._closing = True
        child = self._child
        if child is not None:
            child.kill()

    # -- the event loop's side --

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        """See `core.model.ModelProvider`. A child that dies before the first delta is replaced, once."""
        token.check()
        call = Call(next(self._ids), request, asyncio.get_running_loop())
        with token.on_cancel(lambda _: self._stop(call)), token.on_force(lambda _: self._force(call)):
            self._open(call)
            try:
                end = await receive(call, token, emit)
            finally:
                if call.end is None:
                    self._stop(call)
                    with shielded(END_WITHIN_S):
                        while call.end is None:
                            await call.wait_news()
                self._forget(call)
                if token.cancelled:
                    prove(call, emit)
        # Whatever its end was: what came after the stop has not been emitted, so it is no normal one (P3).
        token.check()
        match end:
            case End(_, reason, usage, model):
                return Finished(reason, usage, model)
            case Failed():
                raise end.error()
            case Stopped():
                raise died(request, shown=call.shown)
            case _:
                assert_never(end)

    async def describe(self, model: str) -> ModelInfo:
        """See `core.model.ModelProvider`. Answers "unknown" rather than waiting for long."""
        return await self._questions.describe(model)

    async def offers(self) -> tuple[Offer, ...]:
        """See `core.model.Catalog`: all models of litellm's catalogue, asked for once."""
        return await self._questions.offers()

    def use_key(self, name: str, value: str) -> None:
        """Use `value` as the key that is called `name`, until this is closed, in later children too; an empty
        one takes it back. It goes to the child through a pipe, and nowhere else. From any thread."""
        with self._lock:
            self._typed_keys[name] = value
            if self._child is not None:
                self._send(UseKey(name, value))
        self._questions.forget_offers()

    def _ask(self, question: Describe | ListModels) -> None:
        with self._lock:
            self._wanted = True
            self._send(question)
        self._wake()

    def _open(self, call: Call) -> None:
        """Hand a request to the thread, which can write a long conversation without holding up the loop."""
        with self._lock:
            if call.end is not None:
                return
            if self._closing:
                call.finish(failed(call))
                return
            self._calls[call.stream_id] = call
            self._wanted = True
        self._wake()

    def _stop(self, call: Call) -> None:
        """Ask for the end of a stream: from any thread, at once, without waiting."""
        now = time.monotonic()
        with self._lock:
            if call.end is not None or call.stop_by is not None:
                return
            if not call.sent:
                self._calls.pop(call.stream_id, None)
                call.finish(Stopped(call.stream_id, Closing.NEVER_OPENED, now))
                if not self._child_is_ready and self._ready_by - now < READY_WITHIN_S - SLOW_START_S:
                    self._ready_by = now
            else:
                call.stop_by = now + CONFIRM_WITHIN_S
                self._send(Cancel(call.stream_id))
        self._wake()

    def _force(self, call: Call) -> None:
        """A second stop: the time to confirm is over now. From any thread."""
        with self._lock:
            if call.stop_by is not None:
                call.stop_by = time.monotonic()
        self._wake()

    def _forget(self, call: Call) -> None:
        with self._lock:
            self._calls.pop(call.stream_id, None)

    def _send(self, message: ToChild) -> None:
        """Write now what fits into the pipe; the thread writes the rest. Call it with the lock held."""
        self._send_line(dump_to_child(message))

    def _send_line(self, line: bytes) -> None:
        idle = not self._outgoing
        self._outgoing += line
        if idle:
            self._write()
        if self._outgoing:
            self._wake()

    def _write(self) -> None:
        if self._child is None:
            return
        # A full pipe is written later; a broken one is noticed by the reader, which knows what to do.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            written = os.write(self._child.inbox, self._outgoing[:_CHUNK])
            del self._outgoing[:written]

    def _wake(self) -> None:
        # A full socket wakes as well as any; a closed one has nobody to wake.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    # -- the thread's side --

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:
            log.exception("the thread of the model process failed")
        self._closing = True
        self._bury("closed")
        with self._lock:
            left = list(self._calls.values())
            self._calls.clear()
        for call in left:
            self._settle(call, Stopped(call.stream_id, Closing.NEVER_OPENED, time.monotonic()))
        self._wake_read.close()
        self._wake_write.close()

    def _serve(self) -> None:
        partial = b""
        while not self._closing:
            if self._child is None and self._wanted:
                partial = b""
                self._start_child()
            readable = self._wait()
            if self._child is not None and self._child.outbox in readable:
                data = os.read(self._child.outbox, _CHUNK)
                *lines, partial = (partial + data).split(b"\n")
                if not data or not self._handle(lines):
                    self._bury("ended by itself" if not data else "does not make sense")
            self._open_waiting()
            self._kill_if_late()

    def _open_waiting(self) -> None:
        """Tell the child, once it is ready, of the requests that it has not been told of yet."""
        with self._lock:
            waiting = [call for call in self._calls.values() if not call.sent] if self._child_is_ready else []
        for call in waiting:
            line = dump_to_child(Open(call.stream_id, call.request))
            with self._lock:
                if call.end is None:
                    call.sent = True
                    self._send_line(line)

    def _wait(self) -> set[int]:
        """Wait for something to read, room to write, a wake-up, or the next deadline of a stop."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        with self._lock:
            if self._child is not None:
                poll.register(self._child.outbox, select.POLLIN)
                if self._outgoing:
                    poll.register(self._child.inbox, select.POLLOUT)
            deadlines = [call.stop_by for call in self._calls.values() if call.stop_by is not None]
            if self._child is not None and not self._child_is_ready:
                deadlines.append(self._ready_by)
        now = time.monotonic()
        limit_ms = max(0.0, (min(deadlines) - now) * 1000 + 1) if deadlines else None
        ready = {fd for fd, _ in poll.poll(limit_ms)}
        if self._wake_read.fileno() in ready:
            self._wake_read.recv(_CHUNK)
        with self._lock:
            if self._outgoing:
                self._write()
        return ready

    def _handle(self, lines: list[bytes]) -> bool:
        """Take what the child says; false when it makes no sense: then nothing of it is to be trusted."""
        for line in lines:
            try:
                message = load_to_parent(line)
            except (ValueError, TypeError, KeyError) as error:
                # Neither the line nor the error's words, which quote it: it may be text of the conversation.
                log.error("the model process said what cannot be read: %s", type(error).__name__)
                return False
            self._take(message)
        return True

    def _take(self, message: ToParent) -> None:
        match message:
            case Piece(stream_id, delta):
                if (call := self._calls.get(stream_id)) is not None:
                    call.deliver(delta)
            case End() | Failed() | Stopped():
                with self._lock:
                    ended = self._calls.pop(message.stream_id, None)
                if ended is not None:
                    ended.finish(message)
            case Described() | Listed():
                self._questions.answer(message)
            case Ready():
                self._child_is_ready = True
            case _:
                assert_never(message)

    def _kill_if_late(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [call for call in self._calls.values() if call.stop_by is not None and call.stop_by <= now]
        if late:
            log.warning("the model process did not confirm a stop within %g s: killed", CONFIRM_WITHIN_S)
            self._bury("killed")
        elif self._child is not None and not self._child_is_ready and self._ready_by <= now:
            self._bury("did not get ready")

    def _start_child(self) -> None:
        try:
            child = start_child(self._log_file)
        except OSError as error:
            log.exception("the model process could not be started")
            self._give_up(str(error.strerror))
            return
        with self._lock:
            self._ready_by = time.monotonic() + READY_WITHIN_S
            self._child = child
            # Before what was asked meanwhile, of which no line is written in part: nobody was there.
            typed = [UseKey(name, value) for name, value in self._typed_keys.items()]
            self._outgoing[:0] = b"".join(map(dump_to_child, typed))

    def _give_up(self, why: str) -> None:
        """There is no child and none can be made: fail what waits for it; the next request tries again."""
        with self._lock:
            self._wanted = False
            self._outgoing.clear()
            calls = list(self._calls.values())
            self._calls.clear()
        message = (
            f"The model process cannot be started ({why}): close other programs, then send the prompt again."
        )
        for call in calls:
            call.finish(Failed(call.stream_id, FailureKind.PROCESS_DIED, message, "", None, None))
        self._questions.give_up()

    def _bury(self, how: str) -> None:
        """Kill the child if it lives, wait for it, and settle what became of its streams."""
        child = self._child
        if child is None:
            return
        closing = Closing.KILLED if child.end() else Closing.UNCONFIRMED
        now = time.monotonic()
        with self._lock:
            self._child = None
            self._outgoing.clear()
            # One that never got ready would hardly do better at once; the next request tries again.
            self._wanted = self._child_is_ready and not self._closing
            self._child_is_ready = False
            calls = list(self._calls.values())
            self._calls.clear()
        child.close()
        log.info("the model process %d %s", child.pid, how)
        self.restarts += not self._closing
        self._questions.give_up()
        for call in calls:
            self._settle(call, Stopped(call.stream_id, closing, now))

    def _settle(self, call: Call, stopped: Stopped) -> None:
        """What becomes of a stream whose process has ended: `stopped`, if that was asked for."""
        if call.stop_by is not None:
            call.finish(stopped)
        elif call.shown or call.restarted or self._closing:
            call.finish(failed(call))
        else:
            call.restarted = True
            call.sent = False
            self._open(call)
