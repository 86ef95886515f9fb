"""A command is a function with a docstring, from which its help and its completion are made.

The first line of the docstring is the summary, the rest gives details and examples. `form` describes the
argument: `[ask|plan]` in small letters lists the words to choose from, `[NAME]` in capitals stands for any
word; without brackets the argument is required.

A command always gives an answer: a visible effect, or else a sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from core.base.values import Value
from tui.commands.slash import SlashCommandError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from core.session.session import Session
    from tui.commands.opening import Opening


class Choices(Protocol):
    """Names to choose a command's argument from. Completion asks on a key press, so nothing may wait."""

    def model_names(self) -> Sequence[str]: ...

    def theme_names(self) -> Sequence[str]: ...

    def server_names(self) -> Sequence[str]: ...


class StopsCalls(Protocol):
    """Stops a running call: `tui.pane.call_stops.CallStops`."""

    def stop(self, call_id: str, source: str, words: str = "") -> None: ...

    def stop_numbered(self, number: int, words: str) -> None: ...


class KeepsQueue(Protocol):
    """Actions on queued prompts: `tui.composer.queue.QueueActions`."""

    def go_on(self) -> None: ...

    def list_queue(self) -> str: ...

    def drop(self, number: str) -> None: ...

    def put_back(self) -> None: ...


class KeepsSessions(Protocol):
    """Actions on stored sessions: `tui.pane.sessions.SessionFiles`. Each method raises `CaesuraError`."""

    def open(self, session_id: str | None, opening: Opening = ...) -> None: ...

    async def resume(self, beginning: str) -> None: ...

    async def fork(self) -> None: ...

    async def rename(self, title: str) -> None: ...

    async def export(self, *, suffix: str) -> None: ...

    async def undo(self) -> None: ...


class CommandTarget(Choices, Protocol):
    """What commands can do with the pane: `tui.pane.commands.PaneCommands`. What cannot be done raises
    `CaesuraError`; `show_...` opens a list."""

    session: Session

    @property
    def stops(self) -> StopsCalls: ...

    @property
    def queue_actions(self) -> KeepsQueue: ...

    @property
    def session_files(self) -> KeepsSessions: ...

    def do_later(self, work: Coroutine[object, object, None]) -> None: ...

    def do_first(self, work: Coroutine[object, object, None]) -> None: ...

    def show_sessions(self) -> None: ...

    def show_rewind(self) -> None: ...

    def show_memory(self) -> None: ...

    def show_models(self) -> None: ...

    def use_model(self, name: str) -> None: ...

    def show_themes(self) -> None: ...

    def use_theme(self, name: str) -> None: ...

    def show_doctor(self) -> None: ...

    def show_help(self) -> None: ...

    def trust_project(self, words: str) -> None: ...

    def config_report(self) -> str: ...

    async def addresses(self) -> Sequence[str]: ...

    def copy_text(self, text: str) -> None: ...

    def notify(self, text: str) -> None: ...

    def show_running(self) -> None: ...

    def kill_survivors(self) -> None: ...

    def quit(self) -> None: ...


_COMMAND = re.compile(r"/([a-z]+)(?:\s+(\S.*?))?\s*", re.DOTALL)
_ALTERNATIVE = re.compile(r"[a-z][a-z-]*")


class Command(Value):
    """A slash command. `key_id` is the binding whose keys do the same. `choose` gives words to choose from in
    addition to those of `form`; if it is `open_ended`, other words are valid too."""

    name: str
    form: str
    do: Callable[[CommandTarget, str], None]
    doc: str = ""
    key_id: str = ""
    choose: Callable[[Choices], Sequence[str]] | None = None
    open_ended: bool = False

    @property
    def takes_words(self) -> bool:
        return bool(self.form)

    @property
    def needs_words(self) -> bool:
        return bool(self.form) and not self.form.startswith("[")

    @property
    def usage(self) -> str:
        """The command as it is typed: `/mode [ask|edits|plan|auto]`."""
        return f"/{self.name} {self.form}".rstrip()

    @property
    def summary(self) -> str:
        """The first line of the docstring, without a full stop."""
        return self.doc.strip().partition("\n")[0].rstrip(".")

    @property
    def details(self) -> str:
        """Paragraphs of plain text, separated by blank lines; empty if the docstring has no details."""
        rest = self.doc.strip().partition("\n")[2]
        paragraphs = re.split(r"\n\s*\n", rest.strip())
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    @property
    def _alternatives(self) -> tuple[str, ...]:
        return tuple(self.form.strip("[]").split("|")) if self.form else ()

    def choices(self, names: Choices) -> tuple[str, ...]:
        """The words to choose from, as far as they are known."""
        literal = tuple(word for word in self._alternatives if _ALTERNATIVE.fullmatch(word))
        return literal + (() if self.choose is None else tuple(self.choose(names)))

    @property
    def is_closed(self) -> bool:
        """Whether only the listed words are valid."""
        if self.choose is not None:
            return not self.open_ended
        return bool(self.form) and all(map(_ALTERNATIVE.fullmatch, self._alternatives))


class CommandGroup:
    """A titled group of commands; its decorators turn functions into commands."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.commands: list[Command] = []

    def command(self, name: str, *, key_id: str = "") -> Callable[[Callable[[CommandTarget], None]], Command]:
        """Register a command without an argument: the function gets the target."""

        def keep(function: Callable[[CommandTarget], None]) -> Command:
            return self._keep(
                Command(name, "", lambda target, _: function(target), function.__doc__ or "", key_id)
            )

        return keep

    def taking(
        self,
        name: str,
        form: str,
        *,
        key_id: str = "",
        choose: Callable[[Choices], Sequence[str]] | None = None,
        open_ended: bool = False,
    ) -> Callable[[Callable[[CommandTarget, str], None]], Command]:
        """Register a command with an argument: the function gets the target and the text, maybe empty."""

        def keep(function: Callable[[CommandTarget, str], None]) -> Command:
            return self._keep(
                Command(name, form, function, function.__doc__ or "", key_id, choose, open_ended)
            )

        return keep

    def _keep(self, command: Command) -> Command:
        self.commands.append(command)
        return command


class Typed(Value):
    """A command as it was typed; `words` is the text after its name, or empty."""

    command: Command
    words: str = ""

    def run(self, target: CommandTarget) -> None:
        """Run the command. Raises `CaesuraError` if that is not possible."""
        self.command.do(target, self.words)


class CommandTable:
    """All commands, in their groups and by name."""

    def __init__(self, groups: Iterable[CommandGroup]) -> None:
        self.groups = tuple(groups)
        self.by_name = {command.name: command for group in self.groups for command in group.commands}

    def read(self, text: str) -> Typed | None:
        """Parse a command; None if `text` is a prompt. Raises `SlashCommandError` if it is unknown.

        Only a single word after a slash is a command, so that a path or a question that begins with a slash
        is sent as a prompt. A command that takes words is always one: `/stop everything` is not meant for
        the model.
        """
        found = _COMMAND.fullmatch(text)
        if found is None:
            return None
        name, words = found[1], found[2] or ""
        command = self.by_name.get(name)
        if command is not None:
            return Typed(command, words) if command.takes_words or not words else None
        if words:
            return None
        near = nearest(name, self.by_name)
        hint = f"did you mean /{near}?" if near else "/help lists the commands."
        raise SlashCommandError(f"There is no command /{name}: {hint}")
