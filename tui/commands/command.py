"""What a command is: a function with a docstring, from which its help and its completion come.

The first line of the docstring says what the command does, the rest gives details and examples. `form` is
what stands behind the name: `[ask|plan]` in small letters are the words to choose from, `[NAME]` in capitals
stands for any; without the brackets it must not be missing.

A command always answers: with what it has done where that is seen anyway, else with a sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from core.values import dataclass
from tui.slash import SlashCommandError, nearest, split_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from core.session import Session
    from tui.keeping import Greeting, Keeping
    from tui.queueing import Queueing
    from tui.stops import CallStops


class Choices(Protocol):
    """The names among which a command's word is chosen. Asked for with a key, so nothing here may wait."""

    def model_names(self) -> Sequence[str]:
        """Of models, favourites first; those that are known so far."""
        ...

    def theme_names(self) -> Sequence[str]: ...


class Screen(Choices, Protocol):
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

    def open_session(self, session_id: str | None, greeting: Greeting) -> None:
        """Show another session in the place of this one, a new one for None."""
        ...

    def show_sessions(self) -> None: ...

    def show_rewind(self) -> None: ...

    def show_memory(self) -> None: ...

    def show_models(self) -> None:
        """Open the list of models."""
        ...

    def use_model(self, name: str) -> None:
        """Have this model answer from now on, and say so. Raises `CaesuraError` for what is no name."""
        ...

    def show_themes(self) -> None:
        """Open the list of themes."""
        ...

    def use_theme(self, name: str) -> None:
        """Take these colours. Raises `CaesuraError` if there is no such theme."""
        ...

    def show_doctor(self) -> None:
        """Open the report on terminal, keyring, containment, providers and the stops of this session."""
        ...

    def show_help(self) -> None:
        """Open the list of what keys and commands do."""
        ...

    def trust_project(self, words: str) -> None:
        """Trust the folder, so that its own settings count in full; with words, undo that or tell of it."""
        ...

    def config_report(self) -> str:
        """Which files the settings come from, one a line."""
        ...

    def copy_text(self, text: str) -> None:
        """Put it into the terminal's clipboard, where the terminal lets that be done."""
        ...

    def tell(self, text: str) -> None: ...

    def show_running(self) -> None: ...

    def action_kill_survivors(self) -> None: ...

    def quit(self) -> None: ...


_ALTERNATIVE = re.compile(r"[a-z][a-z-]*")


@dataclass(frozen=True, slots=True)
class Command:
    """See the module. `key_id` is the binding whose keys do the same. `choose` gives words to choose from
    beside those of `form`; if it is `open_ended` there are others as well."""

    name: str
    form: str
    do: Callable[[Screen, str], None]
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
        """As it is typed: `/mode [ask|edits|plan|auto]`."""
        return f"/{self.name} {self.form}".rstrip()

    @property
    def summary(self) -> str:
        """What it does, in a sentence without a full stop."""
        return self.doc.strip().partition("\n")[0].rstrip(".")

    @property
    def details(self) -> str:
        """Paragraphs of plain text, parted by blank lines; empty where there is no more to say."""
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
        """Whether there are no other words than those to choose from."""
        if self.choose is not None:
            return not self.open_ended
        return bool(self.form) and all(map(_ALTERNATIVE.fullmatch, self._alternatives))


class CommandGroup:
    """Commands that belong together, under a title; functions become commands by its decorators."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.commands: list[Command] = []

    def command(self, name: str, *, key_id: str = "") -> Callable[[Callable[[Screen], None]], Command]:
        """A command that stands alone: the function gets the screen."""

        def keep(function: Callable[[Screen], None]) -> Command:
            return self._keep(
                Command(name, "", lambda screen, _: function(screen), function.__doc__ or "", key_id)
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
    ) -> Callable[[Callable[[Screen, str], None]], Command]:
        """A command with words behind it: the function gets the screen and the words, which may be empty."""

        def keep(function: Callable[[Screen, str], None]) -> Command:
            return self._keep(
                Command(name, form, function, function.__doc__ or "", key_id, choose, open_ended)
            )

        return keep

    def _keep(self, command: Command) -> Command:
        self.commands.append(command)
        return command


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as it was typed; `words` stands behind it, and is empty where there is nothing."""

    command: Command
    words: str = ""


class CommandTable:
    """All commands, in their groups, by name."""

    def __init__(self, groups: Iterable[CommandGroup]) -> None:
        self.groups = tuple(groups)
        self.by_name = {command.name: command for group in self.groups for command in group.commands}

    def read(self, text: str) -> Typed | None:
        """The command that `text` is, or None: it is a prompt. Raises `SlashCommandError` for one that is not
        there."""
        line = split_line(text)
        if line is None:
            return None
        command = self.by_name.get(line.name)
        if command is not None:
            return Typed(command, line.words) if command.takes_words or not line.words else None
        if line.words:
            return None
        near = nearest(line.name, self.by_name)
        hint = f"did you mean /{near}?" if near else "/help lists the commands."
        raise SlashCommandError(f"There is no command /{line.name}: {hint}")


def obey(typed: Typed, screen: Screen) -> None:
    """Do what was typed. Raises `CaesuraError` where that cannot be."""
    typed.command.do(screen, typed.words)
