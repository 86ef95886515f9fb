"""One answer on its way to the socket: its pace, its faults and what of it was sent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, assert_never

from tests.servers.http import LAST_CHUNK, Wire, chunk, head
from tests.servers.script import (
    Cut,
    ErrorEvent,
    Garbage,
    Oversized,
    Refuse,
    Reset,
    Script,
    Silence,
    Stall,
    Truncate,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers.base import Server
    from tests.servers.frames import Frame, Json
    from tests.servers.record import Exchange, Record

BATCH_BYTES = 16 * 1024
ENDLESS_BODY_PAUSE_S = 0.02


class Reply:
    """One answer on its way: collects frames into writes, keeps the pace, and misbehaves when told to."""

    def __init__(self, record: Record, wire: Wire, exchange: Exchange, script: Script) -> None:
        self._record = record
        self._wire = wire
        self.exchange = exchange
        self.script = script
        self._pending = bytearray()
        self._pending_deltas = 0

    async def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        await self._write(head(status, headers))
        self._record.headers_sent(self.exchange)

    async def send_json(self, status: int, body: Json) -> None:
        await self.send_head(status, {"content-type": "application/json"})
        await self._end(json.dumps(body).encode())

    async def send_refusal(self, refuse: Refuse, status: int, body: Json) -> None:
        headers = {"content-type": "application/json"}
        if refuse.retry_after is not None:
            headers["retry-after"] = str(refuse.retry_after)
        await self.send_head(status, headers)
        data = json.dumps(body).encode()
        if not refuse.endless:
            await self._end(data)
            return
        await self._write(chunk(data[:-1]))
        while True:
            await asyncio.sleep(ENDLESS_BODY_PAUSE_S)
            await self._write(chunk(b" "))

    async def send_frames(self, frames: Iterator[Frame], server: Server) -> None:
        """Send `frames`, the fault in its place, and the end of the body unless the fault was the end."""
        fault_at = getattr(self.script.fault, "after", -1)
        sent = 0
        if fault_at == 0 and await self._misbehave(server):
            return
        for frame in frames:
            self._pending += chunk(frame.data)
            sent += frame.is_delta
            self._pending_deltas += frame.is_delta
            fault_is_due = frame.is_delta and sent == fault_at
            if (
                fault_is_due
                or self.script.delay
                or self.script.drip is not None
                or len(self._pending) >= BATCH_BYTES
            ):
                await self._flush()
            if fault_is_due and await self._misbehave(server):
                return
            if self.script.delay and frame.is_delta:
                await asyncio.sleep(self.script.delay)
        await self._flush()
        await self._end(b"")

    async def _misbehave(self, server: Server) -> bool:
        """Do what the script's fault says; true when nothing may follow."""
        match self.script.fault:
            case Stall():
                await self.exchange.released.wait()
            case Cut():
                await self._wire.close()
            case Truncate():
                await self._end(b"")
                return True
            case Reset():
                await self._wire.reset()
            case Garbage(rubbish=rubbish):
                await self._write(chunk(server.garbage(rubbish.value)))
            case Oversized(size=size):
                await self._write_line_without_end(size)
            case ErrorEvent(refusal=refusal):
                await self._end(server.error_event(refusal, self.exchange.request))
                return True
            case None | Silence() | Refuse():
                pass
            case _ as unreachable:
                assert_never(unreachable)
        return False

    async def _write_line_without_end(self, size: int) -> None:
        await self._write(chunk(b"data: "))
        block = chunk(b"x" * 65536)
        for _ in range(size // 65536):
            await self._write(block)

    async def _end(self, data: bytes) -> None:
        await self._write((chunk(data) if data else b"") + LAST_CHUNK)
        self._record.completed(self.exchange)

    async def _flush(self) -> None:
        data, count = bytes(self._pending), self._pending_deltas
        self._pending.clear()
        self._pending_deltas = 0
        if data:
            await self._write(data)
        if count:
            self._record.deltas_sent(self.exchange, count)

    async def _write(self, data: bytes) -> None:
        if self.script.drip is None:
            await self._wire.write(data)
            return
        for byte in data:
            await self._wire.write(bytes((byte,)))
            await asyncio.sleep(self.script.drip)
