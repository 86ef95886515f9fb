"""Where a provider's key comes from: the environment first, then the keyring of the desktop.

Used in the model process only. A key must never reach the parent process, a log, an error's text or a
`repr`. A keyring must never hold a request up for longer than `KEYRING_LIMIT_S`: a dead D-Bus takes about
a second to say so, and a backend that asks for a password on a screen nobody sees never answers.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from providers.catalog import title_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "caesura"
"""The keyring's service name; the user name is the environment variable's, or the provider's."""
KEYRING_LIMIT_S = 3.0
PLACEHOLDER = "no-key-needed"
"""Sent where a server wants no key but the library insists on one."""

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
BASE_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
    "ollama_chat": ("OLLAMA_API_BASE",),
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
}
KEYLESS = frozenset({"hosted_vllm", "llamafile", "lm_studio", "ollama", "ollama_chat", "vllm"})
"""Providers that run on the user's own machines and usually want no key."""
OWN_CREDENTIALS = frozenset(
    {"bedrock", "chatgpt", "github_copilot", "oci", "sagemaker", "sagemaker_chat", "vertex_ai", "watsonx"}
)
"""Providers that sign in with profiles, roles or service accounts, which litellm finds by itself."""


class KeySource(StrEnum):
    ENVIRONMENT = "environment"
    KEYRING = "keyring"
    NOT_NEEDED = "not needed"
    OWN_CREDENTIALS = "the provider's own credentials"


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it was found. `value` is None where litellm finds the credentials by itself."""

    value: str | None = field(repr=False)
    source: KeySource


class KeyProblem(StrEnum):
    """Why there is no key."""

    MISSING = "missing"
    NO_KEYRING = "no keyring"
    KEYRING_LOCKED = "keyring locked"
    KEYRING_HANGS = "keyring hangs"
    KEYRING_FAILS = "keyring fails"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is reached. None leaves the choice to litellm's defaults."""

    api_base: str | None = None
    api_version: str | None = None


def key_variables(provider: str) -> tuple[str, ...]:
    """The environment variables that may hold the key of `provider`, the usual one first."""
    return KEY_VARIABLES.get(provider, (f"{_shout(provider)}_API_KEY",))


def all_key_variables() -> frozenset[str]:
    """Every variable that is known to hold a key: no child that runs a command gets one of them."""
    known = (name for names in KEY_VARIABLES.values() for name in names)
    return frozenset((*known, "OPENAI_API_KEY", "ANTHROPIC_API_KEY"))


def endpoint(provider: str, api_base: str | None, environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The address to use: `api_base` if given, else the provider's usual environment variables."""
    variables = BASE_VARIABLES.get(provider, (f"{_shout(provider)}_API_BASE",))
    found = next((environment[name] for name in variables if environment.get(name)), None)
    return Endpoint(api_base or found, environment.get(f"{_shout(provider)}_API_VERSION") or None)


def explain(problem: KeyProblem, provider: str) -> str:
    """One sentence for the user: what is missing, for which provider, and what to do next."""
    title, variable = title_of(provider), key_variables(provider)[0]
    match problem:
        case KeyProblem.MISSING:
            return (
                f"No key for {title}: set {variable} and start Caesura again, "
                f"or store it with `python -m keyring set {SERVICE} {variable}`."
            )
        case KeyProblem.NO_KEYRING:
            return (
                f"No key for {title}: set {variable} and start Caesura again "
                "(this machine has no keyring that could hold it)."
            )
        case KeyProblem.KEYRING_LOCKED:
            return (
                f"No key for {title}: the keyring is locked; unlock it and send the prompt again, "
                f"or set {variable} and start Caesura again."
            )
        case KeyProblem.KEYRING_HANGS:
            return (
                f"No key for {title}: the keyring did not answer within {KEYRING_LIMIT_S:g} s; "
                f"set {variable} and start Caesura again."
            )
        case KeyProblem.KEYRING_FAILS:
            return (
                f"No key for {title}: the keyring could not be read; set {variable} and start Caesura again."
            )
        case _:
            assert_never(problem)


class KeyFinder:
    """Finds keys, remembers those that came from the keyring, and never asks a hung keyring twice.

    Thread-safe enough for its use: two look-ups at once may both ask the keyring, which does no harm.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, keyring_limit_s: float = KEYRING_LIMIT_S
    ) -> None:
        self._environment = environment
        self._keyring_limit_s = keyring_limit_s
        self._found: dict[str, Key] = {}
        self._keyring_hangs = False

    def find(self, provider: str, *, api_base: str | None = None) -> Key | KeyProblem:
        """The key for `provider`, or why there is none. Blocks for up to the keyring's limit.

        A server of the user's own (`api_base`) may want no key, so there a missing one is no problem: a
        placeholder is sent. A loopback server is not worth a question to the keyring.
        """
        names = key_variables(provider)
        for name in names:
            if value := self._environment.get(name, "").strip():
                return Key(value, KeySource.ENVIRONMENT)
        if provider in OWN_CREDENTIALS:
            return Key(None, KeySource.OWN_CREDENTIALS)
        placeholder = Key(PLACEHOLDER, KeySource.NOT_NEEDED)
        if provider in KEYLESS or (api_base is not None and is_loopback(api_base)):
            return placeholder
        answer = self._found.get(provider) or self._ask_keyring((*names, provider))
        match answer:
            case Key():
                self._found[provider] = answer
                return answer
            case KeyProblem():
                own_server = api_base is not None and provider != "azure"
                return placeholder if own_server else answer
            case _:
                assert_never(answer)

    def forget(self, provider: str) -> None:
        """Read the keyring again at the next request: the provider refused the key that is remembered."""
        self._found.pop(provider, None)

    def _ask_keyring(self, users: tuple[str, ...]) -> Key | KeyProblem:
        if self._keyring_hangs:
            return KeyProblem.KEYRING_HANGS
        answers: queue.SimpleQueue[Key | KeyProblem] = queue.SimpleQueue()
        # A daemon, because a hung backend cannot be interrupted and must not keep the process alive.
        threading.Thread(
            target=lambda: answers.put(_read_keyring(users)), name="keyring", daemon=True
        ).start()
        try:
            return answers.get(timeout=self._keyring_limit_s)
        except queue.Empty:
            self._keyring_hangs = True
            return KeyProblem.KEYRING_HANGS


def is_loopback(api_base: str) -> bool:
    """Whether the address is this machine's own."""
    try:
        host = urlsplit(api_base).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_keyring(users: tuple[str, ...]) -> Key | KeyProblem:
    try:
        import keyring
        from keyring.errors import InitError, KeyringLocked, NoKeyringError
    except ImportError:
        return KeyProblem.NO_KEYRING
    try:
        for user in users:
            if value := (keyring.get_password(SERVICE, user) or "").strip():
                return Key(value, KeySource.KEYRING)
    except NoKeyringError:
        return KeyProblem.NO_KEYRING
    except (KeyringLocked, InitError):
        return KeyProblem.KEYRING_LOCKED
    except Exception:  # noqa: BLE001 - backends are plug-ins that raise what they like, text with secrets included
        return KeyProblem.KEYRING_FAILS
    return KeyProblem.MISSING


def _shout(provider: str) -> str:
    return provider.upper().replace("-", "_")
