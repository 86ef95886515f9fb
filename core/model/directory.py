"""Which models there are at which servers, for a person who chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.base.values import Record, Value
from core.model.provider import Catalog
from core.model.server_options import USUAL, ServerOptions

if TYPE_CHECKING:
    from core.model.provider import ModelChoice, Offer


class OwnServer(Record):
    """A server whose list of models can be asked for. `title` names it to the person, and `prefix` goes
    before the name of a model in a choice. `key_name` is as in `ModelRequest`."""

    title: str
    prefix: str
    protocol: str
    api_base: str
    key_name: str | None = None
    options: ServerOptions = USUAL


class ServerModels(Value):
    """The models that servers of the person's own list, those of the one in use first. `problems` has a
    sentence for each server that gave no list."""

    offers: tuple[Offer, ...] = ()
    problems: tuple[str, ...] = ()


class ServerCatalog(Catalog, Protocol):
    """A catalog that can ask a server for what it lists."""

    async def models_of(self, server: OwnServer) -> ServerModels:
        """Ask this one. Never raises; bounded in time."""

    async def window_of(self, server: OwnServer, model: str) -> int | None:
        """How much this model of the server reads, in tokens; None if the server does not tell. As
        `models_of`."""


class ModelDirectory(Catalog, Protocol):
    """A catalog that knows servers too."""

    async def server_models(self, now: ModelChoice) -> ServerModels:
        """Ask the server of `now` and those of the settings. Never raises; bounded in time."""

    async def choose(self, name: str, now: ModelChoice) -> ModelChoice:
        """What `name` means for a person who uses `now`: a model or a route of the settings, else a model of
        the server in use, unless the name has the prefix of another one."""

    async def hosts(self, choice: ModelChoice) -> tuple[str, ...]:
        """Where requests go to, in words."""

    async def addresses(self, choice: ModelChoice) -> tuple[str, ...]:
        """The same with whole addresses, without passwords, and with the settings that they are from."""
