"""Carries out the first start: searches, tests a key on its provider, and saves the choice.

A typed key is here until it is stored or dropped, and in the model process, which uses it; it is in no value,
no error and no log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread
from core.model.key_commands import KeyPlace
from core.model.provider import ModelError
from core.model.setup import Kept, KeyedProvider, KeyHome
from providers.catalog import title_of
from providers.keys.default_models import DEFAULT_MODELS, trial_request
from providers.keys.names import key_variables
from providers.keys.store import KeyStore
from providers.setup.discovery import USUAL_PLACES, Discovery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.cancel import CancelToken
    from core.model.provider import Emit, Finished, ModelRequest
    from core.model.setup import Found, ModelChosen
    from providers.setup.discovery import Place


class ModelSide(Protocol):
    """The interface to the model process. Without retries: a user waits, and sees the failure."""

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished: ...

    def use_key(self, name: str, value: str) -> None: ...


class FirstSetup:
    """A `core.model.setup.Setup`. `write` saves a choice in the settings; it blocks, runs in a thread, and
    raises `CaesuraError` with a sentence when it cannot."""

    def __init__(
        self,
        process: ModelSide,
        write: Callable[[ModelChosen], object],
        environment: Mapping[str, str] = os.environ,
        *,
        store: KeyStore | None = None,
        usual: Sequence[Place] = USUAL_PLACES,
    ) -> None:
        self._process = process
        self._write = write
        self._store = store or KeyStore(environment)
        self.providers = tuple(
            KeyedProvider(name, title_of(name), key_variables(name)[0], models.chat)
            for name, models in DEFAULT_MODELS.items()
        )
        self._discovery = Discovery(self.providers, self._store.list, environment, usual=usual)
        self._typed: dict[str, str] = {}

    def present(self) -> tuple[Found, ...]:
        return self._discovery.present()

    async def look(self, on_found: Callable[[Found], object]) -> None:
        await self._discovery.look(on_found)

    def take_key(self, provider: str, value: str) -> None:
        self._typed[provider] = value
        self._process.use_key(key_variables(provider)[0], value)

    def drop_key(self, provider: str) -> None:
        if self._typed.pop(provider, None) is not None:
            self._process.use_key(key_variables(provider)[0], "")

    async def test(self, chosen: ModelChosen, token: CancelToken) -> str:
        """Implements `core.model.setup.Setup.test`, with a cheap model of the provider, since only the key is
        tested."""
        usual = {models.chat: models.test for models in DEFAULT_MODELS.values()}
        request = trial_request(usual.get(chosen.choice.model, chosen.choice.model), chosen.choice.api_base)
        try:
            await self._process.stream(request, token, lambda _: None)
        except ModelError as error:
            return str(error)
        return ""

    async def keep_key(self, provider: str, home: KeyHome) -> Kept:
        value = self._typed.get(provider, "")
        if home is KeyHome.THIS_RUN:
            del self._typed[provider]
            return Kept(note="The key is kept for this run only: the next start will ask for it again.")
        place = KeyPlace.FILE if home is KeyHome.FILE else KeyPlace.KEYRING
        try:
            notes = await run_in_thread(lambda: self._store.set(provider, value, place), name="keep a key")
        except CaesuraError as error:
            # The rest is meant for users of the command line.
            return Kept(failure=str(error).partition(" `caesura keys set")[0])
        del self._typed[provider]
        if home is KeyHome.FILE:
            path = self._store.file.path
            notes = (f"The key is in {path}: readable by you alone, but not encrypted.", *notes)
        return Kept(note=" ".join(notes))

    async def save(self, chosen: ModelChosen) -> Kept:
        try:
            await run_in_thread(lambda: self._write(chosen), name="write settings")
        except CaesuraError as error:
            return Kept(failure=f"The choice could not be written down, and will be asked for again. {error}")
        return Kept()
