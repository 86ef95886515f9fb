"""All settings that there are. What stands beside a setting here is its manual: type, default, meaning.

It must never import pydantic: that reads these classes when a file is validated. What a project's file may
set before the person trusts it stands here too, as `ProjectMay`; a setting that says nothing of it may not.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Annotated

from core.access import AccessKind
from core.config_values import (
    Address,
    Count,
    Dollars,
    KeyName,
    Name,
    Number,
    RuleSetting,
    Seconds,
    Switch,
    Times,
)
from core.model import Effort, Parameters
from core.model_settings import ModelSettings, NamedModel, RetryPolicy, Route, ServerAddress
from core.permissions import Mode
from core.rules import Rule, Subject, forbids

# What pydantic reads off a dataclass without being imported by it.
_NOTHING_ELSE = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Doc:
    """What a setting means, for the manual. `secret` values are not listed. A list that `adds_up` is made
    longer by each layer, where other settings are replaced: nobody's denials are taken away by a project.
    `example` is shown where there is no default to show."""

    text: str
    secret: bool = False
    adds_up: bool = False
    example: object = None


class ProjectMay(Enum):
    """What a project's file may do with a setting before the person trusts its folder.

    LOWER: give a bound that is below the person's own. SWITCH_OFF: set it to false.
    """

    SET = auto()
    LOWER = auto()
    SWITCH_OFF = auto()


class ContainmentChoice(StrEnum):
    """How the processes of a command are held together. AUTO takes the strongest that this machine has."""

    AUTO = "auto"
    NAMESPACE = "namespace"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """`[providers.NAME]`: a server with models of its own or of a team; NAME/MODEL asks one of them."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

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


@dataclass(frozen=True, slots=True)
class NamedModelSettings:
    """`[models.NAME]`: a model under a name of your own, with parameters of its own."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    model: Annotated[
        Name,
        Doc("litellm's name of the model, or SERVER/MODEL of a [providers.SERVER].", example="team/gpt-5.1"),
    ]
    effort: Annotated[
        Effort | None, Doc("How long it may reason, where it can; unset, the general one.", example="high")
    ] = None
    temperature: Annotated[
        Annotated[float, Number(zero=True)] | None, Doc("How freely it chooses its words.", example=0.7)
    ] = None
    top_p: Annotated[
        Annotated[float, Number(most=1)] | None,
        Doc("The share of the likeliest words it chooses from.", example=0.9),
    ] = None
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


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """`[routes.NAME]`: exactly one of model, rotate and fallback; members are models or other routes."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE
    ONE_OF: typing.ClassVar = ("model", "rotate", "fallback")

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
    backoff: Annotated[
        Seconds, Doc("The first wait before another attempt, in seconds; each further one is twice as long.")
    ] = 1.0
    max_wait: Annotated[Seconds, Doc("The longest wait, in seconds, whatever a server asks for.")] = 60.0
    cooldown: Annotated[Seconds, Doc("How long a member that failed is left out, in seconds.")] = 30.0

    def __post_init__(self) -> None:
        if (bool(self.model) + bool(self.rotate) + bool(self.fallback)) != 1:
            raise ValueError("a route has exactly one of model, rotate and fallback, and it is not empty")

    @property
    def members(self) -> tuple[str, ...]:
        return ((self.model,) if self.model else ()) + self.rotate + self.fallback


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """`[retry]`: what is done when a model fails that is asked without a route."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    retries: Annotated[Times, Doc("How often it is tried again, as long as nothing was shown.")] = 2
    backoff: Annotated[
        Seconds, Doc("The first wait before another attempt, in seconds; each further one is twice as long.")
    ] = 1.0
    max_wait: Annotated[Seconds, Doc("The longest wait, in seconds, whatever a server asks for.")] = 60.0


@dataclass(frozen=True, slots=True)
class PermissionSettings:
    """`[permissions]`: the mode a session begins in, and rules such as `shell(git status *)`."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    mode: Annotated[
        Mode,
        Doc(
            "What is done without a question: ask reads, edits also edits, plan changes nothing, and auto "
            "does all that is not dangerous."
        ),
    ] = Mode.ASK
    allow: Annotated[
        tuple[RuleSetting, ...],
        Doc("What is done without a question.", example=["shell(git status *)"], adds_up=True),
    ] = ()
    ask: Annotated[
        tuple[RuleSetting, ...],
        Doc("What is always asked about; goes before allow.", example=["web_fetch"], adds_up=True),
    ] = ()
    deny: Annotated[
        tuple[RuleSetting, ...],
        Doc("What is never done; goes before ask and allow.", example=["read_file(~/.ssh/**)"], adds_up=True),
    ] = ()


