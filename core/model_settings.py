"""What a person says of models: servers, models under names of their own, and routes over them.

Values only, as the settings have them and as `providers.routing` reads them. A name of a model means, in
this order: a route, a model of `[models.NAME]`, `SERVER/MODEL` of a `[providers.SERVER]`, else litellm's own
name.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from core.model import AS_IT_IS, Parameters
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """`[providers.NAME]`: a server with models; `NAME/MODEL` asks one of them.

    `protocol` is litellm's name of how to speak to it: openai, litellm_proxy, anthropic, ollama_chat. `key`
    names the environment variable, or the entry of the keyring, that holds its key; empty for none. Not more
    than `concurrent` requests are made of it at once; 0 sets no limit.
    """

    protocol: str = "openai"
    api_base: str = ""
    api_version: str = ""
    key: str = ""
    concurrent: int = 0


@dataclass(frozen=True, slots=True)
class NamedModel:
    """`[models.NAME]`: a model with parameters of its own, under a name of its own. `context_window` and
    `max_output` are tokens, for a model that the catalogue does not know; `concurrent` as of a server."""

    model: str
    api_base: str = ""
    key: str = ""
    parameters: Parameters = AS_IT_IS
    context_window: int | None = None
    concurrent: int = 0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is tried again that failed before it showed anything, and how long is waited.

    `retries` counts the attempts after the first. The first wait takes `backoff` seconds, each further one
    twice as long, a random part of it left out; what the server asks for is waited instead, `max_wait` at
    most in any case (R2).
    """

    retries: int = 2
    backoff: float = 1.0
    max_wait: float = 60.0


NO_RETRY = RetryPolicy(retries=0)


@dataclass(frozen=True, slots=True)
class Route:
    """`[routes.NAME]`: exactly one of `model`, `rotate` and `fallback`, each naming models or other routes.

    `rotate` asks one after the other in turn; `fallback` asks the next one when one fails. `retry` is for
    the whole of it. A member that has failed is left out for `cooldown` seconds, unless all have.
    """

    model: str = ""
    rotate: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    retry: RetryPolicy = NO_RETRY
    cooldown: float = 30.0

    @property
    def members(self) -> tuple[str, ...]:
        return ((self.model,) if self.model else ()) + self.rotate + self.fallback


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """All of it. `retry` is for models that are asked without a route; `parameters` hold where neither the
    request nor the model says anything else."""

    providers: Mapping[str, ServerAddress] = field(default_factory=dict)
    models: Mapping[str, NamedModel] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    retry: RetryPolicy = RetryPolicy()
    parameters: Parameters = AS_IT_IS
