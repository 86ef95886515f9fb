"""All settings: each is declared once, with its type, default and meaning. See `core.base.setting`.

Those of models, servers and routes are declared in `core.model.settings`, because providers read them too.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import field

from core.base.setting import (
    Count,
    Doc,
    FromZero,
    HeaderValue,
    Name,
    OneOf,
    ProjectMay,
    Seconds,
    Switch,
    text,
)
from core.base.values import Value
from core.model.provider import Effort, Parameters
from core.model.settings import ModelSettings, NamedModel, RetryPolicy, Route, ServerAddress
from core.permissions.access import AccessKind
from core.permissions.policy import Mode
from core.permissions.rules import Rule, Subject, forbids

if TYPE_CHECKING:
    from core.process.containment import Containment


RuleSetting = Annotated[Rule, text("a rule such as shell(git status *)", Rule.parse)]


class ContainmentChoice(StrEnum):
    """How the processes of a command are held together. AUTO takes the strongest that this machine has."""

    AUTO = "auto"
    NAMESPACE = "namespace"
    GROUP = "group"

    @property
    def containment(self) -> Containment | None:
        """The containment itself; None for the strongest there is."""
        from core.process.containment import Containment

        return None if self is ContainmentChoice.AUTO else Containment(self.value)


class PermissionSettings(Value):
    """`[permissions]`: the mode a session begins in, and rules such as `shell(git status *)`."""

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


class ContainmentRule(Value):
    """`[[tools.containment_rules]]`: commands that need another containment, such as `sudo *`."""

    command: str
    containment: ContainmentChoice


class ToolSettings(Value):
    """`[tools]`: how commands are run, and how much one turn may do."""

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
        FromZero | None,
        Doc("What a session may cost, in dollars; unset, what it costs.", example=2.5),
        ProjectMay.LOWER,
    ] = None

    def containment_of(self, line: str, commands: tuple[tuple[str, ...], ...] | None) -> ContainmentChoice:
        """The containment of a command line: that of the first rule that covers any command in it.

        `commands` are those of `core.permissions.shell_analysis.commands`, None where it could not tell.
        """
        subject = Subject("shell", AccessKind.COMMAND, line, Path("/"), commands=commands)
        for rule in self.containment_rules:
            if forbids(Rule("shell", rule.command), subject):
                return rule.containment
        return self.containment


class ServerSettings(Value):
    """`[mcp.servers.NAME]`: a server that is started by `command`, or one that answers at `url`."""

    ONE_OF: ClassVar = OneOf(("command", "url"), "a server has either a command or a url")

    command: Annotated[
        tuple[str, ...],
        Doc("The program that is the server, and its arguments.", example=["docs-server", "--quiet"]),
    ] = ()
    url: Annotated[str, Doc("The address at which it answers.", example="https://mcp.example.com/")] = ""
    env: Annotated[
        dict[str, str], Doc("Added to the environment of its process.", example="value", secret=True)
    ] = field(default_factory=dict)
    headers: Annotated[
        dict[str, HeaderValue], Doc("Sent along with each request to it.", example="value", secret=True)
    ] = field(default_factory=dict)
    grace: Annotated[
        Seconds, Doc("How long it may take to answer after a stop, in seconds; else it is started anew.")
    ] = 2.0


class McpSettings(Value):
    """`[mcp]`: servers that offer tools."""

    servers: Annotated[dict[str, ServerSettings], Doc("Servers by name.")] = field(default_factory=dict)


class JobSettings(Value):
    """`[jobs]`: requests that Caesura makes for itself."""

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


class Config(Value):
    """All settings, with the defaults where nothing is said."""

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
    providers: Annotated[dict[str, ServerAddress], Doc("Servers with models, by name.")] = field(
        default_factory=dict
    )
    models: Annotated[dict[str, NamedModel], Doc("Models under names of your own.")] = field(
        default_factory=dict
    )
    routes: Annotated[dict[str, Route], Doc("Models that stand in for each other, by name.")] = field(
        default_factory=dict
    )
    retry: RetryPolicy = RetryPolicy()
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
        return ModelSettings(self.providers, self.models, self.routes, self.retry, Parameters(self.effort))
