"""Commands for what runs, what is queued, and what needs no approval."""

from __future__ import annotations

from core.cancel import CancelReason, Cause
from core.permissions.policy import Mode
from tui.commands.command import CommandGroup, CommandTarget
from tui.commands.slash import SlashCommandError, nearest, read_stop
from tui.keys.bindings import key_name

TURNS = CommandGroup("Turns, calls and the queue")

MODES = {
    Mode.ASK: "ask: only reading goes without a question",
    Mode.EDITS: "edits: changes of files in the workspace go without a question too",
    Mode.PLAN: "plan: whatever would change something is refused",
    Mode.AUTO: "auto: everything goes without a question but what is dangerous or outside the workspace",
}


@TURNS.taking("stop", "[N WORDS]")
def stop(target: CommandTarget, words: str) -> None:
    """Stop the turn, or one call by its number.

    /running gives the numbers. Words behind one go to the model: /stop 2 too slow. A second /stop forces.
    """
    wanted = read_stop(words)
    if wanted is not None:
        target.stops.stop_numbered(*wanted)
    elif not (target.session.stop(CancelReason(Cause.USER, "/stop")) or target.session.force()):
        background = (
            "; /running lists what runs in the background." if target.session.operations.snapshot() else "."
        )
        target.notify(f"No turn is running: there is nothing to stop{background}")


@TURNS.command("running")
def running(target: CommandTarget) -> None:
    """List what is alive, with the numbers for /stop.

    Opens the panel beside it, where each row has its own button.
    """
    target.show_running()


@TURNS.command("kill", key_id="pane.kill")
def kill(target: CommandTarget) -> None:
    """Kill what was stopped and refused to end."""
    target.kill_survivors()


@TURNS.command("now", key_id="pane.retry_now")
def now(target: CommandTarget) -> None:
    """Try again at once, in place of waiting for it.

    A request that failed before it showed anything is made again after a while; the status line counts down.
    A stop ends the wait without another attempt.
    """
    if not target.session.backoffs.skip_all():
        target.notify("Nothing waits: there is nothing to try again.")


@TURNS.command("continue")
def go_on(target: CommandTarget) -> None:
    """Go on with the turn that was stopped, without typing it again."""
    target.session.resume()


@TURNS.command("send", key_id="pane.send_queued")
def send(target: CommandTarget) -> None:
    """Send the queued prompts that wait since a stop, one after the other."""
    target.queue_actions.go_on()


@TURNS.command("queue")
def queue(target: CommandTarget) -> None:
    """List the prompts that wait, with the numbers for /drop.

    While a turn runs, what is sent is queued. A stop pauses the queue.
    """
    target.notify(target.queue_actions.list_queue())


@TURNS.taking("drop", "[N|all]")
def drop(target: CommandTarget, words: str) -> None:
    """Remove one queued prompt by its number, or all of them.

    /undrop brings back what was removed.
    """
    target.queue_actions.drop("" if words == "all" else words)


@TURNS.command("undrop")
def undrop(target: CommandTarget) -> None:
    """Bring back the queued prompts that were removed or edited last."""
    target.queue_actions.put_back()


@TURNS.taking("mode", f"[{'|'.join(Mode)}]")
def change_mode(target: CommandTarget, name: str) -> None:
    """Change what is done without a question.

    ask: only reading. edits: changes of files in the workspace too. plan: whatever would change something is
    refused. auto: everything but what is dangerous or outside the workspace.
    """
    session = target.session
    if not name:
        others = "\n".join(f"  {words}" for words in MODES.values())
        key = key_name("pane.next_mode")
        target.notify(
            f"The mode is {session.permissions.mode}. There are, for /mode NAME and {key}:\n{others}"
        )
        return
    try:
        mode = Mode(name.lower())
    except ValueError:
        near = nearest(name.lower(), Mode)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(Mode)}."
        raise SlashCommandError(f"There is no mode {name!r}: {hint}") from None
    session.settings.set_mode(mode)
    target.notify(f"Mode {MODES[mode]}.")


@TURNS.command("undo")
def undo(target: CommandTarget) -> None:
    """Put back the files that the latest turn with changes has changed.

    Files that somebody else changed since are left alone and named.
    """
    target.do_first(target.session_files.undo())


@TURNS.command("rewind")
def rewind(target: CommandTarget) -> None:
    """Go back to an earlier prompt, in a copy of the session.

    Esc twice on an empty composer does the same.
    """
    target.show_rewind()


@TURNS.taking("compact", "[WHAT TO KEEP]")
def compact(target: CommandTarget, words: str) -> None:
    """Summarise the conversation, so that less of it is sent.

    Words say what to keep: /compact the figures. /uncompact undoes it.
    """
    target.session.compact(words)


@TURNS.command("uncompact")
def uncompact(target: CommandTarget) -> None:
    """Send the whole conversation again, as it was before the last summary."""
    target.session.uncompact()
