"""Whose reasoning it is: a provider takes back what it has signed itself, and refuses what another one has.

Reasoning goes back with its signature or encrypted text, which only its signer can read. A model that is
switched, or a route that rotates or fails over, leaves signatures of several signers in one conversation, and
a request that holds a foreign one is refused as a whole. So each signature is kept with the name of its
signer, and a request leaves out reasoning of other signers. Everything else in the conversation stays. What
a provider wants back besides is kept in the same way (`providers.reading.returned`).

A signature from before signers were kept has no name. What the Responses API signed is JSON; nothing else is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec.structs import replace

from core.model.messages import AssistantMessage, Reasoning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.model.messages import Message, Part

RESPONSES = "responses"
_BETWEEN = "\n"
"""Separates the signer's name from the signature; neither contains one."""


def signer_of(provider: str, api_base: str | None, *, responses: bool, model: str = "") -> str:
    """The name of a signer: the provider, the dialect, the address if it is not the provider's own, and the
    model if others there are of other makers."""
    name = f"{provider}/{RESPONSES}" if responses else provider
    try:
        address = urlsplit(api_base or "").netloc.rpartition("@")[2]
    except ValueError:
        address = ""
    name = f"{name}@{address}" if address else name
    return f"{name}#{model}" if model else name


def signed(signature: str, signer: str) -> str:
    """`signature` with the name of its signer, as it is kept."""
    return f"{signer}{_BETWEEN}{signature}"


def own_reasoning(messages: Iterable[Message], signer: str) -> tuple[Message, ...]:
    """`messages` without reasoning of other signers. The rest of it has the bare signature."""
    return tuple(
        replace(message, parts=tuple(_own_parts(message.parts, signer)))
        if isinstance(message, AssistantMessage)
        else message
        for message in messages
    )


def _own_parts(parts: Iterable[Part], signer: str) -> Iterator[Part]:
    for part in parts:
        if not isinstance(part, Reasoning):
            yield part
        elif (signature := _own_signature(part.signature or "", signer)) is not None:
            yield Reasoning(part.text, signature)


def _own_signature(kept: str, signer: str) -> str | None:
    named, between, signature = kept.partition(_BETWEEN)
    if between:
        return signature if named == signer else None
    if not kept:
        return None
    return kept if _is_of_responses(kept) is (f"/{RESPONSES}" in signer.partition("#")[0]) else None


def _is_of_responses(signature: str) -> bool:
    try:
        read = json.loads(signature)
    except ValueError:
        return False
    return isinstance(read, dict) and "encrypted_content" in read
