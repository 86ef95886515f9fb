"""How a person without settings comes to a model: what can be found, what can be chosen, and who does it.

Values, and the protocol between the screen of the first start and what looks, tests and keeps. Nothing here
reads or writes anything. A key is never part of a value: it goes into `Setup.take_key` and is named by its
provider from then on.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from core.model import ModelChoice
from core.model_settings import ServerAddress
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken

KEY_LIMIT = 4096
"""Characters of the longest key that is taken."""


@dataclass(frozen=True, slots=True)
class KeyedProvider:
    """A provider that wants a key. `name` is litellm's, `variable` the environment's usual name for the key,
    `model` the one that is asked when nobody has named another, with its prefix."""

    name: str
    title: str
    variable: str
    model: str


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """A key of `provider` stands in the environment under `variable`."""

    provider: KeyedProvider
    variable: str


class KeyHome(StrEnum):
    """Where a key is kept that a person has entered."""

    KEYRING = "keyring"
    FILE = "file"
    THIS_RUN = "this run"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of `provider` has been kept before, in the keyring or in the file of keys."""

    provider: KeyedProvider
    home: KeyHome


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server on this machine that answered. `name` is what settings call it; `models` are those that can
    hold a conversation, by the server's own names, which may be anything."""

    name: str
    title: str
    protocol: str
    api_base: str
    models: tuple[str, ...]


Found = EnvironmentKey | StoredKey | LocalServer


@dataclass(frozen=True, slots=True)
class DemoChosen:
    """The built-in demo model. Nothing of it is kept, so that the next start asks again."""


@dataclass(frozen=True, slots=True)
class ModelChosen:
    """A model as it is asked now, and as settings name it: `setting`, with `server` as `[providers.NAME]`
    under the name before the slash where it is not one of the known providers."""

    choice: ModelChoice
    setting: str
    server: ServerAddress | None = None

    @property
    def server_name(self) -> str:
        return "" if self.server is None else self.setting.partition("/")[0]

    @property
    def by_name(self) -> ModelChosen:
        """The same as the settings have it, once they do: a server of theirs gets no key but its own."""
        return replace(self, choice=replace(self.choice, model=self.setting, api_base=None))


Chosen = ModelChosen | DemoChosen


def model_of(provider: KeyedProvider) -> ModelChosen:
    return ModelChosen(ModelChoice(provider.model), provider.model)


def model_on(server: LocalServer, model: str) -> ModelChosen:
    """`model` of `server`, asked by a protocol under which no key of another provider is ever sent there."""
    return ModelChosen(
        ModelChoice(f"{server.protocol}/{model}", server.api_base),
        f"{server.name}/{model}",
        ServerAddress(server.protocol, server.api_base),
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """What one request with a key has shown: `failure` is a sentence, empty if the model answered."""

    failure: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure


@dataclass(frozen=True, slots=True)
class Kept:
    """Whether something was kept: `failure` says in a sentence why not, `note` what one should know if it
    was."""

    failure: str = ""
    note: str = ""


def fault_of_key(text: str) -> str:
    """Why `text` cannot be a key, as a sentence that does not repeat it; empty if it can."""
    if not text:
        return "There is no key yet: paste it or type it."
    if len(text) > KEY_LIMIT:
        return f"This is too long for a key ({len(text)} characters): paste the key alone."
    if text[0] in "\"'" or "=" in text.rstrip("=")[:40]:
        return "Paste the key alone, without its name and without quotes."
    if any(character.isspace() for character in text):
        return "A key has no blanks in it: paste the key alone."
    if not (text.isascii() and text.isprintable()):
        return "A key has only plain letters, digits and signs: paste it once more."
    return ""


class Setup(Protocol):
    """What the first start asks for. All of it runs in the event loop and none of it blocks it."""

    @property
    def providers(self) -> tuple[KeyedProvider, ...]:
        """Whose key can be entered, the most common first."""
        ...

    def present(self) -> tuple[Found, ...]:
        """What is there without looking: keys in the environment."""
        ...

    async def look(self, on_found: Callable[[Found], object]) -> None:
        """Look for everything else at once and tell of each thing when it is found; each place has 3 s.

        Nothing leaves this machine, and no key goes anywhere. Never raises for what is not there, broken or
        hostile.
        """
        ...

    def take_key(self, provider: str, value: str) -> None:
        """Hold this key of `provider` for this run, for its requests and for `keep_key`."""
        ...

    def drop_key(self, provider: str) -> None:
        """Forget what `take_key` was given, unless `keep_key` has kept it."""
        ...

    async def test(self, chosen: ModelChosen, token: CancelToken) -> Trial:
        """Send one small request. Raises `core.cancel.Cancelled` when `token` ends it; then the connection is
        closed."""
        ...

    async def keep_key(self, provider: str, home: KeyHome) -> Kept:
        """Put the key that was taken where the next start finds it. Bounded in time."""
        ...

    async def save(self, chosen: ModelChosen) -> Kept:
        """Write the choice into the settings."""
        ...
