"""The commands for what runs, what waits to run, and what is done without a question."""

from __future__ import annotations

from core.cancel import CancelReason, Cause
from core.permissions import Mode
from tui.commands import CommandGroup, Screen
from tui.keys import key_name
from tui.slash import SlashCommandError, nearest, read_stop

TURNS = CommandGroup("Turns, calls and the queue")

MODES = {
    Mode.ASK: "ask: only reading goes without a question",
    Mode.EDITS: "edits: changes of files in the workspace go without a question too",
    Mode.PLAN: "plan: whatever would change something is refused",
    Mode.AUTO: "auto: everything goes without a question but what is dangerous or outside the workspace",
}


@TURNS.taking("stop", "[N WORDS]")
def stop(screen: Screen, words: str) -> None:
    """Stop the turn, or one call by its number.

    /running gives the numbers. Words behind one go to the model: /stop 2 too slow. A second /stop forces.
    """
    wanted = read_stop(words)
    if wanted is not None:
        screen.stops.stop_numbered(*wanted)
    elif not (screen.session.stop(CancelReason(Cause.USER, "/stop")) or screen.session.force()):
        background = "; /running lists what runs in the background." if screen.session.operations() else "."
        screen.tell(f"No turn is running: there is nothing to stop{background}")


@TURNS.command("running")
def running(screen: Screen) -> None:
    """List what is alive, with the numbers for /stop.

    Opens the panel beside it, where each row has its own button.
    """
    screen.show_running()


@TURNS.command("kill", key_id="pane.kill")
def kill(screen: Screen) -> None:
    """Kill what was stopped and refused to end."""
    screen.action_kill_survivors()


@TURNS.command("now", key_id="pane.retry_now")
def now(screen: Screen) -> None:
    """Try again at once, in place of waiting for it.

    A request that failed before it showed anything is made again after a while; the status line counts down.
    A stop ends the wait without another attempt.
    """
    if not screen.session.retry_now():
        screen.tell("Nothing waits: there is nothing to try again.")


@TURNS.command("continue")
def go_on(screen: Screen) -> None:
    """Go on with the turn that was stopped, without typing it again."""
    screen.session.resume()


@TURNS.command("send", key_id="pane.send_queued")
def send(screen: Screen) -> None:
    """Send the queued prompts that wait since a stop, one after the other."""
    screen.queueing.go_on()


@TURNS.command("queue")
def queue(screen: Screen) -> None:
    """List the prompts that wait, with the numbers for /drop.

    While a turn runs, what is sent is queued. A stop pauses the queue.
    """
    screen.tell(screen.queueing.list_queue())


@TURNS.taking("drop", "[N|all]")
def drop(screen: Screen, words: str) -> None:
    """Remove one queued prompt by its number, or all of them.

    /undrop brings back what was removed.
    """
    screen.queueing.drop("" if words == "all" else words)


@TURNS.command("undrop")
def undrop(screen: Screen) -> None:
    """Bring back the queued prompts that were removed or edited last."""
    screen.queueing.put_back()


@TURNS.taking("mode", f"[{'|'.join(Mode)}]")
def change_mode(screen: Screen, name: str) -> None:
    """Change what is done without a question.

    ask: only reading. edits: changes of files in the workspace too. plan: whatever would change something is
    refused. auto: everything but what is dangerous or outside the workspace.
    """
    session = screen.session
    if not name:
        others = "\n".join(f"  {words}" for words in MODES.values())
        key = key_name("pane.next_mode")
        screen.tell(f"The mode is {session.mode}. There are, for /mode NAME and {key}:\n{others}")
        return
    try:
        mode = Mode(name.lower())
    except ValueError:
        near = nearest(name.lower(), Mode)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(Mode)}."
        raise SlashCommandError(f"There is no mode {name!r}: {hint}") from None
    session.set_mode(mode)
    screen.tell(f"Mode {MODES[mode]}.")


@TURNS.command("undo")
def undo(screen: Screen) -> None:
    """Put back the files that the latest turn with changes has changed.

    Files that somebody else changed since are left alone and named.
    """
    screen.do_first(screen.keeping.undo())


@TURNS.command("rewind")
def rewind(screen: Screen) -> None:
    """Go back to an earlier prompt, in a copy of the session.

    Esc twice on an empty composer does the same.
    """
    screen.show_rewind()


@TURNS.taking("compact", "[WHAT TO KEEP]")
def compact(screen: Screen, words: str) -> None:
    """Summarise the conversation, so that less of it is sent.

    Words say what to keep: /compact the figures. /uncompact undoes it.
    """
    screen.session.compact(words)


@TURNS.command("uncompact")
def uncompact(screen: Screen) -> None:
    """Send the whole conversation again, as it was before the last summary."""
    screen.session.uncompact()
