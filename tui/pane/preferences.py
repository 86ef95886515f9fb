"""Access of the screen to the user's settings, models and keys, for its lists and commands.

There is one instance for the whole program; panes and lists have no other access to settings or providers.
Files are read and written in a thread.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread
from core.model.provider import Effort, ModelChoice, Offer
from core.operations.events import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.config.load import Loaded
    from core.config.settings import Settings
    from core.frontends.doctor.loop_lag import LoopLag
    from core.frontends.doctor.report import Check, Redaction
    from core.model.directory import ModelDirectory, ServerModels
    from core.session.session import Session


class Preferences:
    """Settings and models of the user. `choice` is the model of new sessions; `is_chosen` means that it was
    chosen for this run and takes precedence over any setting. `checks` returns the doctor's checks for a
    session, given measurements of the event loop and the screen size; it blocks."""

    def __init__(
        self,
        settings: Settings,
        directory: ModelDirectory,
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
        self.directory = directory
        self._offers: tuple[Offer, ...] = ()
        self._served: tuple[Offer, ...] = ()
        self.favourites: tuple[str, ...] = ()
        self.files = ""
        """The files that the settings come from, one per line, as of the last read."""

    @property
    def choice(self) -> ModelChoice:
        """The model that new sessions start with."""
        return self._choice

    @choice.setter
    def choice(self, choice: ModelChoice) -> None:
        self._choice = choice
        self._is_chosen = True

    async def offers(self) -> tuple[Offer, ...]:
        """All models that can be chosen."""
        self._offers = await self.directory.offers()
        return self._offers

    async def server_models(self, now: ModelChoice) -> ServerModels:
        """The models that the server of `now` and those of the settings list."""
        found = await self.directory.server_models(now)
        self._served = found.offers
        return found

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of the models known so far, favorites first. Does not wait."""
        names = (*self.favourites, *(offer.info.model for offer in (*self._served, *self._offers)))
        return tuple(dict.fromkeys(names))

    async def read(self) -> None:
        """Read what the attributes give without waiting."""
        loaded, self.files = await run_in_thread(self._load, name="settings")
        self.favourites = tuple(loaded.config.favourites)

    async def set_favourite(self, name: str, *, on: bool) -> None:
        """Save a favorite, or remove it. Raises `CaesuraError` if the settings cannot be written."""
        others = tuple(other for other in self.favourites if other != name)
        favourites = (*others, name) if on else others
        await self.save(("favourites",), list(favourites))
        self.favourites = favourites

    async def save(self, key: tuple[str, ...], value: object) -> None:
        """Set a value in the user's file. If that is not possible, raises `CaesuraError` and changes
        nothing."""
        await run_in_thread(partial(self.settings.save, key, value), name="settings")

    async def trust(self, words: str) -> str:
        """Trust the project's folder, or end that; returns a text about the result. Raises `CaesuraError`."""
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
            # The project's settings may name a model, or may have named the current one.
            self._choice = ModelChoice(model)
        return told

    def _load(self) -> tuple[Loaded, str]:
        """The settings, and the files that they come from."""
        from core.base.folders import config_path

        loaded = self.settings.load()
        own = config_path()
        lines = [f"{own}{'' if own.exists() else ' (there is none)'}"]
        if loaded.project is not None:
            lines.append(f"{loaded.project} {_standing(loaded)}")
        return loaded, "\n".join((*lines, *loaded.errors))


def _standing(loaded: Loaded) -> str:
    """Which part of the project's file counts."""
    if loaded.untrusted:
        return "counts only in what is harmless, for its folder is not trusted; /trust changes that"
    return "counts" if loaded.project_counts else "sets nothing that counts"


class SessionModels:
    """Models for the list of one session: a `tui.lists.base.sources.ModelSource`."""

    def __init__(self, session: Session, preferences: Preferences) -> None:
        self._session = session
        self._preferences = preferences

    @property
    def current(self) -> str:
        return self._session.model.choice.model

    @property
    def effort(self) -> Effort | None:
        return self._session.model.choice.parameters.effort

    @property
    def favourites(self) -> tuple[str, ...]:
        return self._preferences.favourites

    async def offers(self) -> tuple[Offer, ...]:
        return await self._preferences.offers()

    async def server_models(self) -> ServerModels:
        found = await self._preferences.server_models(self._session.model.choice)
        if found.offers:
            # A server may have told how much the model in use reads.
            self._session.model.describe_soon()
        return found

    async def pick(self, name: str, effort: Effort | None, *, from_catalog: bool = False) -> str:
        """Use this model from the next prompt on, and for new sessions.

        A name stays at the server in use as far as it can, except one of the catalog, which means its
        provider's own. Returns a sentence if it is in use already, or if requests go to another host from
        then on; else "".
        """
        now, directory = self._session.model.choice, self._preferences.directory
        is_elsewhere = from_catalog and name != now.model
        chosen = ModelChoice(name) if is_elsewhere else await directory.choose(name, now)
        chosen = replace(chosen, parameters=replace(now.parameters, effort=effort), system=now.system)
        if chosen == now:
            return f"{name} answers already."
        before, after = await directory.hosts(now), await directory.hosts(chosen)
        self._session.model.use(chosen)
        self._preferences.choice = replace(chosen, system=None)
        if set(after) <= set(before):
            return ""
        since = "From now on" if self._session.status is Status.IDLE else "From the next turn on"
        instead = f" instead of {' and '.join(before)}" if before else ""
        return f"{since} requests go to {' and '.join(after)}{instead}."
