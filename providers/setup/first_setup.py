"""The first start's side that acts: it looks, tries a key on its provider, and keeps what was chosen.

A key that was typed is here until it is kept or dropped, and in the model process, which uses it; it is in no
value, no error and no log.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Protocol

from core.errors import CaesuraError
from core.key_commands import KeyPlace
from core.messages import UserMessage
from core.model import ModelError, ModelRequest, Parameters
from core.setup import Kept, KeyedProvider, KeyHome, Trial
from providers.catalog import title_of
from providers.default_models import DEFAULT_MODELS
from providers.discovery import USUAL_PLACES, Discovery
from providers.key_names import key_variables
from providers.key_store import KeyStore
from providers.keys_frontend import TEST_LIMIT_S, TEST_PROMPT, TEST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.cancel import CancelToken
    from core.model import Delta, Emit, Finished
    from core.setup import Found, ModelChosen
    from providers.discovery import Place


class ModelSide(Protocol):
    """What is asked of the model process. No retry is behind it: a person waits, and sees the failure."""

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished: ...

    def use_key(self, name: str, value: str) -> None: ...


class FirstSetup:
    """A `core.setup.Setup`. `write` puts a choice into the settings; it blocks, in a thread, and raises
    `CaesuraError` with a sentence when it cannot."""

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
        self._providers = tuple(
            KeyedProvider(name, title_of(name), key_variables(name)[0], models.chat)
            for name, models in DEFAULT_MODELS.items()
        )
        self._discovery = Discovery(self._providers, self._store.list, environment, usual=usual)
        self._typed: dict[str, str] = {}

    @property
    def providers(self) -> tuple[KeyedProvider, ...]:
        return self._providers

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

    async def test(self, chosen: ModelChosen, token: CancelToken) -> Trial:
        """See `core.setup.Setup.test`. A cheap model of the provider is asked: the key is tried."""
        usual = {models.chat: models.test for models in DEFAULT_MODELS.values()}
        request = ModelRequest(
            usual.get(chosen.choice.model, chosen.choice.model),
            (UserMessage(TEST_PROMPT),),
            api_base=chosen.choice.api_base,
            timeout_s=TEST_LIMIT_S,
            parameters=Parameters(max_output=TEST_TOKENS),
        )
        try:
            await self._process.stream(request, token, _drop)
        except ModelError as error:
            return Trial(str(error))
        return Trial()

    async def keep_key(self, provider: str, home: KeyHome) -> Kept:
        value = self._typed.get(provider, "")
        if home is KeyHome.THIS_RUN:
            del self._typed[provider]
            return Kept(note="The key is kept for this run only: the next start will ask for it again.")
        place = KeyPlace.FILE if home is KeyHome.FILE else KeyPlace.KEYRING
        try:
            notes = await asyncio.to_thread(self._store.set, provider, value, place)
        except CaesuraError as error:
            # What follows is for who stands at a command line.
            return Kept(failure=str(error).partition(" `caesura keys set")[0])
        del self._typed[provider]
        if home is KeyHome.FILE:
            path = self._store.file.path
            notes = (f"The key is in {path}: readable by you alone, but not encrypted.", *notes)
        return Kept(note=" ".join(notes))

    async def save(self, chosen: ModelChosen) -> Kept:
        try:
            await asyncio.to_thread(self._write, chosen)
        except CaesuraError as error:
            return Kept(failure=f"The choice could not be written down, and will be asked for again. {error}")
        return Kept()


def _drop(_: Delta) -> None:
    """What the model says is of no interest here: that it answers is."""
