"""What a server tells of its models: their names, and how much they read. Nothing of it is trusted: an answer
is bounded, and dropped if it is not what was asked for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from core.model.provider import ModelInfo

if TYPE_CHECKING:
    import httpx

BODY_LIMIT = 1 << 20
"""Bytes of a list of models; a longer one is not genuine."""
MODELS_LIMIT = 200
NAME_LIMIT = 200
"""Characters of a model's name."""


MOST_TOKENS = 10**12
_WINDOW_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Names of a model's context window in lists: vLLM's, Ollama's of loaded models and OpenRouter's, Groq's,
Mistral's. llama.cpp's is `meta.n_ctx`."""


class NoList(ValueError):
    """The server answered with an error. `status` is its status code."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no list, but the status {status}")
        self.status = status


async def read_body(client: httpx.AsyncClient, url: str, question: object = None) -> bytes:
    """The complete answer; a `question` is posted as JSON. Raises `NoList` for an error status, `ValueError`
    for an answer that is too long, and httpx's errors."""
    body = bytearray()
    method = "GET" if question is None else "POST"
    async with client.stream(method, url, json=question) as response:
        if response.status_code != 200:
            raise NoList(response.status_code)
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > BODY_LIMIT:
                raise ValueError("too long")
    return bytes(body)


def model_names(body: bytes) -> tuple[str, ...]:
    """The names in a list of models. Raises as `listed_models`."""
    return tuple(info.model for info in listed_models(body))


def listed_models(body: bytes) -> tuple[ModelInfo, ...]:
    """The models of a list by their names, with their context windows where it tells them; that of Ollama
    tells none. Raises `ValueError` or `RecursionError` for anything else."""
    answer: Any = json.loads(body)
    if not isinstance(answer, dict):
        raise ValueError("no object")
    listed, field = (answer.get("data"), "id") if "data" in answer else (answer.get("models"), "name")
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    found: dict[str, ModelInfo] = {}
    for entry in listed:
        name = entry.get(field) if isinstance(entry, dict) else None
        if isinstance(name, str) and _can_talk(name):
            found.setdefault(name, ModelInfo(name, _window_of(entry) if field == "id" else None))
    return tuple(found.values())[:MODELS_LIMIT]


def context_window(body: bytes, model: str) -> int | None:
    """How much `model` reads, in tokens, if this answer tells: a list of models, llama.cpp's `/props`, or
    Ollama's `/api/ps` and `/api/show`. Raises `ValueError` or `RecursionError` for what is no JSON.

    What a model was trained for is not read: Ollama and llama.cpp run it with less, and cut off the rest.
    """
    answer: Any = json.loads(body)
    if not isinstance(answer, dict):
        return None
    if isinstance(settings := answer.get("default_generation_settings"), dict):
        return _tokens(settings.get("n_ctx"))
    if isinstance(written := answer.get("parameters"), str):
        found = re.search(r"^num_ctx\s+(\d{1,12})", written, re.MULTILINE)
        return _tokens(int(found[1])) if found else None
    listed = answer.get("data") or answer.get("models")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and (entry.get("id") or entry.get("name")) in (model, f"{model}:latest"):
            return _window_of(entry)
    return None


def _window_of(entry: dict[str, Any]) -> int | None:
    """How much a model of a list reads, in tokens."""
    meta = entry.get("meta")
    told = (*(entry.get(field) for field in _WINDOW_FIELDS), isinstance(meta, dict) and meta.get("n_ctx"))
    return next(filter(None, map(_tokens, told)), None)


def _tokens(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS:
        return value
    return None


def _can_talk(name: str) -> bool:
    """Whether this may name a model that holds a conversation. A name goes back to its server unchanged, so
    one that cannot be displayed unchanged, or is ambiguous, is rejected."""
    plain = name.isascii() and name.isprintable() and not any(character.isspace() for character in name)
    return 0 < len(name) <= NAME_LIMIT and plain and "embed" not in name.lower()
