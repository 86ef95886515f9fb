"""Frames: what a protocol's server makes of a script, as the bytes that go on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes that belong together. `is_delta` when they carry content, see `Script`."""

    data: bytes
    is_delta: bool = False


def sse(payload: object, *, event: str | None = None) -> bytes:
    """One server-sent event with `payload` as JSON."""
    line = f"event: {event}\n" if event else ""
    return f"{line}data: {json.dumps(payload, separators=(',', ':'))}\n\n".encode()


def ndjson(payload: object) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode() + b"\n"


def split(document: Json, pieces: int) -> Iterator[Frame]:
    """A document in so many deltas, so that every fault means the same in both forms."""
    body = json.dumps(document).encode()
    size = -(-len(body) // max(pieces, 1))
    for start in range(0, len(body), size):
        yield Frame(body[start : start + size], is_delta=True)
