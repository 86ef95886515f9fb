"""How a user without settings gets a model: what can be found and chosen, and the interface that does it.

Values, and the protocol between the screen of the first start and the code that searches, tests and saves.
Nothing here reads or writes anything. A key is never part of a value: `Setup.take_key` receives it, and from
then on its provider's name identifies it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from core.base.values import Value
from core.model.provider import ModelChoice
from core.model.settings import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken

KEY_LIMIT = 4096
"""Maximum length of an accepted key, in characters."""


class KeyedProvider(Value):
    """A provider that needs a key. `name` is litellm's, `variable` the usual environment variable of the key,
    `model` the default model, with its prefix."""

    name: str
    title: str
    variable: str
    model: str


class EnvironmentKey(Value):
    """A key of `provider` is in the environment under `variable`."""

    provider: KeyedProvider
    variable: str


class KeyHome(StrEnum):
    """Where a key that the user entered is stored."""

    KEYRING = "keyring"
    FILE = "file"
    THIS_RUN = "this run"


class StoredKey(Value):
    """A key of `provider` is already stored, in the keyring or in the file of keys."""

    provider: KeyedProvider
    home: KeyHome


class LocalServer(Value):
    """A server on this machine that answered. `name` is its name in settings; `models` are those that can
    hold a conversation, by the server's own names, which may be anything."""

    name: str
    title: str
    protocol: str
    api_base: str
    models: tuple[str, ...]


Found = EnvironmentKey | StoredKey | LocalServer


class DemoChosen(Value):
    """The built-in demo model. It is not saved, so that the next start asks again."""


class ModelChosen(Value):
    """A model as it is used now, and as settings name it: `setting`, with `server` as `[providers.NAME]`
    under the name before the slash if it is not one of the known providers."""

    choice: ModelChoice
    setting: str
    server: ServerAddress | None = None

    @property
    def server_name(self) -> str:
        return "" if self.server is None else self.setting.partition("/")[0]

    @property
    def by_name(self) -> ModelChosen:
        """The same model once settings hold it: a server of the settings gets only its own key."""
        return replace(self, choice=replace(self.choice, model=self.setting, api_base=None))


Chosen = ModelChosen | DemoChosen


def model_of(provider: KeyedProvider) -> ModelChosen:
    return ModelChosen(ModelChoice(provider.model), provider.model)


def model_on(server: LocalServer, model: str) -> ModelChosen:
    """`model` of `server`, over a protocol under which no key of another provider is ever sent there."""
    return ModelChosen(
        ModelChoice(f"{server.protocol}/{model}", server.api_base),
        f"{server.name}/{model}",
        ServerAddress(server.protocol, server.api_base),
    )


class Kept(Value):
    """Whether something was saved: `failure` is a sentence why not, `note` a remark for the user if it
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
    """Operations of the first start. All of them run in the event loop and none blocks it."""

    @property
    def providers(self) -> tuple[KeyedProvider, ...]:
        """The providers whose key can be entered, the most common first."""

    def present(self) -> tuple[Found, ...]:
        """What is available without a search: keys in the environment."""

    async def look(self, on_found: Callable[[Found], object]) -> None:
        """Search everything else at once and report each result when it is found; each place has 3 s.

        Nothing leaves this machine, and no key is sent anywhere. Never raises for what is missing, broken or
        hostile.
        """

    def take_key(self, provider: str, value: str) -> None:
        """Hold this key of `provider` for this run, for its requests and for `keep_key`."""

    def drop_key(self, provider: str) -> None:
        """Discard the key given to `take_key`, unless `keep_key` has stored it."""

    async def test(self, chosen: ModelChosen, token: CancelToken) -> str:
        """Send one small request. The result is a sentence why it failed, empty if the model answered.

        Raises `core.cancel.Cancelled` when `token` ends it; then the connection is closed.
        """

    async def keep_key(self, provider: str, home: KeyHome) -> Kept:
        """Store the key given to `take_key` for the next start. Bounded in time."""

    async def save(self, chosen: ModelChosen) -> Kept:
        """Write the choice into the settings."""
