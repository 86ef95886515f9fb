"""A stream whose compiled request is sent here and whose reply is read here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from providers.worker import handover
from providers.worker.errors import failures
from providers.worker.exchange import NoNetwork, exchange
from providers.worker.handover import Subject
from providers.worker.stream import Stream

if TYPE_CHECKING:
    import httpx

    from core.model.server_options import Network
    from providers.worker.exchange import Clients
    from providers.worker.outbox import Outbox
    from providers.worker.startup import Inbox


class HttpStream(Stream):
    def __init__(self, stream_id: int, outbox: Outbox, inbox: Inbox, clients: Clients) -> None:
        super().__init__(stream_id, Subject("The model"), outbox)
        self._inbox = inbox
        self._clients = clients

    async def _work(self) -> None:
        try:
            compiled = await handover.receive(await self._inbox.socket_of(self.stream_id))
        except (OSError, ValueError) as error:
            # The compiler has ended in the middle of it, or no descriptor is left for its socket.
            raise failures.half_request() from error
        subject = self.subject = compiled.subject
        self.trace.expect(streaming=subject.streaming)
        self._watch_silence()
        parser = compiled.protocol.parser(self._summary)
        client = await self._client(subject.server.network)
        try:
            await exchange(client, compiled.request, parser, self._emit, streaming=subject.streaming)
        except asyncio.CancelledError:
            await self._clients.drop(subject.server.network)
            raise
        if not self.shown:
            raise failures.empty_answer(
                subject.model, subject.api_base, subject.provider, subject.address_setting
            )
        self._emit(parser.rest())
        if not parser.is_complete:
            raise failures.cut_short(subject.model)

    async def _client(self, network: Network) -> httpx.AsyncClient:
        try:
            return await self._clients.get(network)
        except NoNetwork as error:
            raise failures.no_network(str(error)) from error
        except (OSError, ValueError) as error:
            raise failures.no_certificates(network.ca_file, str(error)) from error
