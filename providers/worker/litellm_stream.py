"""A request in the compiler: compiled and handed over, or streamed by litellm where only that can read it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from core.model.provider import FailureKind
from providers.catalog import provider_of
from providers.keys.names import KeyProblem
from providers.wire import HandedOver
from providers.worker import handover, litellm_adapter
from providers.worker.amendments import with_added
from providers.worker.capture import Captured
from providers.worker.errors import failures
from providers.worker.exchange import Slices
from providers.worker.handover import Subject
from providers.worker.stream import Stream

if TYPE_CHECKING:
    from core.model.provider import ModelError, ModelRequest
    from providers.keys.finder import KeyFinder
    from providers.worker.outbox import Outbox
    from providers.worker.startup import Inbox

log = logging.getLogger("caesura.worker")

CLOSE_BOUND_S = 1.0
"""How long a library's stream may take to close itself after its normal end."""
_handovers: set[asyncio.Task[None]] = set()
"""Requests on their way to a stream process. One goes on when its stream is stopped: it is read to its end or
not at all."""


class LitellmStream(Stream):
    def __init__(
        self, stream_id: int, request: ModelRequest, outbox: Outbox, keys: KeyFinder, inbox: Inbox
    ) -> None:
        subject = Subject(
            request.model,
            provider_of(request.model),
            key_name=request.key_name,
            streaming=request.streaming,
            server=request.server,
            address_setting=request.address_setting,
        )
        super().__init__(stream_id, subject, outbox)
        self._request = request
        self._keys = keys
        self._inbox = inbox

    async def _work(self) -> HandedOver | None:
        call = await self._prepare()
        self._watch_silence()
        answer = await call.ask()
        if isinstance(answer, Captured):
            return await self._hand_over(call, answer)
        await self._read(call, answer)
        return None

    async def _hand_over(self, call: litellm_adapter.LitellmCall, captured: Captured) -> HandedOver:
        server = self.subject.server
        request = with_added(call.amended(captured), server.headers, server.more_body)
        to = await self._inbox.socket_of(self.stream_id)
        sending = handover.send(to, handover.compiled(request, captured.protocol, self.subject))
        task = asyncio.get_running_loop().create_task(sending)
        _handovers.add(task)
        task.add_done_callback(_handovers.discard)
        return HandedOver(self.stream_id, self.provider)

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

    def _classify(self, error: Exception) -> ModelError:
        failure = super()._classify(error)
        if failure.kind is FailureKind.WRONG_KEY:
            self._keys.forget(self.provider, key_name=self._request.key_name)
        return failure

    async def _prepare(self) -> litellm_adapter.LitellmCall:
        request = self._request
        provider, model = litellm_adapter.provider_and_model(request)
        where = self._keys.endpoint(provider, request.api_base)
        self.subject = replace(self.subject, provider=provider, api_base=where.api_base)
        if request.api_version is not None:
            where = replace(where, api_version=request.api_version)
        key = await asyncio.to_thread(
            self._keys.find, provider, api_base=where.api_base, key_name=request.key_name
        )
        if isinstance(key, KeyProblem):
            raise failures.no_key(key, provider, request.key_name)
        values = (key.value, *request.server.headers.values())
        call = litellm_adapter.prepare(request, provider, model, key.value, where)
        self.subject = replace(
            self.subject,
            signer=call.signer,
            dropped=call.parameters.dropped,
            secrets=tuple(value for value in values if value),
            call_ids=call.rules.call_ids.pattern,
            folds_thinking=request.server.fold_thinking and call.rules.folds_thinking,
        )
        return call
