"""Commands for conversations: choose, name, copy and export them, show what they cost."""

from __future__ import annotations

from core.session.archive import LEAST_ID
from tui.commands.command import CommandGroup, CommandTarget
from tui.commands.opening import Opening
from tui.commands.slash import SlashCommandError

SESSIONS = CommandGroup("Conversations")

INIT_PROMPT = """\
Look at this project and write AGENTS.md in its top folder, for programs like you that come to work on it \
without having seen it. If there is an AGENTS.md already, or a CLAUDE.md, .cursorrules or similar file, \
improve what is there: keep what is right, mend what is not, and say what you changed.

Find out first, by reading and not by guessing: what the project is for, how its folders are laid out, the \
exact commands to build it, to run it, to run all tests and a single one, to lint and to format, and which \
conventions the code follows that a newcomer would get wrong. Run a command only to see that it works, and \
only if it changes nothing.

Write at most a hundred lines: headings, short sentences, commands in code blocks. Leave out what every \
programmer knows and what the code says by itself. Write nothing that you have not found in the project.\
"""


@SESSIONS.command("sessions", key_id="pane.sessions")
def sessions(target: CommandTarget) -> None:
    """List the sessions: search, open, rename, fork, export and delete them."""
    target.show_sessions()


@SESSIONS.taking("resume", "[ID]")
def resume(target: CommandTarget, words: str) -> None:
    """Go on with another session.

    Its id may be shortened to what no other begins with: /resume 3f9a. Without one, the list opens.
    """
    if words:
        target.do_first(target.session_files.resume(words))
    else:
        target.show_sessions()


@SESSIONS.command("new")
def new(target: CommandTarget) -> None:
    """Begin a new conversation; this one is kept."""
    target.session_files.open(None)


@SESSIONS.command("clear")
def clear(target: CommandTarget) -> None:
    """Begin with an empty conversation in the place of this one, which is kept.

    The screen is empty and the model is sent nothing of what was said. /resume goes back.
    """
    session = target.session
    back = f"/resume {session.session_id[:LEAST_ID]}, or /sessions, goes back to what was said before."
    target.session_files.open(None, Opening((back,) if session.record.steps else ()))


@SESSIONS.command("fork")
def fork(target: CommandTarget) -> None:
    """Go on in a copy of this session; the session itself is kept as it is."""
    target.do_first(target.session_files.fork())


@SESSIONS.taking("rename", "NAME")
def rename(target: CommandTarget, words: str) -> None:
    """Give this session another name.

    /rename the index after a rebase
    """
    if not words:
        raise SlashCommandError("A name is missing: /rename the new name.")
    target.do_later(target.session_files.rename(words))


@SESSIONS.taking("export", "[md|json]")
def export(target: CommandTarget, words: str) -> None:
    """Write this session to a file in the workspace.

    /export writes Markdown to read, /export json what `caesura sessions import` reads.
    """
    if words not in ("", "md", "json"):
        raise SlashCommandError("/export writes Markdown, /export json what can be imported.")
    target.do_later(target.session_files.export(suffix=".json" if words == "json" else ".md"))


@SESSIONS.taking("copy", "[N]")
def copy(target: CommandTarget, words: str) -> None:
    """Copy the last reply, as Markdown, to the clipboard.

    /copy 2 copies the reply before the last. A terminal may refuse to have its clipboard written.
    """
    from tui.commands.replies import reply_to_copy

    number, text = reply_to_copy(target.session.record.plain_steps, words)
    target.copy_text(text)
    which = "The last reply" if number == 1 else f"Reply {number} from the end"
    count = f"{len(text):,} character{'s' * (len(text) != 1)}"
    target.notify(
        f"{which}, {count}, was sent to the terminal's clipboard. If nothing arrives there, the terminal "
        "refuses it (OSC 52): allow it in its settings, or use /export."
    )


@SESSIONS.command("cost")
def cost(target: CommandTarget) -> None:
    """Show tokens and cost by turn and by model, and what is left of the budget.

    All figures are the provider's own counts with the catalogue's prices; what is not known is said so.
    """
    from core.session.cost_report import cost_report

    session = target.session
    target.notify(cost_report(session.record, session.settings.limits.dollars))


@SESSIONS.command("status")
def status(target: CommandTarget) -> None:
    """Show the model, the session, the limits, and which files were read.

    Those are the notes, such as AGENTS.md, from the project upward, and the files of settings.
    """
    target.do_later(_tell_status(target))


async def _tell_status(target: CommandTarget) -> None:
    from core.base.threads import run_in_thread
    from core.process.containment import available_containment
    from tui.commands.status_report import status_report

    # The first call runs programs to find out.
    containment = await run_in_thread(available_containment, name="look at containment")
    addresses = await target.addresses()
    target.notify(status_report(target.session, target.config_report(), containment, addresses))


@SESSIONS.command("init")
def init(target: CommandTarget) -> None:
    """Have the model look at the project, and write or improve its AGENTS.md.

    AGENTS.md is read at the beginning of each session. The model asks before it writes, as the mode says.
    """
    target.session.submit(INIT_PROMPT)
