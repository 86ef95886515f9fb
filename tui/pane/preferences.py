"""What the screen does with the person's settings, models and keys: what is behind the lists and commands.

One for the whole program, made where that is put together; panes and lists see nothing else of the settings
or of any provider. What reads or writes a file does so in a thread.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from core.errors import CaesuraError
from core.model import Effort, ModelChoice, Offer
from core.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.config import Loaded
    from core.doctor import Check, Redaction
    from core.loop_lag import LoopLag
    from core.model import Catalog
    from core.session import Session
    from core.settings import Settings


class Preferences:
    """See the module. `choice` is the model that new sessions begin with, `is_chosen` whether it was chosen
    for this run, so that no setting goes before it. `checks` gives what the doctor looks at in a session,
    from what was seen of the event loop and the size of the screen; it blocks."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        choice: ModelChoice,
        *,
        is_chosen: bool = False,
        checks: Callable[[Session, LoopLag, tuple[int, int]], tuple[Check, ...]],
        redaction: Callable[[], Redaction],
    ) -> None:
        self.settings = settings
        self._choice = choice
        self._is_chosen = is_chosen
        self.checks = checks
        self.redaction = redaction
        self._catalog = catalog
        self._offers: tuple[Offer, ...] = ()
        self._favourites: tuple[str, ...] | None = None
        self.files = ""
        """Which files the settings come from, one a line; as they were read last."""

    # -- models --

    @property
    def choice(self) -> ModelChoice:
        """The model that new sessions begin with."""
        return self._choice

    @choice.setter
    def choice(self, choice: ModelChoice) -> None:
        self._choice = choice
        self._is_chosen = True

    async def offers(self) -> tuple[Offer, ...]:
        """All models that can be chosen."""
        self._offers = await self._catalog.offers()
        return self._offers

    @property
    def model_names(self) -> tuple[str, ...]:
        """Of the models that are known so far, favourites first. Does not wait."""
        names = (*self.favourites, *(offer.info.model for offer in self._offers))
        return tuple(dict.fromkeys(names))

    @property
    def favourites(self) -> tuple[str, ...]:
        return self._favourites or ()

    async def read(self) -> None:
        """Have what is asked for without a wait read before it is."""
        loaded = await run_in_thread(self.settings.load, name="settings")
        self._favourites = tuple(loaded.config.favourites)
        self.files = await run_in_thread(self._name_files, name="settings")

    async def set_favourite(self, name: str, *, on: bool) -> None:
        """Keep it in the settings. Raises `CaesuraError` when that cannot be."""
        others = tuple(other for other in self.favourites if other != name)
        favourites = (*others, name) if on else others
        await self.save(("favourites",), list(favourites))
        self._favourites = favourites

    # -- settings --

    async def save(self, key: tuple[str, ...], value: object) -> None:
        """Give a setting a value in the person's file. Raises `CaesuraError`, and changes nothing, if that
        cannot be."""
        await run_in_thread(partial(self.settings.save, key, value), name="settings")

    async def trust(self, words: str) -> str:
        """Trust the folder of the project, or no longer; what that did. Raises `CaesuraError`."""
        match words:
            case "":
                told = await run_in_thread(self.settings.trust, name="trust")
            case "off" | "no":
                told = await run_in_thread(self.settings.distrust, name="trust")
            case _:
                raise CaesuraError("/trust trusts this folder, /trust off takes that back.")
        await self.read()
        model = await run_in_thread(lambda: self.settings.config.model, name="settings")
        if model and not self._is_chosen:
            # The project may name one, or have named the one so far.
            self._choice = ModelChoice(model)
        return told

    def _name_files(self) -> str:
        from core.folders import config_path

        loaded = self.settings.load()
        own = config_path()
        lines = [f"{own}{'' if own.exists() else ' (there is none)'}"]
        if loaded.project is not None:
            lines.append(f"{loaded.project} {_standing(loaded)}")
        return "\n".join((*lines, *loaded.errors))


def _standing(loaded: Loaded) -> str:
    """What of the project's file counts."""
    if loaded.untrusted:
        return "counts only in what is harmless, for its folder is not trusted; /trust changes that"
    return "counts" if loaded.project_counts else "sets nothing that counts"


class SessionModels:
    """What the list of models of one session reads from: a `tui.model_shelf.ModelShelf`."""

    def __init__(self, session: Session, preferences: Preferences) -> None:
        self._session = session
        self._preferences = preferences

    @property
    def current(self) -> str:
        return self._session.choice.model

    @property
    def effort(self) -> Effort | None:
        return self._session.choice.parameters.effort

    @property
    def favourites(self) -> tuple[str, ...]:
        return self._preferences.favourites

    async def offers(self) -> tuple[Offer, ...]:
        return await self._preferences.offers()

    def pick(self, name: str, effort: Effort | None) -> bool:
        """Have this model answer from the next prompt on; false if it does already. New sessions begin with
        it, too."""
        now = self._session.choice
        # The address was given for the model it came with.
        api_base = now.api_base if name == now.model else None
        choice = ModelChoice(name, api_base, parameters=replace(now.parameters, effort=effort))
        if replace(choice, system=now.system) == now:
            return False
        self._session.use_model(choice)
        self._preferences.choice = choice
        return True
