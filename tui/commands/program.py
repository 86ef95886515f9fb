"""Commands for the program: models, colors, settings, help, quitting."""

from __future__ import annotations

from core.model.provider import Effort
from tui.commands.command import CommandGroup, CommandTarget
from tui.commands.slash import SlashCommandError, nearest

PROGRAM = CommandGroup("Models, looks, settings")

DEFAULT = "default"


@PROGRAM.taking(
    "model", "[NAME]", key_id="pane.models", choose=lambda names: names.model_names(), open_ended=True
)
def model(target: CommandTarget, name: str) -> None:
    """Choose the model that answers from the next prompt on.

    /model opens the list; /model gpt-5.1 takes that one, whether a catalogue knows it or not. It stays at the
    server in use; another provider's name goes before the model's, as in openai/gpt-5.1.
    """
    if name:
        target.use_model(name)
    else:
        target.show_models()


@PROGRAM.taking("effort", f"[{'|'.join((*Effort, DEFAULT))}]")
def effort(target: CommandTarget, name: str) -> None:
    """Choose how long the model reasons before it answers.

    default leaves it to the provider. A model that takes no effort is asked without it, and that is said.
    """
    session = target.session
    known = (*Effort, DEFAULT)
    wanted = name.lower()
    if not name:
        now = session.model.choice.parameters.effort or DEFAULT
        target.notify(f"The effort is {now}. There are, for /effort NAME: {', '.join(known)}.")
        return
    if wanted not in known:
        near = nearest(wanted, known)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}."
        raise SlashCommandError(f"There is no effort {name!r}: {hint}")
    session.model.use_effort(None if wanted == DEFAULT else Effort(wanted))
    whose = "is left to the provider" if wanted == DEFAULT else f"is {wanted}"
    target.notify(f"The effort {whose} from the next prompt on.")


@PROGRAM.taking("theme", "[NAME]", choose=lambda names: names.theme_names())
def theme(target: CommandTarget, name: str) -> None:
    """Choose the colours.

    /theme opens the list, where each is shown as you go; /theme NAME takes that one.
    """
    if name:
        target.use_theme(name)
    else:
        target.show_themes()


@PROGRAM.taking(
    "mcp", "[restart NAME]", choose=lambda names: [f"restart {name}" for name in names.server_names()]
)
def mcp(target: CommandTarget, words: str) -> None:
    """Show the MCP servers, or restart one.

    With their tools, and what is left out of them. /mcp restart files ends the server called files, with all
    that it does, and starts it again.
    """
    if not words:
        target.notify(target.session.tools.describe_servers())
        return
    match words.split():
        case ["restart", name]:
            target.do_later(_restart(target, name))
        case _:
            raise SlashCommandError("/mcp shows the servers, /mcp restart NAME starts one of them again.")


async def _restart(target: CommandTarget, name: str) -> None:
    target.notify(await target.session.tools.restart_server(name))


@PROGRAM.command("memory")
def memory(target: CommandTarget) -> None:
    """Show and edit the notes of this workspace."""
    target.show_memory()


@PROGRAM.taking("trust", "[off]")
def trust(target: CommandTarget, words: str) -> None:
    """Trust this folder, so that all of its own settings count.

    Before that its .caesura.toml can name no commands, no servers and no permissions. /trust off takes that
    back.
    """
    target.trust_project(words)


@PROGRAM.command("doctor")
def doctor(target: CommandTarget) -> None:
    """Look whether everything works, and how fast this session stops.

    Terminal, keyring, containment and providers are looked at, and the event loop.
    """
    target.show_doctor()


@PROGRAM.command("help", key_id="pane.help")
def help_(target: CommandTarget) -> None:
    """Show what each key does now, and all commands."""
    target.show_help()


@PROGRAM.command("quit", key_id="app.quit")
def quit_(target: CommandTarget) -> None:
    """End Caesura; what runs is stopped, the conversation is kept."""
    target.quit()


@PROGRAM.command("exit")
def exit_(target: CommandTarget) -> None:
    """End Caesura, like /quit."""
    target.quit()
