"""The commands for the program: models, colours, settings, help, the way out."""

from __future__ import annotations

from core.model import Effort
from tui.commands import CommandGroup, Screen
from tui.slash import SlashCommandError, nearest

PROGRAM = CommandGroup("Models, looks, settings")

DEFAULT = "default"


@PROGRAM.taking(
    "model", "[NAME]", key_id="pane.models", choose=lambda names: names.model_names(), open_ended=True
)
def model(screen: Screen, name: str) -> None:
    """Choose the model that answers from the next prompt on.

    /model opens the list; /model openai/gpt-5.1 takes that one, whether the catalogue knows it or not.
    """
    if name:
        screen.use_model(name)
    else:
        screen.show_models()


@PROGRAM.taking("effort", f"[{'|'.join((*Effort, DEFAULT))}]")
def effort(screen: Screen, name: str) -> None:
    """Choose how long the model reasons before it answers.

    default leaves it to the provider. A model that takes no effort is asked without it, and that is said.
    """
    session = screen.session
    known = (*Effort, DEFAULT)
    wanted = name.lower()
    if not name:
        now = session.choice.parameters.effort or DEFAULT
        screen.tell(f"The effort is {now}. There are, for /effort NAME: {', '.join(known)}.")
        return
    if wanted not in known:
        near = nearest(wanted, known)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}."
        raise SlashCommandError(f"There is no effort {name!r}: {hint}")
    session.use_effort(None if wanted == DEFAULT else Effort(wanted))
    whose = "is left to the provider" if wanted == DEFAULT else f"is {wanted}"
    screen.tell(f"The effort {whose} from the next prompt on.")


@PROGRAM.taking("theme", "[NAME]", choose=lambda names: names.theme_names())
def theme(screen: Screen, name: str) -> None:
    """Choose the colours.

    /theme opens the list, where each is shown as you go; /theme NAME takes that one.
    """
    if name:
        screen.use_theme(name)
    else:
        screen.show_themes()


@PROGRAM.command("mcp")
def mcp(screen: Screen) -> None:
    """Show the MCP servers and their tools."""
    screen.tell(screen.session.describe_servers())


@PROGRAM.command("memory")
def memory(screen: Screen) -> None:
    """Show and edit the notes of this workspace."""
    screen.show_memory()


@PROGRAM.taking("trust", "[WORDS]")
def trust(screen: Screen, words: str) -> None:
    """Trust this folder, so that all of its own settings count.

    Before that its .caesura.toml can name no commands, no servers and no permissions.
    """
    screen.trust_project(words)


@PROGRAM.command("doctor")
def doctor(screen: Screen) -> None:
    """Look whether everything works, and how fast this session stops.

    Terminal, keyring, containment and providers are looked at, and the event loop.
    """
    screen.show_doctor()


@PROGRAM.command("help", key_id="pane.help")
def help_(screen: Screen) -> None:
    """Show what each key does now, and all commands."""
    screen.show_help()


@PROGRAM.command("quit", key_id="app.quit")
def quit_(screen: Screen) -> None:
    """End Caesura; what runs is stopped, the conversation is kept."""
    screen.quit()


@PROGRAM.command("exit")
def exit_(screen: Screen) -> None:
    """End Caesura, like /quit."""
    screen.quit()
