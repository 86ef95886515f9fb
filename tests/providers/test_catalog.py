"""What the catalogue says of a model, from entries as litellm's cost map has them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.provider import ModelInfo
from providers.catalog import describe, entry_for, provider_of, title_of

ENTRY = {
    "litellm_provider": "anthropic",
    "max_input_tokens": 200_000,
    "max_output_tokens": 64_000,
    "max_tokens": 64_000,
    "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05,
    "supports_reasoning": True,
    "supports_function_calling": True,
    "supports_vision": False,
}


def test_a_known_model() -> None:
    assert describe("anthropic/claude-sonnet-4-5", ENTRY) == ModelInfo(
        "anthropic/claude-sonnet-4-5",
        200_000,
        64_000,
        3e-06,
        1.5e-05,
        reasoning=True,
        tools=True,
        efforts=True,
        vision=False,
    )


def test_what_is_unknown_stays_none() -> None:
    assert describe("openai/demo", None) == ModelInfo("openai/demo")
    assert describe("openai/demo", {"max_tokens": 4096}) == ModelInfo("openai/demo")


def test_free_is_not_unknown() -> None:
    assert describe("ollama/x", {"input_cost_per_token": 0.0}).input_price == 0.0


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(list(ENTRY)), st.none() | st.booleans() | st.text() | st.floats() | st.integers()
    )
)
def test_nonsense_is_none(entry: dict[str, object]) -> None:
    info = describe("a/b", entry)
    assert info.context_window is None or info.context_window >= 1
    assert info.input_price is None or info.input_price >= 0
    assert info.tools in (None, True, False)


COST_MAP: dict[str, dict[str, object]] = {
    "claude-sonnet-4-5": ENTRY,
    "gpt-5": {"litellm_provider": "openai", "max_input_tokens": 1},
    "azure/gpt-5": {"litellm_provider": "azure", "max_input_tokens": 2},
    "ollama/llama3": {"litellm_provider": "ollama", "max_input_tokens": 3},
    "us.amazon.nova": {"litellm_provider": "bedrock_converse"},
    "gemini-3": {"litellm_provider": "vertex_ai-language-models"},
    "command-a": {"litellm_provider": "cohere_chat"},
}


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("openai/gpt-5", "gpt-5"),
        ("azure/gpt-5", "azure/gpt-5"),
        ("ollama_chat/llama3", "ollama/llama3"),
        ("groq/gpt-5", None),
        ("openai/responses/gpt-5", "gpt-5"),
        ("bedrock/us.amazon.nova", "us.amazon.nova"),
        ("vertex_ai/gemini-3", "gemini-3"),
        ("gemini/gemini-3", None),
        ("cohere/command-a", "command-a"),
        ("cohere_chat/command-a", "command-a"),
        ("openai/nobody", None),
        ("nobody", None),
    ],
)
def test_an_entry_is_its_own_providers(model: str, listed: str | None) -> None:
    assert entry_for(model, COST_MAP) is (COST_MAP[listed] if listed else None)


def test_providers() -> None:
    assert provider_of("anthropic/claude") == "anthropic"
    assert provider_of("claude-sonnet-4-5", ENTRY) == "anthropic"
    assert provider_of("who-knows") == ""
    assert title_of("ollama_chat") == "Ollama"
    assert title_of("some_new_one") == "some_new_one"
    assert title_of("") == "the provider"


@pytest.fixture(scope="module")
def shipped_map() -> dict[str, Any]:
    """The cost map that comes with the installed litellm, read without importing it."""
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    loaded: dict[str, Any] = json.loads(
        Path(spec.origin).with_name("model_prices_and_context_window_backup.json").read_text()
    )
    return loaded


@pytest.mark.parametrize(
    "model",
    ["openai/gpt-5.1", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro", "azure/gpt-4o"],
)
def test_the_models_that_we_recommend_are_known(shipped_map: dict[str, Any], model: str) -> None:
    info = describe(model, entry_for(model, shipped_map))
    assert None not in (info.context_window, info.max_output, info.input_price, info.output_price, info.tools)


def test_every_entry_can_be_read(shipped_map: dict[str, Any]) -> None:
    for model, entry in shipped_map.items():
        describe(model, entry)
