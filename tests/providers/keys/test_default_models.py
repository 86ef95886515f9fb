"""The models that are taken when nobody names one, against the catalogue of the library that is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from providers.catalog import TITLES, entry_for
from providers.keys.default_models import DEFAULT_MODELS, chat_model_in

LASTS_UNTIL = "2027-03-01"
NOT_IN_THE_CATALOGUE = {"openrouter/openrouter/auto"}
"""OpenRouter chooses the model behind this name itself."""
NO_TOOLS = {"perplexity"}


@pytest.fixture(scope="module")
def cost_map() -> dict[str, dict[str, Any]]:
    found = importlib.util.find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    text = Path(found.origin).with_name("model_prices_and_context_window_backup.json").read_text()
    parsed: dict[str, dict[str, Any]] = json.loads(text)
    return parsed


@pytest.mark.parametrize("provider", DEFAULT_MODELS)
def test_each_model_is_known_and_lasts(provider: str, cost_map: dict[str, dict[str, Any]]) -> None:
    models = DEFAULT_MODELS[provider]
    assert provider in TITLES
    for model in {models.chat, models.test} - NOT_IN_THE_CATALOGUE:
        entry = entry_for(model, cost_map)
        assert entry is not None, model
        assert str(entry.get("deprecation_date", "9999")) > LASTS_UNTIL
        if provider not in NO_TOOLS:
            assert entry["supports_function_calling"]


def test_the_first_provider_with_a_key_is_taken() -> None:
    assert chat_model_in({}) is None
    assert chat_model_in({"OPENAI_API_KEY": " "}) is None
    environment = {"GROQ_API_KEY": "a", "GOOGLE_API_KEY": "b"}
    assert chat_model_in(environment) == DEFAULT_MODELS["gemini"].chat
    assert chat_model_in(environment | {"ANTHROPIC_API_KEY": "c"}) == DEFAULT_MODELS["anthropic"].chat
