"""A server's list of its models, Ollama's or OpenAI's. It is not trusted: bounded, dropped if it is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

BODY_LIMIT = 1 << 20
"""Bytes of a list of models; a longer one is not genuine."""
MODELS_LIMIT = 200
NAME_LIMIT = 200
"""Characters of a model's name."""


class NoList(ValueError):
    """The server answered with an error. `status` is its status code."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no list, but the status {status}")
        self.status = status


async def read_body(client: httpx.AsyncClient, url: str) -> bytes:
    """The complete answer. Raises `NoList` for an error status, `ValueError` for an answer that is too long,
    and httpx's errors."""
    body = bytearray()
    async with client.stream("GET", url) as response:
        if response.status_code != 200:
            raise NoList(response.status_code)
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > BODY_LIMIT:
                raise ValueError("too long")
    return bytes(body)


def model_names(body: bytes) -> tuple[str, ...]:
    """The names in a list of models. Raises `ValueError` or `RecursionError` for anything else."""
    answer: Any = json.loads(body)
    if not isinstance(answer, dict):
        raise ValueError("no object")
    listed, field = (answer.get("data"), "id") if "data" in answer else (answer.get("models"), "name")
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    names = (entry.get(field) for entry in listed if isinstance(entry, dict))
    usable = dict.fromkeys(name for name in names if isinstance(name, str) and _can_talk(name))
    return tuple(usable)[:MODELS_LIMIT]


def _can_talk(name: str) -> bool:
    """Whether this may name a model that holds a conversation. A name goes back to its server unchanged, so
    one that cannot be displayed unchanged, or is ambiguous, is rejected."""
    plain = name.isascii() and name.isprintable() and not any(character.isspace() for character in name)
    return 0 < len(name) <= NAME_LIMIT and plain and "embed" not in name.lower()
