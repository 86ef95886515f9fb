"""Finding a provider's key: in the environment, then among the keys given for this run, then among kept ones.

Used in the model process. A key must never reach a log, an error's text, a `repr` or an address that it is
not for. A keyring must never delay a request for longer than `KEYRING_LIMIT_S`.

The usual key of a provider goes to the provider, and to an address that the person gave for this run on the
command line or in the environment. A request whose address comes from the settings has a `key_name`: it gets
the key of that name, or none when the name is empty, and never the usual one.
"""

from __future__ import annotations

import ipaddress
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.base.values import Value
from providers.keys.file import KeyFile, KeyFileError
from providers.keys.names import (
    KEYLESS,
    KEYRING_LIMIT_S,
    OWN_CREDENTIALS,
    KeyProblem,
    env_prefix,
    key_variables,
)
from providers.keys.system_keyring import Keyring, KeyringUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDER = "no-key-needed"
"""Sent to a server that wants no key, because the library insists on one."""

BASE_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
    "ollama_chat": ("OLLAMA_API_BASE",),
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
}
_KEYED_ON_LOOPBACK = frozenset({"litellm_proxy"})
"""Servers that want a key even when they run on this machine."""


class KeySource(StrEnum):
    ENVIRONMENT = "environment"
    THIS_RUN = "this run"
    KEYRING = "keyring"
    FILE = "file"
    NOT_NEEDED = "not needed"
    OWN_CREDENTIALS = "the provider's own credentials"


class Key(Value):
    """A key and where it was found. `value` is None where litellm finds the credentials by itself."""

    value: str | None
    source: KeySource

    def __repr__(self) -> str:
        return f"Key(source={self.source!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("source", self.source)]


class Endpoint(Value):
    """The address of a provider. None means litellm's default."""

    api_base: str | None = None
    api_version: str | None = None


class KeyFinder:
    """Finds keys, remembers those that came from the keyring, and asks no keyring while it hangs.

    Thread-safe enough for its use: two look-ups at once may both ask the keyring, which does no harm.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        keyring_limit_s: float = KEYRING_LIMIT_S,
        file: KeyFile | None = None,
    ) -> None:
        self._environment = environment
        self._this_run: dict[str, str] = {}
        self._keyring = Keyring(keyring_limit_s)
        self._file = file or KeyFile()
        self._found: dict[tuple[str, ...], Key] = {}

    def endpoint(self, provider: str, api_base: str | None) -> Endpoint:
        """The address to use: `api_base` if given, else the provider's usual environment variables."""
        variables = BASE_VARIABLES.get(provider, (f"{env_prefix(provider)}_API_BASE",))
        found = next((self._environment[name] for name in variables if self._environment.get(name)), None)
        version = self._environment.get(f"{env_prefix(provider)}_API_VERSION")
        return Endpoint(api_base or found, version or None)

    def use(self, name: str, value: str) -> None:
        """Use a key for this run only; `""` takes it back. `name` is a variable or a provider."""
        self._this_run[name] = value.strip()

    def find(
        self,
        provider: str,
        *,
        api_base: str | None = None,
        key_name: str | None = None,
    ) -> Key | KeyProblem:
        """The key for `provider`, or why there is none. Blocks for up to the keyring's limit.

        With a `key_name` it is the key of that name and no other; an empty name means that the server wants
        no key. Without one, the user's own server (`api_base`) may want no key: if none is found, a
        placeholder is sent. For a loopback server the keyring is not asked.
        """
        placeholder = Key(PLACEHOLDER, KeySource.NOT_NEEDED)
        if key_name == "":
            return placeholder
        if key_name is not None:
            return self._given((key_name,), (key_name,)) or self._kept((key_name,))
        names = key_variables(provider)
        entries = (*names, provider)
        if (given := self._given(names, entries)) is not None:
            return given
        if provider in OWN_CREDENTIALS:
            return Key(None, KeySource.OWN_CREDENTIALS)
        loopback = api_base is not None and is_loopback(api_base) and provider not in _KEYED_ON_LOOPBACK
        if provider in KEYLESS or loopback:
            return placeholder
        kept = self._kept(entries)
        is_own_server = api_base is not None and provider != "azure"
        return placeholder if isinstance(kept, KeyProblem) and is_own_server else kept

    def forget(self, provider: str, *, key_name: str | None = None) -> None:
        """Read the keyring again at the next request, after the provider has refused the remembered key."""
        entries = (key_name,) if key_name else (*key_variables(provider), provider)
        self._found.pop(entries, None)

    def _given(self, names: tuple[str, ...], entries: tuple[str, ...]) -> Key | None:
        for name in names:
            if value := self._environment.get(name, "").strip():
                return Key(value, KeySource.ENVIRONMENT)
        for entry in entries:
            if value := self._this_run.get(entry, ""):
                return Key(value, KeySource.THIS_RUN)
        return None

    def _kept(self, entries: tuple[str, ...]) -> Key | KeyProblem:
        if (found := self._found.get(entries)) is not None:
            return found
        problem = KeyProblem.MISSING
        try:
            if value := self._keyring.read(entries):
                self._found[entries] = Key(value, KeySource.KEYRING)
                return self._found[entries]
        except KeyringUnusable as error:
            problem = error.problem
        try:
            kept = self._file.read()
        except KeyFileError:
            return KeyProblem.FILE_UNUSABLE
        value = next((kept[entry] for entry in entries if kept.get(entry)), "")
        return Key(value, KeySource.FILE) if value else problem


def is_loopback(api_base: str) -> bool:
    """Whether the address is this machine's own."""
    try:
        host = urlsplit(api_base).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
