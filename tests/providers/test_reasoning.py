"""Whose reasoning goes back to whom."""

from __future__ import annotations

import json

import pytest

from core.messages import AssistantMessage, Reasoning, Text
from core.model import ReasoningDelta, TextDelta
from providers.reasoning import maker, own, sealed

SEAL = "c2VhbA=="
ENCRYPTED = json.dumps({"id": "rs_1", "encrypted_content": SEAL})


def parts_for(by: str, *signatures: str) -> list[str | None]:
    """The seals of a reply that are sent to this maker."""
    reply = AssistantMessage((*(Reasoning("hm", signature) for signature in signatures), Text("so")), "m")
    (sent,) = own((reply,), by)
    assert isinstance(sent, AssistantMessage)
    assert sent.parts[-1] == Text("so")
    return [part.signature for part in sent.parts if isinstance(part, Reasoning)]


def test_a_seal_goes_back_to_its_maker_alone_and_bare() -> None:
    anthropic = maker("anthropic", None, responses=False)
    (text, thought) = sealed([TextDelta("so"), ReasoningDelta("hm", SEAL)], anthropic)
    assert text == TextDelta("so")
    assert isinstance(thought, ReasoningDelta)
    assert thought.signature is not None
    assert parts_for(anthropic, thought.signature) == [SEAL]
    for other in (
        maker("openai", None, responses=False),
        maker("openai", None, responses=True),
        maker("anthropic", "https://proxy.example.com/v1", responses=False),
    ):
        assert parts_for(other, thought.signature) == []


def test_reasoning_without_a_seal_stays_as_it_is() -> None:
    assert list(sealed([ReasoningDelta("hm")], "anthropic")) == [ReasoningDelta("hm")]


def test_a_seal_from_before_makers_were_kept_is_known_by_its_look() -> None:
    assert parts_for("anthropic", SEAL, ENCRYPTED) == [SEAL]
    assert parts_for("openai/responses@localhost:1", SEAL, ENCRYPTED) == [ENCRYPTED]
    assert parts_for("anthropic", '["a list"]', "{") == ['["a list"]', "{"]


@pytest.mark.parametrize("address", ["http://[", "", None, "nonsense"])
def test_an_address_that_is_none_does_no_harm(address: str | None) -> None:
    assert maker("openai", address, responses=False) == "openai"
    assert maker("openai", "http://me:secret@host:8/v1", responses=True) == "openai/responses@host:8"
