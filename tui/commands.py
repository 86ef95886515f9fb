"""The slash commands that need a screen: what each does with the session and its pane.

A command always answers: with what it has done where that is seen anyway, else with a sentence.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Protocol, assert_never

from core.cancel import CancelReason, Cause
from core.permissions import Mode
from tui.slash import HELP, SlashCommand, SlashCommandError, Typed, read_stop

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from core.session import Session
    from tui.keeping import Keeping
    from tui.queueing import Queueing
    from tui.stops import CallStops

MODES = {
    Mode.ASK: "ask: only reading goes without a question",
    Mode.EDITS: "edits: changes of files in the workspace go without a question too",
    Mode.PLAN: "plan: whatever would change something is refused",
    Mode.AUTO: "auto: everything goes without a question but what is dangerous or outside the workspace",
}


class Screen(Protocol):
    """What commands do with the pane: `tui.widgets.pane.Pane`."""

    session: Session
    stops: CallStops
    queueing: Queueing

    @property
    def keeping(self) -> Keeping: ...

    def do_later(self, work: Coroutine[object, object, None]) -> None:
        """Do it beside the keys; what it cannot do is told."""
        ...

    def do_first(self, work: Coroutine[object, object, None]) -> None:
        """The same, and what is sent from now on waits for it."""
        ...

    def show_sessions(self) -> None: ...

    def show_rewind(self) -> None: ...

    def show_memory(self) -> None: ...

    def tell(self, text: str) -> None: ...

    def show_running(self) -> None: ...

    def change_theme(self) -> None: ...

    def action_kill_survivors(self) -> None: ...

    def quit(self) -> None: ...


def obey(typed: Typed, screen: Screen) -> None:
    """Do what was typed. Raises `CaesuraError` where that cannot be."""
    match typed.command:
        case SlashCommand.CONTINUE:
            screen.session.resume()
        case SlashCommand.SEND:
            screen.queueing.go_on()
        case SlashCommand.QUEUE:
            screen.tell(screen.queueing.list_queue())
        case SlashCommand.DROP:
            screen.queueing.drop(typed.words)
        case SlashCommand.UNDROP:
            screen.queueing.put_back()
        case (
            SlashCommand.SESSIONS
            | SlashCommand.RESUME
            | SlashCommand.NEW
            | SlashCommand.FORK
            | SlashCommand.RENAME
            | SlashCommand.EXPORT
        ):
            _keep(typed, screen)
        case SlashCommand.REWIND:
            screen.show_rewind()
        case SlashCommand.UNDO:
            screen.do_first(screen.keeping.undo())
        case SlashCommand.COMPACT:
            screen.session.compact(typed.words)
        case SlashCommand.UNCOMPACT:
            screen.session.uncompact()
        case SlashCommand.RUNNING:
            screen.show_running()
        case SlashCommand.STOP:
            _stop(typed.words, screen)
        case SlashCommand.KILL:
            screen.action_kill_survivors()
        case SlashCommand.MODE:
            _change_mode(typed.words, screen)
        case SlashCommand.MCP:
            screen.tell(screen.session.describe_servers())
        case SlashCommand.MEMORY:
            screen.show_memory()
        case SlashCommand.THEME:
            screen.change_theme()
        case SlashCommand.HELP:
            screen.tell(HELP)
        case SlashCommand.QUIT:
            screen.quit()
        case _:
            assert_never(typed.command)


def _keep(typed: Typed, screen: Screen) -> None:
    match typed.command:
        case SlashCommand.NEW:
            screen.keeping.open(None)
        case SlashCommand.RESUME if typed.words:
            screen.do_first(screen.keeping.resume(typed.words))
        case SlashCommand.FORK:
            screen.do_first(screen.keeping.fork())
        case SlashCommand.RENAME if typed.words:
            screen.do_later(screen.keeping.rename(typed.words))
        case SlashCommand.RENAME:
            raise SlashCommandError("A name is missing: /rename the new name.")
        case SlashCommand.EXPORT:
            if typed.words not in ("", "md", "json"):
                raise SlashCommandError("/export writes Markdown, /export json what can be imported.")
            screen.do_later(screen.keeping.export(suffix=".json" if typed.words == "json" else ".md"))
        case _:
            screen.show_sessions()


def _stop(words: str, screen: Screen) -> None:
    wanted = read_stop(words)
    if wanted is not None:
        screen.stops.stop_numbered(*wanted)
    elif not (screen.session.stop(CancelReason(Cause.USER, "/stop")) or screen.session.force()):
        background = "; /running lists what runs in the background." if screen.session.operations() else "."
        screen.tell(f"No turn is running: there is nothing to stop{background}")


def _change_mode(name: str, screen: Screen) -> None:
    session = screen.session
    if not name:
        others = "\n".join(f"  {words}" for words in MODES.values())
        screen.tell(f"The mode is {session.mode}. There are, for /mode NAME and Shift+Tab:\n{others}")
        return
    try:
        mode = Mode(name.lower())
    except ValueError:
        near = difflib.get_close_matches(name.lower(), list(Mode), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(Mode)}."
        raise SlashCommandError(f"There is no mode {name!r}: {hint}") from None
    session.set_mode(mode)
    screen.tell(f"Mode {MODES[mode]}.")
