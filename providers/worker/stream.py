"""One request: compiled by litellm, sent and read by us or by litellm, its end, and what a failure means.

The task that runs it is cancelled exactly once: litellm would leak the connection of one that unwinds.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from core.model.provider import (
    FailureKind,
    ModelError,
    ModelRequest,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    ToolCallDelta,
)
from providers.catalog import provider_of
from providers.keys.names import KeyProblem
from providers.reading.decoder import TooLong
from providers.reading.parser import Summary
from providers.reading.returned import Kind, note
from providers.reading.thinking import ThinkingFolder
from providers.wire import End, Failed
from providers.worker import failures, litellm_adapter
from providers.worker.amendments import with_added
from providers.worker.capture import Captured
from providers.worker.exchange import Slices, exchange
from providers.worker.reasoning import signed
from providers.worker.return_rules import ReturnRules
from providers.worker.sockets import SocketTrace, current_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from core.model.provider import ContentDelta
    from providers.keys.finder import KeyFinder
    from providers.reading.parser import Parser
    from providers.worker.exchange import Clients
    from providers.worker.outbox import Outbox

log = logging.getLogger("caesura.worker")

CLOSE_BOUND_S = 1.0
"""How long a library's stream may take to close itself after its normal end."""


class Stream:
    """One request under way, its task, and the trace of its sockets. `stopping` confirms its stop."""

    def __init__(
        self,
        stream_id: int,
        request: ModelRequest,
        outbox: Outbox,
        keys: KeyFinder,
        clients: Clients,
    ) -> None:
        self.stream_id = stream_id
        self.request = request
        self.trace = SocketTrace(
            lambda phase: outbox.send_delta(stream_id, PhaseChanged(phase)), streaming=request.streaming
        )
        self.task: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[None] | None = None
        self.provider = ""
        self.shown = False
        self._outbox = outbox
        self._keys = keys
        self._clients = clients
        self._summary = Summary()
        self._signer = ""
        self._thinking = ThinkingFolder()
        self._rules = ReturnRules()
        self._dropped: tuple[str, ...] = ()
        self._secrets: tuple[str, ...] = ()
        self._last_chunk_at = 0.0
        self._timed_out = False
        # Closes a stream that is silent for too long. Cancelled at the end: the pending timer would keep the
        # request, with its whole conversation, for the ten minutes of the limit.
        self._silence: asyncio.TimerHandle | None = None

    async def run(self) -> End | Failed:
        """Send the request and the deltas of its reply. Returns how it ended."""
        try:
            await self._stream()
            return self._end()
        except ModelError as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 - any error of the library ends this stream alone
            # Without the traceback, whose frames could hold the key; the classified detail is scrubbed.
            # litellm leaves some failed connections open, such as Anthropic's.
            return self._failed(self._explain(error))
        finally:
            self._send(self._thinking.finish())
            if self._silence is not None:
                self._silence.cancel()

    def _failed(self, error: ModelError) -> Failed:
        self.trace.abort()
        log.warning("%s failed: %s: %s\n%s", self.request.model, error.kind, error, error.detail)
        return Failed.of(self.stream_id, error)

    async def _stream(self) -> None:
        call = await self._prepare()
        self._signer, self._rules = call.signer, call.rules
        current_trace.set(self.trace)
        self._watch_silence()
        answer = await call.ask()
        if isinstance(answer, Captured):
            server = self.request.server
            request = with_added(call.amended(answer), server.headers, server.more_body)
            await self._exchange(request, answer.protocol.parser(self._summary))
        else:
            await self._read(call, answer)

    async def _exchange(self, request: httpx.Request, parser: Parser) -> None:
        ca_file = self.request.server.ca_file
        try:
            client = await self._clients.get(ca_file)
        except (OSError, ValueError) as error:
            raise failures.no_certificates(ca_file, str(error)) from error
        await exchange(client, request, parser, self._emit, streaming=self.request.streaming)
        if not self.shown:
            where = self._keys.endpoint(self.provider, self.request.api_base).api_base
            raise failures.empty_answer(self.request.model, where, self.provider)
        self._emit(parser.rest())
        if not parser.is_complete:
            raise failures.cut_short(self.request.model)

    async def _read(self, call: litellm_adapter.LitellmCall, answer: Any) -> None:
        """Read litellm's own stream, or its whole answer."""
        parser = call.parser(self._summary)
        parse = parser.parse_value
        if not call.streaming:
            self._emit(parse("", answer.model_dump(mode="json")))
            self._emit(parser.rest())
            return
        try:
            slices = Slices()
            async for chunk in answer:
                self._emit(parse("", chunk.model_dump(mode="json")))
                await slices.end()
            self._emit(parser.rest())
            call.check_end(answer)
        finally:
            await self._close(answer)

    async def _close(self, answer: Any) -> None:
        """Let the library clean up after its stream. A failure changes nothing about the reply."""
        try:
            async with asyncio.timeout(CLOSE_BOUND_S):
                await litellm_adapter.close(answer)
        except Exception as error:  # noqa: BLE001
            log.warning("stream %d did not close: %s", self.stream_id, type(error).__name__)
            self.trace.abort()

    def _emit(self, deltas: Iterable[ContentDelta]) -> None:
        self._last_chunk_at = asyncio.get_running_loop().time()
        self.trace.progress()
        if not self.shown:
            self.shown = True
            if self._dropped:
                dropped = ParametersDropped(self.request.model, self._dropped)
                self._outbox.send_delta(self.stream_id, dropped)
            self._outbox.send_delta(self.stream_id, PhaseChanged(Phase.STREAMING))
        folds = self.request.server.fold_thinking and self._rules.folds_thinking
        self._send(self._thinking.fold(deltas) if folds else deltas)

    def _send(self, deltas: Iterable[ContentDelta]) -> None:
        for delta in deltas:
            if (
                isinstance(delta, ToolCallDelta)
                and delta.call_id
                and not self._rules.call_ids.fullmatch(delta.call_id)
            ):
                # Nobody else may take such an id; who made it gets it back.
                self._send([note(Kind.CALLS, {delta.call_id: {}})])
            if isinstance(delta, ReasoningDelta) and delta.signature:
                delta = replace(delta, signature=signed(delta.signature, self._signer))
            self._outbox.send_delta(self.stream_id, delta)

    def _watch_silence(self) -> None:
        """Close the connection of a stream that has been silent for its time limit.

        Some providers of litellm ignore the limit. The task is not cancelled for it: only a stop does that,
        and only once.
        """
        loop, server = asyncio.get_running_loop(), self.request.server
        self._last_chunk_at = loop.time()

        def look() -> None:
            limit = server.idle_timeout if self.shown else server.first_byte_timeout
            left = self._last_chunk_at + limit - loop.time()
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
            raise failures.too_large(self.request.model)
        summary = self._summary
        if summary.finish is None:
            raise failures.cut_short(self.request.model)
        model = summary.model or self.request.model
        return End(self.stream_id, summary.finish, summary.usage, model, summary.words)

    def _explain(self, error: Exception) -> ModelError:
        """`_classify`, or an unknown failure if it raises: every stream needs an end."""
        try:
            return self._classify(error)
        except Exception as fault:  # noqa: BLE001
            log.error("a failure cannot be explained: %s, %s", type(error).__name__, type(fault).__name__)
            message = f"{self.request.model} failed for a reason that is not understood: try again."
            return ModelError(FailureKind.UNKNOWN, message)

    def _classify(self, error: Exception) -> ModelError:
        request = self.request
        if self.trace.too_large or isinstance(error, TooLong):
            return failures.too_large(request.model)
        provider = self.provider or provider_of(request.model)
        failure = failures.classify(
            TimeoutError() if self._timed_out else error,
            model=request.model,
            provider=provider,
            api_base=self._keys.endpoint(provider, request.api_base).api_base,
            secrets=self._secrets,
            key_name=request.key_name,
        )
        if failure.kind is FailureKind.WRONG_KEY:
            self._keys.forget(provider, key_name=request.key_name)
        return failure

    async def _prepare(self) -> litellm_adapter.LitellmCall:
        request = self.request
        self.provider, model = litellm_adapter.provider_and_model(request)
        where = self._keys.endpoint(self.provider, request.api_base)
        if request.api_version is not None:
            where = replace(where, api_version=request.api_version)
        key = await asyncio.to_thread(
            self._keys.find, self.provider, api_base=where.api_base, key_name=request.key_name
        )
        if isinstance(key, KeyProblem):
            raise failures.no_key(key, self.provider, request.key_name)
        values = (key.value, *request.server.headers.values())
        self._secrets = tuple(value for value in values if value)
        call = litellm_adapter.prepare(request, self.provider, model, key.value, where)
        self._dropped = call.parameters.dropped
        return call
