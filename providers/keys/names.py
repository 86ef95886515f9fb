"""What keys are called: the variables of each provider, and what a person may call them.

The name of a variable is also that of the entry in the keyring and in `keys.toml`.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from core.errors import CaesuraError
from core.values import dataclass
from providers.catalog import TITLES, title_of

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_VARIABLES = {
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "cohere_chat": ("COHERE_API_KEY", "CO_API_KEY"),
    "fireworks_ai": ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "github": ("GITHUB_API_KEY", "GITHUB_TOKEN"),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "ollama_chat": ("OLLAMA_API_KEY",),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
}
KEYLESS = frozenset({"hosted_vllm", "llamafile", "lm_studio", "ollama", "ollama_chat", "vllm"})
"""Providers that run on the user's own machines and usually want no key."""
OWN_CREDENTIALS = frozenset(
    {"bedrock", "chatgpt", "github_copilot", "oci", "sagemaker", "sagemaker_chat", "vertex_ai", "watsonx"}
)
"""Providers that sign in with profiles, roles or service accounts, which litellm finds by itself."""

OWN_TOOLS = frozenset({"GITHUB_TOKEN", "HF_TOKEN"})
"""Keys of providers that a person's own programs sign in with too, `gh` for one: commands get them, as they
get what opens a cloud (`AWS_...`, `AZURE_CLIENT_SECRET`, `GOOGLE_APPLICATION_CREDENTIALS`)."""

MORE_PROVIDERS = (
    "ai21", "aiml", "anyscale", "azure_text", "baseten", "codestral", "cometapi", "databricks", "deepinfra",
    "featherless_ai", "friendliai", "galadriel", "hyperbolic", "lambda_ai", "meta_llama", "minimax", "nebius",
    "novita", "nscale", "replicate", "sambanova", "text_completion_openai", "v0", "vercel_ai_gateway",
    "volcengine", "voyage", "wandb", "xinference",
)  # fmt: skip
"""Providers without a title here whose key is called as the general rule has it."""
MORE_VARIABLES = (
    "AIMLAPI_KEY", "ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AZURE_AD_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN", "COMETAPI_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN", "FRIENDLI_TOKEN",
    "GIGACHAT_ACCESS_TOKEN", "GIGACHAT_CREDENTIALS", "LITELLM_MASTER_KEY", "OPENAI_API_KEYS",
    "OPENAI_LIKE_API_KEY", "OR_API_KEY", "REPLICATE_API_TOKEN", "TOGETHER_AI_TOKEN", "WATSONX_APIKEY",
    "WATSONX_API_KEY", "WATSONX_TOKEN", "WATSONX_ZENAPIKEY",
)  # fmt: skip
"""Further variables that litellm, or another program for the same providers, takes a key from."""

_CALLED = {
    "claude": "anthropic",
    "cohere_chat": "cohere",
    "fireworks": "fireworks_ai",
    "google": "gemini",
    "grok": "xai",
    "kimi": "moonshot",
    "litellm": "litellm_proxy",
    "lmstudio": "lm_studio",
    "nvidia": "nvidia_nim",
    "ollama_chat": "ollama",
    "qwen": "dashscope",
    "together": "together_ai",
    "vllm": "hosted_vllm",
}
"""What people say for some providers."""
_VARIABLE = re.compile(r"(?=.*[A-Z])[A-Z_][A-Z0-9_]{1,79}")


class UnknownKeyName(CaesuraError):
    """Neither a provider nor the name of a variable."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key by its name. `provider` is whose usual key it is; empty for a name of the person's own."""

    variable: str
    provider: str

    @property
    def entries(self) -> tuple[str, ...]:
        """Under what it may be kept, the usual name first."""
        if not self.provider or self.variable != key_variables(self.provider)[0]:
            return (self.variable,)
        return (*key_variables(self.provider), self.provider)

    @property
    def spoken(self) -> str:
        """How `caesura keys` is told of it."""
        usual = self.provider and self.variable == key_variables(self.provider)[0]
        return self.provider if usual else self.variable

    @property
    def title(self) -> str:
        return title_of(self.provider) if self.provider else self.variable


def key_variables(provider: str) -> tuple[str, ...]:
    """The environment variables that may hold the key of `provider`, the usual one first."""
    return KEY_VARIABLES.get(provider, (f"{shout(provider)}_API_KEY",))


def provider_variables() -> dict[str, str]:
    """Every variable that a provider with a title is asked with, and that provider."""
    found: dict[str, str] = {}
    for provider in TITLES:
        if provider not in OWN_CREDENTIALS:
            for name in key_variables(provider):
                found.setdefault(name, provider)
    return found


def all_key_variables(extra: Iterable[str] = ()) -> frozenset[str]:
    """Every variable that is known to hold a key: no child that runs a command gets one of them.

    `extra` are those that the person's settings name; they count even if they are in `OWN_TOOLS`.
    """
    providers = (*TITLES, *KEY_VARIABLES, *MORE_PROVIDERS)
    known = {name for provider in providers for name in key_variables(provider)}
    return frozenset((known | set(MORE_VARIABLES)) - OWN_TOOLS | {name for name in extra if name})


def key_name(text: str) -> KeyName:
    """The key that a person means with the name of a provider or of a variable.

    Raises `UnknownKeyName` with the nearest one that there is. A text that could be a key itself is not
    repeated.
    """
    usual = provider_variables()
    if _VARIABLE.fullmatch(text):
        return KeyName(text, usual.get(text, ""))
    said = text.lower().replace("-", "_")
    provider = _CALLED.get(said, said)
    if provider in OWN_CREDENTIALS:
        raise UnknownKeyName(
            f"{title_of(provider)} has no key that could be kept: it signs in with profiles, roles or "
            "accounts of your own, which are found by themselves."
        )
    if provider in TITLES or provider in MORE_PROVIDERS:
        return KeyName(key_variables(provider)[0], provider)
    if looks_like_key(text):
        raise UnknownKeyName(
            "That looks like a key and not like the name of one. If it is the key, it is now in the history "
            "of your shell: remove it there, or replace the key. `caesura keys set openai`, for instance, "
            "asks for the key unseen."
        )
    known = [name for name in (*TITLES, *_CALLED) if name not in OWN_CREDENTIALS]
    nearest = difflib.get_close_matches(said, known, n=1)
    meant = (
        f"did you mean {_CALLED.get(nearest[0], nearest[0])}?" if nearest else "openai or groq, for instance."
    )
    raise UnknownKeyName(
        f"There is no provider {text!r} here: {meant} Any other key goes by the name of its variable, as in "
        "SOME_API_KEY."
    )


def spoken(variable: str) -> str:
    """How `caesura keys` is told of the key in this variable."""
    return KeyName(variable, provider_variables().get(variable, "")).spoken


def nearest_variable(name: KeyName) -> str:
    """The variable that `name`, which no provider is asked with, could be a slip of; or empty."""
    if name.provider:
        return ""
    return next(iter(difflib.get_close_matches(name.variable, provider_variables(), n=1, cutoff=0.9)), "")


def looks_like_key(text: str) -> bool:
    """Whether somebody may have given the key where its name was wanted."""
    if _VARIABLE.fullmatch(text):
        return False
    return len(text) >= 20 or text.startswith(("sk-", "AIza", "gsk_", "xai-", "hf_", "ghp_", "pplx-"))


def shout(provider: str) -> str:
    return provider.upper().replace("-", "_")
