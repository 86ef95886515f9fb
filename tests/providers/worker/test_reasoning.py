"""Whose reasoning goes back to whom."""

from __future__ import annotations

import json

import pytest

from core.model.messages import AssistantMessage, Reasoning, Text
from providers.worker.reasoning import own_reasoning, signed, signer_of

SIGNATURE = "c2lnbmVk"
ENCRYPTED = json.dumps({"id": "rs_1", "encrypted_content": SIGNATURE})


def signatures_for(signer: str, *kept: str | None) -> list[str | None]:
    """The signatures of a reply that are sent to this signer."""
    reply = AssistantMessage((*(Reasoning("hm", signature) for signature in kept), Text("so")), "m")
    (sent,) = own_reasoning((reply,), signer)
    assert isinstance(sent, AssistantMessage)
    assert sent.parts[-1] == Text("so")
    return [part.signature for part in sent.parts if isinstance(part, Reasoning)]


def test_a_signature_goes_back_to_its_signer_alone_and_bare() -> None:
    anthropic = signer_of("anthropic", None, responses=False)
    kept = signed(SIGNATURE, anthropic)
    assert signatures_for(anthropic, kept) == [SIGNATURE]
    for other in (
        signer_of("openai", None, responses=False),
        signer_of("openai", None, responses=True),
        signer_of("anthropic", "https://proxy.example.com/v1", responses=False),
    ):
        assert signatures_for(other, kept) == []


def test_models_of_a_gateway_are_signers_of_their_own() -> None:
    first, second = (signer_of("openrouter", None, responses=False, model=model) for model in ("a/b", "a/c"))
    assert signatures_for(first, signed(SIGNATURE, first)) == [SIGNATURE]
    assert signatures_for(second, signed(SIGNATURE, first)) == []


def test_reasoning_without_a_signature_is_not_sent() -> None:
    assert signatures_for("anthropic", None, "") == []


def test_a_signature_from_before_signers_were_kept_is_known_by_its_form() -> None:
    assert signatures_for("anthropic", SIGNATURE, ENCRYPTED) == [SIGNATURE]
    assert signatures_for("openai/responses@localhost:1", SIGNATURE, ENCRYPTED) == [ENCRYPTED]
    assert signatures_for("anthropic", '["a list"]', "{") == ['["a list"]', "{"]


@pytest.mark.parametrize("address", ["http://[", "", None, "nonsense"])
def test_an_address_that_is_none_does_no_harm(address: str | None) -> None:
    assert signer_of("openai", address, responses=False) == "openai"
    assert signer_of("openai", "http://me:secret@host:8/v1", responses=True) == "openai/responses@host:8"
