"""Names of keys: the variables of each provider, the names a person may use, and why a key is missing.

A key is kept in the keyring and in `keys.toml` under the name of its variable.
"""

from __future__ import annotations

import difflib
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.secrets import is_key_like
from core.base.values import Value
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
"""Keys of providers that other programs, such as `gh`, sign in with too. Commands get them, like credentials
of a cloud (`AWS_...`, `AZURE_CLIENT_SECRET`, `GOOGLE_APPLICATION_CREDENTIALS`)."""

MORE_PROVIDERS = (
    "ai21", "aiml", "anyscale", "azure_text", "baseten", "codestral", "cometapi", "databricks", "deepinfra",
    "featherless_ai", "friendliai", "galadriel", "hyperbolic", "lambda_ai", "meta_llama", "minimax", "nebius",
    "novita", "nscale", "replicate", "sambanova", "text_completion_openai", "v0", "vercel_ai_gateway",
    "volcengine", "voyage", "wandb", "xinference",
)  # fmt: skip
"""Providers without a title here whose variable follows the general rule of `key_variables`."""
MORE_VARIABLES = (
    "AIMLAPI_KEY", "ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AZURE_AD_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN", "COMETAPI_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN", "FRIENDLI_TOKEN",
    "GIGACHAT_ACCESS_TOKEN", "GIGACHAT_CREDENTIALS", "LITELLM_MASTER_KEY", "OPENAI_API_KEYS",
    "OPENAI_LIKE_API_KEY", "OR_API_KEY", "REPLICATE_API_TOKEN", "TOGETHER_AI_TOKEN", "WATSONX_APIKEY",
    "WATSONX_API_KEY", "WATSONX_TOKEN", "WATSONX_ZENAPIKEY",
)  # fmt: skip
"""Further variables that litellm, or another program for the same providers, takes a key from."""

_NICKNAMES = {
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
"""Other names of providers that people use."""
_VARIABLE = re.compile(r"(?=.*[A-Z])[A-Z_][A-Z0-9_]{1,79}")

KEYRING_LIMIT_S = 3.0
"""How long a keyring may take, in seconds: a dead D-Bus takes one, and some never answer."""


class UnknownKeyName(CaesuraError):
    """A text that is neither a provider nor the name of a variable."""


class KeyName(Value):
    """The name of a key. `provider` has it as its usual key; it is empty for a name of the person's own."""

    variable: str
    provider: str

    @property
    def is_usual(self) -> bool:
        return bool(self.provider) and self.variable == key_variables(self.provider)[0]

    @property
    def entries(self) -> tuple[str, ...]:
        """The names under which it may be kept, the usual one first."""
        return (*key_variables(self.provider), self.provider) if self.is_usual else (self.variable,)

    @property
    def cli_name(self) -> str:
        """Its name on the command line of `caesura keys`."""
        return self.provider if self.is_usual else self.variable

    @property
    def title(self) -> str:
        return title_of(self.provider) if self.provider else self.variable


def key_variables(provider: str) -> tuple[str, ...]:
    """The environment variables that may hold the key of `provider`, the usual one first."""
    return KEY_VARIABLES.get(provider, (f"{env_prefix(provider)}_API_KEY",))


def provider_variables() -> dict[str, str]:
    """Every key variable of the providers with a title, with its provider."""
    found: dict[str, str] = {}
    for provider in TITLES:
        if provider not in OWN_CREDENTIALS:
            for name in key_variables(provider):
                found.setdefault(name, provider)
    return found


def all_key_variables(extra: Iterable[str] = ()) -> frozenset[str]:
    """Every variable that is known to hold a key. No command gets one of them.

    `extra` are the variables that the person's settings name. They count even if they are in `OWN_TOOLS`.
    """
    providers = (*TITLES, *KEY_VARIABLES, *MORE_PROVIDERS)
    known = {name for provider in providers for name in key_variables(provider)}
    return frozenset((known | set(MORE_VARIABLES)) - OWN_TOOLS | {name for name in extra if name})


def key_name(text: str) -> KeyName:
    """The key that a person means with the name of a provider or of a variable.

    Raises `UnknownKeyName` with the nearest known name. It does not repeat a text that could be a key itself.
    """
    usual = provider_variables()
    if _VARIABLE.fullmatch(text):
        return KeyName(text, usual.get(text, ""))
    name = text.lower().replace("-", "_")
    provider = _NICKNAMES.get(name, name)
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
    known = [name for name in (*TITLES, *_NICKNAMES) if name not in OWN_CREDENTIALS]
    nearest = difflib.get_close_matches(name, known, n=1)
    meant = (
        f"did you mean {_NICKNAMES.get(nearest[0], nearest[0])}?"
        if nearest
        else "openai or groq, for instance."
    )
    raise UnknownKeyName(
        f"There is no provider {text!r} here: {meant} Any other key goes by the name of its variable, as in "
        "SOME_API_KEY."
    )


def cli_name(variable: str) -> str:
    """The name of the key in this variable on the command line of `caesura keys`."""
    return KeyName(variable, provider_variables().get(variable, "")).cli_name


def nearest_variable(name: KeyName) -> str:
    """The known variable that `name` may be a misspelling of, or an empty text."""
    if name.provider:
        return ""
    return next(iter(difflib.get_close_matches(name.variable, provider_variables(), n=1, cutoff=0.9)), "")


def looks_like_key(text: str) -> bool:
    """Whether `text` may be a key, given by mistake in place of its name."""
    if _VARIABLE.fullmatch(text):
        return False
    return len(text) >= 20 or is_key_like(text)


def env_prefix(provider: str) -> str:
    """How the names of a provider's environment variables begin."""
    return provider.upper().replace("-", "_")


class KeyProblem(StrEnum):
    """Why there is no key."""

    MISSING = "missing"
    NO_KEYRING = "no keyring"
    KEYRING_LOCKED = "keyring locked"
    KEYRING_HANGS = "keyring hangs"
    KEYRING_FAILS = "keyring fails"
    FILE_UNUSABLE = "file unusable"


_EXPLANATIONS = {
    KeyProblem.MISSING: (
        "{no_key}: store it with `caesura keys set {cli}` and send the prompt again, or {environment}."
    ),
    KeyProblem.NO_KEYRING: (
        "{no_key}: {environment}, or have `caesura keys set {cli} --file` keep it in a file "
        "(this machine has no keyring that could hold it)."
    ),
    KeyProblem.KEYRING_LOCKED: (
        "{no_key}: the keyring is locked; unlock it and send the prompt again, or {environment}."
    ),
    KeyProblem.KEYRING_HANGS: (
        f"{{no_key}}: the keyring did not answer within {KEYRING_LIMIT_S:g} s; look whether it asks "
        "for a password and send the prompt again, or {environment}."
    ),
    KeyProblem.KEYRING_FAILS: (
        "{no_key}: the keyring could not be read; {environment}, or have "
        "`caesura keys set {cli} --file` keep it in a file."
    ),
    KeyProblem.FILE_UNUSABLE: (
        "{no_key}: keys.toml beside the settings cannot be used; `caesura keys list` says why. "
        "Or {environment}."
    ),
}


def explain(problem: KeyProblem, provider: str, key_name: str | None = None) -> str:
    """One sentence for the user: what is missing, for which provider, and what to do next.

    `key_name` is the variable that was asked for in place of the provider's usual one.
    """
    variable = key_name or key_variables(provider)[0]
    return _EXPLANATIONS[problem].format(
        no_key=f"No key called {key_name}" if key_name else f"No key for {title_of(provider)}",
        cli=cli_name(variable),
        environment=f"set {variable} before you start Caesura",
    )
