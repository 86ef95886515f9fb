"""Settings of models: servers, models under names of the user's own, and routes over them.

The classes declare the settings `[providers]`, `[models]`, `[routes]` and `[retry]`, which
`providers.routing.router` reads. A model's name means, in this order: a route, a model of `[models.NAME]`,
`SERVER/MODEL` of a `[providers.SERVER]`, else litellm's own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import field

from core.base.setting import Address, Count, Doc, FromZero, KeyName, Name, OneOf, Seconds, Share, Times
from core.base.values import Value
from core.model.provider import AS_IT_IS, Effort, Parameters
from core.model.server_options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServerAddress(ServerOptions):
    """`[providers.NAME]`: a server with models of the user's own or of a team; NAME/MODEL selects one of
    them."""

    protocol: Annotated[
        Name,
        Doc("How to speak to it, by litellm's name: openai, litellm_proxy, anthropic, ollama_chat, azure..."),
    ] = "openai"
    api_base: Annotated[
        Address,
        Doc("Its address; empty for the usual one of the protocol.", example="https://llm.example.com/v1"),
    ] = ""
    api_version: Annotated[
        str, Doc("The version of its interface, where it wants one, as Azure does.", example="2024-10-21")
    ] = ""
    key: Annotated[
        KeyName,
        Doc(
            "The name of the environment variable, or of the keyring's entry, that holds its key.",
            example="TEAM_LLM_KEY",
        ),
    ] = ""
    concurrent: Annotated[
        Count | None, Doc("How many requests are made of it at once; unset, any.", example=4)
    ] = None

    @property
    def options(self) -> ServerOptions:
        """What is sent with each request to it."""
        return ServerOptions(**{name: getattr(self, name) for name in ServerOptions.__struct_fields__})


class NamedModel(Value):
    """`[models.NAME]`: a model under a name of the user's own, with its own parameters."""

    model: Annotated[
        Name,
        Doc("litellm's name of the model, or SERVER/MODEL of a [providers.SERVER].", example="team/gpt-5.1"),
    ]
    effort: Annotated[
        Effort | None, Doc("How long it may reason, where it can; unset, the general one.", example="high")
    ] = None
    temperature: Annotated[FromZero | None, Doc("How freely it chooses its words.", example=0.7)] = None
    top_p: Annotated[Share | None, Doc("The share of the likeliest words it chooses from.", example=0.9)] = (
        None
    )
    max_output: Annotated[Count | None, Doc("How long a reply may be, in tokens.", example=8192)] = None
    context_window: Annotated[
        Count | None,
        Doc("How much it can read, in tokens, for a model that the catalogue does not know.", example=131072),
    ] = None
    api_base: Annotated[
        Address,
        Doc(
            "The address of its server, where that is not the usual one.", example="http://localhost:8000/v1"
        ),
    ] = ""
    key: Annotated[
        KeyName,
        Doc(
            "The name of the variable, or of the keyring's entry, that holds the key for it.",
            example="CAREFUL_KEY",
        ),
    ] = ""
    concurrent: Annotated[
        Count | None, Doc("How many requests are made of it at once; unset, any.", example=2)
    ] = None

    @property
    def parameters(self) -> Parameters:
        """The parameters of its replies."""
        return Parameters(self.effort, self.temperature, self.top_p, self.max_output)


_BACKOFF = Doc("The first wait before another attempt, in seconds; each further one is twice as long.")
_MAX_WAIT = Doc("The longest wait, in seconds, whatever a server asks for.")


class RetryPolicy(Value):
    """`[retry]`: what to do when a model that is used without a route fails."""

    # A random part of each wait is left out; a wait requested by the server replaces it (R2).
    retries: Annotated[Times, Doc("How often it is tried again, as long as nothing was shown.")] = 2
    backoff: Annotated[Seconds, _BACKOFF] = 1.0
    max_wait: Annotated[Seconds, _MAX_WAIT] = 60.0


class Route(Value):
    """`[routes.NAME]`: exactly one of model, rotate and fallback; members are models or other routes."""

    ONE_OF: ClassVar = OneOf(
        ("model", "rotate", "fallback"),
        "a route has exactly one of model, rotate and fallback, and it is not empty",
    )

    model: Annotated[
        str, Doc("The one model that is asked, for a route that only retries.", example="openai/gpt-5.1")
    ] = ""
    rotate: Annotated[
        tuple[Name, ...],
        Doc("Asked in turn, each request another one.", example=["careful", "groq/llama-3.3-70b-versatile"]),
    ] = ()
    fallback: Annotated[
        tuple[Name, ...],
        Doc("The next one is asked when one fails.", example=["careful", "ollama_chat/qwen3"]),
    ] = ()
    retries: Annotated[Times, Doc("How often the whole of it is tried again.")] = 0
    backoff: Annotated[Seconds, _BACKOFF] = 1.0
    max_wait: Annotated[Seconds, _MAX_WAIT] = 60.0
    cooldown: Annotated[Seconds, Doc("How long a member that failed is left out, in seconds.")] = 30.0

    @property
    def members(self) -> tuple[str, ...]:
        return ((self.model,) if self.model else ()) + self.rotate + self.fallback

    @property
    def retry(self) -> RetryPolicy:
        """How the route as a whole is retried."""
        return RetryPolicy(self.retries, self.backoff, self.max_wait)


class ModelSettings(Value):
    """All model settings. `retry` is for models that are used without a route; `parameters` hold where
    neither the request nor the model sets them."""

    providers: Mapping[str, ServerAddress] = field(default_factory=dict)
    models: Mapping[str, NamedModel] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    retry: RetryPolicy = RetryPolicy()
    parameters: Parameters = AS_IT_IS
