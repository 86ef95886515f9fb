"""The base of everything that opens over the transcript: a frame, a note, key hints, and the focus.

An overlay is part of the pane and no screen of its own, so that the stop keys, the status line and a question
work beneath it. Esc and Ctrl+C are not handled here: the owner calls `close_innermost`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from tui.base.key_hints import KeyHint, KeyHints
from tui.base.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

LOW: Final = 6
"""Height in rows below which an overlay has neither a frame nor key hints."""


class Overlay(Widget):
    """An overlay with a note and key hints. A subclass mounts what it shows and handles keys."""

    DEFAULT_CSS = """
    Overlay {
        layout: vertical;
        height: 100%;
        width: 100%;
        border: round $border;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        background: $background;
        & > .overlay--note { display: none; height: auto; max-height: 3; padding: 0 1; }
        & > .overlay--note.-failed { color: $text-error; text-style: bold; }
        & > KeyHints { padding: 0 1; }
        &.-low { border: none; }
        &.-low > KeyHints { display: none; }
        &.-low > .overlay--note { max-height: 1; }
    }
    """
    TITLE: ClassVar[str] = ""

    class Closed(Message):
        """The overlay asks to be closed: what was chosen in it is done."""

        def __init__(self, opened: Overlay) -> None:
            super().__init__()
            self.opened = opened

    class UseChanged(Message):
        """Something in the overlay was opened or closed: Esc may mean something else."""

    def __init__(self) -> None:
        super().__init__()
        self._note = Static("", classes="overlay--note")
        self._key_hints: KeyHints[str] = KeyHints()
        self._chosen = False
        """Whether something was chosen; nothing else can be until `fail` is called."""

    @property
    def focus_target(self) -> Widget:
        """The widget that has the focus while the overlay is used; Tab leads to it."""
        raise NotImplementedError

    def parts(self) -> Sequence[Widget]:
        """The widgets of the overlay from top to bottom."""
        return (self._note, self._key_hints)

    def key_hints(self) -> Sequence[KeyHint[str]]:
        """What the foot says now. The action of a hint is the name of its key."""
        return ()

    def take_key(self, key: str) -> bool:
        """Handle a key that was typed, or whose hint was clicked. False if it means nothing here."""
        return False

    def show_note(self, text: str, *, failed: bool = False) -> None:
        """Show a sentence in the overlay; none for an empty text."""
        # Not a string, in which a title or a path could be markup.
        self._note.update(Content(("! " if failed else "") + one_line(text)))
        self._note.set_class(failed, "-failed")
        self._note.display = bool(text)

    def show_key_hints(self) -> None:
        """Show the hints that apply now."""
        self._key_hints.show(self.key_hints())

    def press(self, key: str) -> None:
        """Do what a click on the hint of this key asks for."""
        if key != "escape":
            self.take_key(key)
        elif not self.close_innermost():
            self.post_message(self.Closed(self))

    def assemble(self) -> None:
        """Mount the widgets. Called once, right after the overlay was mounted; it must not wait.

        Widgets that are composed are in no chain of bindings yet when the first key comes: Esc would be lost.
        """
        self.border_title = Content(self.TITLE)
        self.mount(*self.parts())
        self.show_key_hints()

    def take_focus(self) -> None:
        """Focus the overlay at once, unlike `Widget.focus`: the keys that follow go to it."""
        self.screen.set_focus(self.focus_target, scroll_visible=False)

    def close_innermost(self) -> bool:
        """Close what is open in the overlay. False if nothing is: then the overlay itself closes."""
        return False

    def check_unsaved(self) -> None:
        """Raises `CaesuraError` if closing would lose what is being written."""

    def fail(self, text: str) -> None:
        """Say in the overlay why what was asked for cannot be done."""
        self._chosen = False
        self.show_note(text, failed=True)

    def on_resize(self) -> None:
        self.set_class(self.outer_size.height < LOW, "-low")

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.take_focus()

    def on_key_hints_clicked(self, message: KeyHints.Clicked) -> None:
        message.stop()
        self.take_focus()
        if isinstance(message.action, str):
            self.press(message.action)