@dataclass(frozen=True, slots=True)
class ContainmentRule:
    """`[[tools.containment_rules]]`: commands that need another containment, such as `sudo *`."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    command: str
    containment: ContainmentChoice


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """`[tools]`: how commands are run, and how much one turn may do."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    containment: Annotated[
        ContainmentChoice,
        Doc("How the processes of a command are held together; auto is the strongest that there is."),
    ] = ContainmentChoice.AUTO
    containment_rules: Annotated[
        tuple[ContainmentRule, ...],
        Doc(
            "Commands that need another.",
            adds_up=True,
            example=[{"command": "sudo *", "containment": "group"}],
        ),
    ] = ()
    max_steps: Annotated[
        Count | None,
        Doc("Replies of one turn, lest a model that goes round in circles does so all night."),
        ProjectMay.LOWER,
    ] = 200
    deadline: Annotated[
        Seconds | None,
        Doc("How long a turn may take, in seconds; unset, as long as it takes.", example=600),
        ProjectMay.LOWER,
    ] = None
    max_budget: Annotated[
        Dollars | None,
        Doc("What a session may cost, in dollars; unset, what it costs.", example=2.5),
        ProjectMay.LOWER,
    ] = None

    def containment_of(self, line: str, commands: tuple[tuple[str, ...], ...] | None) -> ContainmentChoice:
        """The containment of a command line: that of the first rule that covers any command in it.

        `commands` are those of `core.tools.shell_syntax.commands`, None where it could not tell.
        """
        subject = Subject("shell", AccessKind.COMMAND, line, Path("/"), commands=commands)
        for rule in self.containment_rules:
            if forbids(Rule("shell", rule.command), subject):
                return rule.containment
        return self.containment


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`[mcp.servers.NAME]`: a server that is started by `command`, or one that answers at `url`."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE
    ONE_OF: typing.ClassVar = ("command", "url")

    command: Annotated[
        tuple[str, ...],
        Doc("The program that is the server, and its arguments.", example=["docs-server", "--quiet"]),
    ] = ()
    url: Annotated[str, Doc("The address at which it answers.", example="https://mcp.example.com/")] = ""
    env: Annotated[
        dict[str, str], Doc("Added to the environment of its process.", example="value", secret=True)
    ] = field(default_factory=dict)
    headers: Annotated[
        dict[str, str], Doc("Sent along with each request to it.", example="value", secret=True)
    ] = field(default_factory=dict)
    grace: Annotated[Seconds, Doc("How long it may take to end a stopped call, in seconds.")] = 2.0

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a command or a url")


@dataclass(frozen=True, slots=True)
class McpSettings:
    """`[mcp]`: servers that offer tools."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    servers: Annotated[dict[str, ServerSettings], Doc("Servers by name.")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """`[jobs]`: requests that Caesura makes for itself."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    memory: Annotated[
        Switch,
        Doc("Whether facts of a workspace are noted, and those noted before told to the model."),
        ProjectMay.SWITCH_OFF,
    ] = True
    titles: Annotated[
        Switch,
        Doc("Whether the model is asked for a title; else that is the first line of the first prompt."),
        ProjectMay.SWITCH_OFF,
    ] = True


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, with the defaults where nothing is said."""

    __pydantic_config__: typing.ClassVar = _NOTHING_ELSE

    model: Annotated[
        str,
        Doc(
            "Which model answers: a [routes.NAME], a [models.NAME], SERVER/MODEL, or litellm's name of one.",
            example="anthropic/claude-sonnet-4-5",
        ),
    ] = ""
    theme: Annotated[
        str,
        Doc('The theme by name; "auto" follows the dark or light of the terminal.'),
        ProjectMay.SET,
    ] = "auto"
    effort: Annotated[
        Effort | None,
        Doc(
            "How long a model that reasons may do so; unset, what its provider thinks best.", example="medium"
        ),
        ProjectMay.SET,
    ] = None
    project_notes: Annotated[
        Switch, Doc("Whether AGENTS.md and .caesura.md are told to the model."), ProjectMay.SWITCH_OFF
    ] = True
    favourites: Annotated[
        tuple[Name, ...], Doc("Models that the picker shows first.", example=["careful", "openai/gpt-5.1"])
    ] = ()
    providers: Annotated[dict[str, ProviderSettings], Doc("Servers with models, by name.")] = field(
        default_factory=dict
    )
    models: Annotated[dict[str, NamedModelSettings], Doc("Models under names of your own.")] = field(
        default_factory=dict
    )
    routes: Annotated[dict[str, RouteSettings], Doc("Models that stand in for each other, by name.")] = field(
        default_factory=dict
    )
    retry: RetrySettings = RetrySettings()
    keys: Annotated[
        dict[str, str],
        Doc("Keys of your own: the id of a binding, and its keys, separated by commas.", example="f2"),
    ] = field(default_factory=dict)
    permissions: PermissionSettings = PermissionSettings()
    tools: ToolSettings = ToolSettings()
    mcp: McpSettings = field(default_factory=McpSettings)
    jobs: JobSettings = JobSettings()

    @property
    def model_settings(self) -> ModelSettings:
        """What routing reads of it."""
        return ModelSettings(
            {name: _address(server) for name, server in self.providers.items()},
            {name: _named(model) for name, model in self.models.items()},
            {name: _route(route) for name, route in self.routes.items()},
            RetryPolicy(self.retry.retries, self.retry.backoff, self.retry.max_wait),
            Parameters(self.effort),
        )


def _address(server: ProviderSettings) -> ServerAddress:
    return ServerAddress(
        server.protocol, server.api_base, server.api_version, server.key, server.concurrent or 0
    )


def _named(model: NamedModelSettings) -> NamedModel:
    parameters = Parameters(model.effort, model.temperature, model.top_p, model.max_output)
    return NamedModel(
        model.model, model.api_base, model.key, parameters, model.context_window, model.concurrent or 0
    )


def _route(route: RouteSettings) -> Route:
    retry = RetryPolicy(route.retries, route.backoff, route.max_wait)
    return Route(route.model, route.rotate, route.fallback, retry, route.cooldown)
