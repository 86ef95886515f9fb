"""Which model answers when only a key says which provider a person has, and which one tries a key.

Names of litellm's catalogue, which `tests/providers/test_default_models.py` holds them against: none that it
does not know, and none that ends soon. The model that tries a key is a cheap one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.values import Value
from core.model.messages import UserMessage
from core.model.provider import ModelRequest, Parameters
from core.model.server_options import ServerOptions
from providers.keys.names import key_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIAL_TOKENS = 16
"""The minimum that every provider accepts: OpenAI refuses fewer."""
TRIAL_LIMIT_S = 30.0
"""How long a server may be silent before it counts as dead, in seconds."""


class DefaultModels(Value):
    """`chat` is for conversations with tools, `test` for one request that costs next to nothing."""

    chat: str
    test: str


DEFAULT_MODELS = {
    "anthropic": DefaultModels("anthropic/claude-sonnet-5-5", "anthropic/claude-haiku-5-5"),
    "openai": DefaultModels("openai/gpt-5.1", "openai/gpt-5-nano"),
    "gemini": DefaultModels("gemini/gemini-2.5-pro", "gemini/gemini-2.5-flash-lite"),
    "openrouter": DefaultModels("openrouter/openrouter/auto", "openrouter/openrouter/auto"),
    "groq": DefaultModels("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-20b"),
    "mistral": DefaultModels("mistral/mistral-medium-latest", "mistral/mistral-small-latest"),
    "deepseek": DefaultModels("deepseek/deepseek-v4-pro", "deepseek/deepseek-v4-flash"),
    "xai": DefaultModels("xai/grok-4.7", "xai/grok-4.20-non-reasoning"),
    "cerebras": DefaultModels("cerebras/gpt-oss-120b", "cerebras/llama3.1-8b"),
    "cohere": DefaultModels("cohere_chat/command-a-03-2025", "cohere_chat/command-r7b-12-2024"),
    "together_ai": DefaultModels("together_ai/openai/gpt-oss-120b", "together_ai/zai-org/GLM-5.3-Flash"),
    "fireworks_ai": DefaultModels(
        "fireworks_ai/accounts/fireworks/models/glm-5p3", "fireworks_ai/accounts/fireworks/models/gpt-oss-20b"
    ),
    "moonshot": DefaultModels("moonshot/kimi-k2.6", "moonshot/moonshot-v1-8k"),
    "zai": DefaultModels("zai/glm-5.1", "zai/glm-4.7-flash"),
    "dashscope": DefaultModels("dashscope/qwen3-max", "dashscope/qwen-flash"),
    # It takes no tools.
    "perplexity": DefaultModels("perplexity/sonar-pro", "perplexity/sonar"),
}
"""By provider; of several that there is a key for, the first here is taken."""


def chat_model_in(environment: Mapping[str, str]) -> str | None:
    """The model of the first provider whose key is in the environment; None if there is none."""
    for provider, models in DEFAULT_MODELS.items():
        if any(environment.get(name, "").strip() for name in key_variables(provider)):
            return models.chat
    return None


def trial_request(model: str, api_base: str | None, key_name: str | None = None) -> ModelRequest:
    """A request that costs next to nothing, to try a key."""
    return ModelRequest(
        model,
        (UserMessage("Say ok."),),
        api_base=api_base,
        server=ServerOptions(first_byte_timeout=TRIAL_LIMIT_S, idle_timeout=TRIAL_LIMIT_S),
        parameters=Parameters(max_output=TRIAL_TOKENS),
        key_name=key_name,
    )
