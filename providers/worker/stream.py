"""A stream in a child: its deltas, its silence, its end, and what a failure of it means.

The task that runs it is cancelled exactly once: litellm would leak the connection of one that unwinds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.model.provider import (
    FailureKind,
    KeptAlive,
    ModelError,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from providers.reading.decoder import TooLong
from providers.reading.halves import HalfJoiner
from providers.reading.parser import Summary
from providers.reading.returned import Kind, note
from providers.reading.thinking import ThinkingFolder
from providers.wire import End, Failed
from providers.worker.errors import failures
from providers.worker.errors.classification import classify
from providers.worker.reasoning import signed
from providers.worker.sockets import SocketTrace, current_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.provider import ContentDelta
    from providers.wire import HandedOver
    from providers.worker.handover import Subject
    from providers.worker.outbox import Outbox

SIGNS_OF_LIFE_S = 1.0
"""How often it is told that something came without a word, and for how long no word has come by then."""

log = logging.getLogger("caesura.worker")


NO_WORDS = (TextDelta(""), ReasoningDelta(""))


class Stream(ABC):
    """One request under way, its task, and the trace of its sockets. `stopping` confirms its stop."""

    def __init__(self, stream_id: int, subject: Subject, outbox: Outbox) -> None:
        self.stream_id = stream_id
        self.subject = subject
        self.trace = SocketTrace(
            lambda phase: outbox.send_delta(stream_id, PhaseChanged(phase)),
            self._hear,
            streaming=subject.streaming,
        )
        self.task: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[None] | None = None
        self.shown = False
        self._outbox = outbox
        self._summary = Summary()
        self._halves = HalfJoiner()
        self._thinking = ThinkingFolder()
        self._has_words = False
        # Times of the loop's clock: of the last word, of anything, and when a sign of life was told.
        self._word_at = 0.0
        self._heard_at = 0.0
        self._told_at = 0.0
        self._timed_out = False
        # Closes a stream that is silent for too long. Cancelled at the end: the pending timer would keep the
        # request, with its whole conversation, for the ten minutes of the limit.
        self._silence: asyncio.TimerHandle | None = None

    @property
    def provider(self) -> str:
        return self.subject.provider

    async def run(self) -> End | Failed | HandedOver:
        """Do the work of this stream. Returns how it ended."""
        try:
            return await self._work() or self._end()
        except ModelError as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 - any error of a library ends this stream alone
            # Without the traceback, whose frames could hold the key; the classified detail is scrubbed.
            # litellm leaves some failed connections open, such as Anthropic's.
            return self._failed(self._explain(error))
        finally:
            self._send(self._folded(self._halves.rest()))
            self._send(self._thinking.finish())
            if self._silence is not None:
                self._silence.cancel()

    @abstractmethod
    async def _work(self) -> HandedOver | None:
        """Send the request and emit the deltas of its reply, or hand it over. None for a reply that is
        over."""

    def lost(self) -> Failed:
        """The end of a stream that nobody stopped and that says nothing of its end itself."""
        return self._failed(self._unexplained())

    def _failed(self, error: ModelError) -> Failed:
        self.trace.abort()
        log.warning("%s failed: %s: %s\n%s", self.subject.model, error.kind, error, error.detail)
        return Failed.of(self.stream_id, error)

    def _emit(self, deltas: Iterable[ContentDelta]) -> None:
        self._hear()
        self.trace.progress()
        if not self.shown:
            self.shown = True
            if self.subject.dropped:
                dropped = ParametersDropped(self.subject.model, self.subject.dropped)
                self._outbox.send_delta(self.stream_id, dropped)
            self._outbox.send_delta(self.stream_id, PhaseChanged(Phase.STREAMING))
        self._send(self._folded(self._halves.join(deltas)))

    def _folded(self, deltas: Iterable[ContentDelta]) -> Iterable[ContentDelta]:
        return self._thinking.fold(deltas) if self.subject.folds_thinking else deltas

    def _hear(self) -> None:
        """Something has come: a piece of the reply, or only a ping or a comment."""
        now = self._heard_at = asyncio.get_running_loop().time()
        if self._has_words and now - max(self._word_at, self._told_at) >= SIGNS_OF_LIFE_S:
            self._told_at = now
            self._outbox.send_delta(self.stream_id, KeptAlive())

    def _send(self, deltas: Iterable[ContentDelta]) -> None:
        for delta in deltas:
            if delta in NO_WORDS:
                continue
            self._has_words, self._word_at = True, self._heard_at
            if (
                isinstance(delta, ToolCallDelta)
                and delta.call_id
                and not re.fullmatch(self.subject.call_ids, delta.call_id)
            ):
                # Nobody else may take such an id; who made it gets it back.
                self._send([note(Kind.CALLS, {delta.call_id: {}})])
            if isinstance(delta, ReasoningDelta) and delta.signature:
                delta = replace(delta, signature=signed(delta.signature, self.subject.signer))
            self._outbox.send_delta(self.stream_id, delta)

    def _watch_silence(self) -> None:
        """Close the connection of a stream that has been silent for its time limit: without a word at its
        beginning, and later without anything (`core.operations.silence`).

        Some providers of litellm ignore the limit. The task is not cancelled for it: only a stop does that,
        and only once.
        """
        current_trace.set(self.trace)
        loop, server = asyncio.get_running_loop(), self.subject.server
        started = loop.time()

        def look() -> None:
            limit = self._heard_at + server.idle_timeout
            left = (limit if self._has_words else started + server.first_byte_timeout) - loop.time()
            if left > 0:
                self._silence = loop.call_later(left, look)
            else:
                self._timed_out = True
                self.trace.abort()

        self._silence = loop.call_later(min(server.first_byte_timeout, server.idle_timeout), look)

    def _end(self) -> End:
        if self._timed_out:
            raise TimeoutError
        if self.trace.too_large:
            raise failures.too_large(self.subject.model)
        summary = self._summary
        if summary.finish is None:
            raise failures.cut_short(self.subject.model)
        model = summary.model or self.subject.model
        return End(self.stream_id, summary.finish, summary.usage, model, summary.words, summary.is_whole)

    def _explain(self, error: Exception) -> ModelError:
        """`_classify`, or an unknown failure if it raises: every stream needs an end."""
        try:
            return self._classify(error)
        except Exception as fault:  # noqa: BLE001
            log.error("a failure cannot be explained: %s, %s", type(error).__name__, type(fault).__name__)
            return self._unexplained()

    def _unexplained(self) -> ModelError:
        message = f"{self.subject.model} failed for a reason that is not understood: try again."
        return ModelError(FailureKind.UNKNOWN, message)

    def _classify(self, error: Exception) -> ModelError:
        subject = self.subject
        if self.trace.too_large or isinstance(error, TooLong):
            return failures.too_large(subject.model)
        return classify(
            TimeoutError() if self._timed_out else error,
            model=subject.model,
            provider=subject.provider,
            api_base=subject.api_base,
            secrets=subject.secrets,
            key_name=subject.key_name,
            address_setting=subject.address_setting,
        )
