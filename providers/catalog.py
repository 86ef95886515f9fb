"""Facts known of a model before a request: its provider's name, its limits, prices and abilities.

All functions depend only on a model's name and an entry of litellm's cost map that the caller passes in. This
module must never import litellm, never touch the network, and never guess: what an entry does not state stays
None.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from core.model.provider import ModelInfo

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

RESPONSES_PREFIX = "responses/"

TITLES = {
    "anthropic": "Anthropic",
    "azure": "Azure OpenAI",
    "azure_ai": "Azure AI",
    "bedrock": "Amazon Bedrock",
    "cerebras": "Cerebras",
    "cohere": "Cohere",
    "cohere_chat": "Cohere",
    "dashscope": "DashScope",
    "deepseek": "DeepSeek",
    "fireworks_ai": "Fireworks AI",
    "gemini": "Gemini",
    "github": "GitHub Models",
    "github_copilot": "GitHub Copilot",
    "groq": "Groq",
    "hosted_vllm": "vLLM",
    "huggingface": "Hugging Face",
    "litellm_proxy": "the LiteLLM proxy",
    "llamafile": "llamafile",
    "lm_studio": "LM Studio",
    "mistral": "Mistral",
    "moonshot": "Moonshot",
    "nvidia_nim": "NVIDIA NIM",
    "ollama": "Ollama",
    "ollama_chat": "Ollama",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "perplexity": "Perplexity",
    "sagemaker": "Amazon SageMaker",
    "together_ai": "Together AI",
    "vertex_ai": "Vertex AI",
    "xai": "xAI",
    "zai": "Z.ai",
}

COST_MAP_PROVIDERS = {
    "amazon_nova": "amazon-nova",
    "azure_text": "azure",
    "cohere": "cohere_chat",
    "ollama_chat": "ollama",
}
"""Providers that litellm's cost map lists under another prefix than its requests use."""

CHAT, RESPONSES = "chat", "responses"
"""The modes of the cost map that support a conversation."""

_LONG_PROMPT = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
"""The cost map's name for the price of a token in a long prompt, which begins at thousands of tokens."""


def provider_of(model: str, entry: Mapping[str, object] | None = None) -> str:
    """The provider's name in litellm: the prefix of `model`, else what `entry` says, else "".

    >>> provider_of("anthropic/claude-sonnet-4-5")
    'anthropic'
    """
    prefix, slash, _ = model.partition("/")
    if slash:
        return prefix
    named = (entry or {}).get("litellm_provider")
    return named if isinstance(named, str) else ""


def title_of(provider: str) -> str:
    """The provider's usual spelling; an unknown name is returned unchanged."""
    return TITLES.get(provider, provider) or "the provider"


def entry_for(model: str, cost_map: Mapping[str, Mapping[str, object]]) -> Mapping[str, object] | None:
    """The cost map's entry for `model`, or None.

    The map lists some models with the provider's prefix and some without; an entry without prefix counts
    only if it belongs to the provider that `model` names, since the same name costs differently elsewhere.
    """
    model = responses_model(model) or model
    provider, slash, name = model.partition("/")
    if not slash:
        return cost_map.get(model)
    provider = COST_MAP_PROVIDERS.get(provider, provider)
    for listed in (model, f"{provider}/{name}"):
        if listed in cost_map:
            return cost_map[listed]
    entry = cost_map.get(name)
    return entry if entry is not None and _listed_provider(entry) == provider else None


def listed_models(
    cost_map: Mapping[str, Mapping[str, object]], providers: Container[str]
) -> Iterator[tuple[str, ModelInfo]]:
    """Each conversation model of one of `providers`, under a name that requests can use, with its provider.

    A model that the map lists twice, with its provider's prefix and without, comes once. Entries that stand
    for many models are skipped. The steps are small, so that a caller can pause between two.
    """
    seen: set[str] = set()
    for listed, entry in cost_map.items():
        provider, mode = _listed_provider(entry), entry.get("mode")
        if mode not in (CHAT, RESPONSES) or "*" in listed or provider not in providers:
            continue
        name = listed.removeprefix(f"{COST_MAP_PROVIDERS.get(provider, provider)}/")
        model = f"{provider}/{RESPONSES_PREFIX if mode == RESPONSES else ''}{name}"
        if model not in seen:
            seen.add(model)
            yield provider, describe(model, entry_for(f"{provider}/{name}", cost_map))


def _listed_provider(entry: Mapping[str, object]) -> str:
    """The provider of an entry, as requests name it; the map has several for Vertex AI and for Bedrock."""
    listed = entry.get("litellm_provider")
    if not isinstance(listed, str):
        return ""
    match listed.partition("-")[0]:
        case "vertex_ai":
            return "vertex_ai"
        case "bedrock_converse":
            return "bedrock"
        case _:
            return listed


def describe(model: str, entry: Mapping[str, object] | None) -> ModelInfo:
    """Read what `entry`, a value of litellm's cost map, states about `model`.

    Limits are in tokens, prices in dollars per token. Fields that are missing or invalid are None.
    """
    known = entry or {}
    long = _long_prompt(known)
    above = "" if long is None else f"_above_{long // 1000}k_tokens"
    return ModelInfo(
        model=model,
        context_window=_tokens(known.get("max_input_tokens")),
        max_output=_tokens(known.get("max_output_tokens")),
        input_price=_price(known.get("input_cost_per_token")),
        output_price=_price(known.get("output_cost_per_token")),
        reasoning=_ability(known.get("supports_reasoning")),
        tools=_ability(known.get("supports_function_calling")),
        cached_input_price=_price(known.get("cache_read_input_token_cost")),
        reasoning_price=_price(known.get("output_cost_per_reasoning_token")),
        long_prompt=long,
        long_input_price=_price(known.get(f"input_cost_per_token{above}")) if above else None,
        long_cached_input_price=_price(known.get(f"cache_read_input_token_cost{above}")) if above else None,
        long_output_price=_price(known.get(f"output_cost_per_token{above}")) if above else None,
        efforts=_ability(known.get("supports_reasoning")),
        vision=_ability(known.get("supports_vision")),
    )


def _long_prompt(known: Mapping[str, object]) -> int | None:
    """The number of tokens above which a prompt costs more, the lowest if there are several."""
    bounds = [int(named[1]) * 1000 for name in known if (named := _LONG_PROMPT.fullmatch(name))]
    return min(bounds, default=None)


def _tokens(value: object) -> int | None:
    count = _price(value)
    return int(count) if count is not None and count >= 1 else None


def _price(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _ability(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def responses_model(model: str) -> str | None:
    """The plain name of a model that is used through the Responses API, else None.

    >>> responses_model("openai/responses/gpt-5")
    'openai/gpt-5'
    """
    provider, _, rest = model.partition("/")
    if provider == "responses":
        return rest
    if rest.startswith(RESPONSES_PREFIX):
        return f"{provider}/{rest.removeprefix(RESPONSES_PREFIX)}"
    return None
