"""Whose reasoning it is: a provider takes back what it has sealed itself, and refuses what another one has.

Reasoning goes back with its seal, a signature or an encrypted text, which only its maker can read. A model
that is switched, a route that rotates or fails over leaves seals of several makers in one conversation, and a
request that holds a foreign one is refused as a whole. So each seal is kept with the name of its maker, and
what is not the asked one's own is left out of a request: the words of the conversation all stay.

A seal from before makers were kept has no name. It is known by its look: what Responses sealed is JSON.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.messages import AssistantMessage, Reasoning
from core.model import ReasoningDelta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.messages import Message, Part
    from providers.protocols import ContentDelta

RESPONSES = "responses"
_BETWEEN = "\n"
"""Between the maker's name and the seal; neither has one in it."""


def maker(provider: str, api_base: str | None, *, responses: bool) -> str:
    """The name of who seals reasoning: a provider, in which dialect, and at which address if not its own."""
    name = f"{provider}/{RESPONSES}" if responses else provider
    try:
        address = urlsplit(api_base or "").netloc.rpartition("@")[2]
    except ValueError:
        address = ""
    return f"{name}@{address}" if address else name


def sealed(deltas: Iterable[ContentDelta], by: str) -> Iterator[ContentDelta]:
    """The same deltas, each seal with the name of its maker."""
    for delta in deltas:
        if isinstance(delta, ReasoningDelta) and delta.signature:
            yield ReasoningDelta(delta.text, f"{by}{_BETWEEN}{delta.signature}")
        else:
            yield delta


def own(messages: Iterable[Message], by: str) -> tuple[Message, ...]:
    """`messages` without reasoning of other makers, and the rest of it with its bare seal."""
    return tuple(
        replace(message, parts=tuple(_own_parts(message.parts, by)))
        if isinstance(message, AssistantMessage)
        else message
        for message in messages
    )


def _own_parts(parts: Iterable[Part], by: str) -> Iterator[Part]:
    for part in parts:
        if not isinstance(part, Reasoning):
            yield part
        elif (seal := _own_seal(part.signature or "", by)) is not None:
            yield Reasoning(part.text, seal)


def _own_seal(signature: str, by: str) -> str | None:
    named, between, seal = signature.partition(_BETWEEN)
    if between:
        return seal if named == by else None
    if not signature:
        return None
    return signature if _is_of_responses(signature) is (f"/{RESPONSES}" in by) else None


def _is_of_responses(seal: str) -> bool:
    try:
        read = json.loads(seal)
    except ValueError:
        return False
    return isinstance(read, dict) and "encrypted_content" in read
