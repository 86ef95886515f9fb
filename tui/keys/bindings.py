"""Every key binding of the application as data with an id: one table for help, tests and rebinding.

It must never allow rebinding what stops a turn, nor putting another action on those keys (E9): Esc always
stops, regardless of any configuration file.
"""

from __future__ import annotations

import difflib
from enum import StrEnum
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.keys import Keys, key_to_character

from core.base.errors import CaesuraError
from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class KeymapError(CaesuraError):
    """A key map entry is refused. The text says what, why, and what to do instead.

    `binding_id` is the refused entry.
    """

    def __init__(self, binding_id: str, message: str) -> None:
        super().__init__(f"Key map: {message}")
        self.binding_id = binding_id


class KeyScope(StrEnum):
    """The widget that owns a binding: its `action_...` method runs there."""

    APP = "app"
    PANE = "pane"
    PROMPT = "prompt"
    PANEL = "panel"
    APPROVAL = "approval"
    QUEUE = "queue"

    @property
    def takes_letters(self) -> bool:
        """Whether the widget takes no text, so that letters can be bound like other keys."""
        return self in (KeyScope.PANEL, KeyScope.APPROVAL, KeyScope.QUEUE)


class KeyBinding(Value):
    """One key binding.

    `keys` are Textual's names of the default keys. `action` is Textual's action string, resolved on the
    widget of `scope`. `priority` means that the binding is tried before the focused widget sees the key.
    """

    id: str
    keys: tuple[str, ...]
    action: str
    description: str
    rebindable: bool = True
    priority: bool = False

    @property
    def scope(self) -> KeyScope:
        """The first word of the id; the pane acts for its transcript."""
        owner = self.id.partition(".")[0]
        return KeyScope.PANE if owner == "transcript" else KeyScope(owner)


_RELEASED_KEYS = frozenset({"up", "down", "pageup", "pagedown", "ctrl+c", "super+c"})
"""Keys of Textual's text area that the prompt leaves to the bindings below."""

KEYS = (
    KeyBinding(
        "pane.stop",
        ("escape",),
        "stop",
        "Close what is open, else stop the turn",
        rebindable=False,
        priority=True,
    ),
    KeyBinding(
        "pane.interrupt",
        ("ctrl+c",),
        "interrupt",
        "Stop the turn; idle: clear the prompt; twice on an empty prompt: quit",
        rebindable=False,
        priority=True,
    ),
    KeyBinding("app.quit", ("ctrl+q",), "quit", "Quit", priority=True),
    KeyBinding("app.copy", ("ctrl+shift+c", "super+c"), "screen.copy_text", "Copy the selection"),
    KeyBinding(
        "pane.toggle_panel",
        ("ctrl+t",),
        "toggle_panel",
        "Show everything that is alive, and go there; from there: close it",
        priority=True,
    ),
    KeyBinding(
        "pane.next",
        ("tab",),
        "go_on",
        "Go to the open question, to the queue, to the panel, back to the prompt",
        priority=True,
    ),
    KeyBinding(
        "pane.next_mode",
        ("shift+tab",),
        "next_mode",
        "What needs no approval: ask, edits, plan, auto",
        priority=True,
    ),
    KeyBinding("pane.send_queued", ("ctrl+g",), "send_queued", "Go on with queued prompts that wait"),
    KeyBinding("pane.sessions", ("ctrl+l",), "show_sessions", "Show the sessions"),
    # Priority: what is typed right after one of these two is meant for the list that it opens.
    KeyBinding(
        "pane.palette",
        ("ctrl+p",),
        "show_palette",
        "Search commands and keys, and do one of them",
        priority=True,
    ),
    KeyBinding(
        "pane.help", ("f1",), "show_help", "Show what each key does now, and all commands", priority=True
    ),
    # No priority: the list of sessions uses this key itself.
    KeyBinding("pane.models", ("f2",), "show_models", "Choose the model"),
    KeyBinding("pane.retry_now", ("f5",), "retry_now", "Try again at once what waits to be tried again"),
    KeyBinding("transcript.cards", ("ctrl+o",), "toggle_cards", "Unfold or fold calls"),
    KeyBinding("pane.kill", ("f9",), "kill_survivors", "Kill processes that refused to end"),
    KeyBinding("transcript.page_up", ("pageup",), "transcript_page_up", "Page up"),
    KeyBinding("transcript.page_down", ("pagedown",), "transcript_page_down", "Page down"),
    KeyBinding(
        "transcript.home",
        ("ctrl+home", "home"),
        "transcript_home",
        "Go to the beginning (Home: while the prompt is empty)",
    ),
    KeyBinding(
        "transcript.end",
        ("ctrl+end", "end"),
        "transcript_end",
        "Go to the end and follow (End: while the prompt is empty)",
    ),
    KeyBinding("transcript.toggle_reasoning", ("ctrl+r",), "toggle_reasoning", "Show or fold reasoning"),
    KeyBinding("prompt.submit", ("enter",), "submit", "Send"),
    KeyBinding(
        "prompt.stop_and_send",
        ("ctrl+s",),
        "stop_and_send",
        "Stop the turn and send this next; empty: send the next queued prompt",
    ),
    KeyBinding("prompt.newline", ("shift+enter", "ctrl+j", "alt+enter"), "newline", "New line"),
    KeyBinding("prompt.up", ("up",), "cursor_up", "Line up, then the previous prompt", rebindable=False),
    KeyBinding("prompt.down", ("down",), "cursor_down", "Line down, then the next prompt", rebindable=False),
    KeyBinding("prompt.copy", ("ctrl+shift+c", "super+c"), "copy", "Copy the selection"),
    *(
        # Tried before the widget sees the key: what is typed after a key that moves the focus goes to the new
        # widget, however fast it comes.
        KeyBinding(id_, keys, action, description, rebindable=False, priority=True)
        for id_, keys, action, description in (
            ("panel.up", ("up", "k"), "select(-1)", "Row up"),
            ("panel.down", ("down", "j"), "select(1)", "Row down"),
            ("panel.stop", ("x",), "stop_one", "Stop it; while it is stopping: kill it"),
            ("panel.words", ("w",), "stop_with_words", "Stop it, with words for the model"),
            ("panel.unfold", ("enter", "space"), "unfold", "Show or hide its output"),
            ("panel.more_time", ("plus", "equals_sign"), "deadline(1)", "30 seconds more"),
            ("panel.less_time", ("minus",), "deadline(-1)", "30 seconds less"),
            ("approval.once", ("y",), "choose('once')", "Allow this call"),
            ("approval.session", ("s",), "choose('session')", "Allow the rule for this session"),
            ("approval.always", ("a",), "choose('always')", "Keep the rule in the configuration"),
            ("approval.deny", ("n",), "choose('deny')", "Deny this call"),
            ("approval.words", ("r",), "choose('words')", "Deny it, with words for the model"),
            ("approval.stop", ("x",), "choose('stop')", "Stop this call"),
            ("approval.left", ("left",), "mark(-1)", "Mark the answer before"),
            ("approval.right", ("right",), "mark(1)", "Mark the next answer"),
            ("approval.take", ("enter",), "take_marked", "Give the marked answer"),
            ("approval.up", ("up",), "scroll_body(-1)", "Scroll what is asked"),
            ("approval.down", ("down", "space"), "scroll_body(1)", "Scroll what is asked"),
            ("queue.up", ("up", "k"), "act('up')", "The prompt before"),
            ("queue.down", ("down", "j"), "act('down')", "The next prompt"),
            ("queue.edit", ("enter", "e"), "act('edit')", "Edit it"),
            ("queue.remove", ("x", "delete", "backspace"), "act('remove')", "Remove it"),
            ("queue.send", ("s", "ctrl+s"), "act('send')", "Stop the turn and send it next"),
            ("queue.put_back", ("ctrl+z", "u"), "act('put_back')", "Undo a removal or an edit"),
        )
    ),
)

BY_ID = {binding.id: binding for binding in KEYS}
_in_force: dict[str, tuple[str, ...]] = {}
"""Keys of the bindings that a key map has changed; written only by `use_keymap`, which the program calls
before its first frame."""
_NAMES = {
    "escape": "Esc",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "space": "Space",
    "tab": "Tab",
    "enter": "Enter",
    "delete": "Delete",
    "backspace": "Backspace",
    "plus": "+",
    "minus": "-",
}
_FIXED = tuple(binding for binding in KEYS if not binding.rebindable and not binding.scope.takes_letters)
_MODIFIERS = frozenset({"alt", "ctrl", "shift", "super", "hyper", "meta"})


def bindings(scope: KeyScope) -> list[Binding]:
    """The Textual bindings that a widget of this scope puts into its `BINDINGS`."""
    return [
        Binding(",".join(key.keys), key.action, key.description, show=False, priority=key.priority, id=key.id)
        for key in KEYS
        if key.scope is scope
    ]


class Keymap(Value):
    """The valid part of a user's key map. `entries` is what `App.set_keymap` takes; `errors` say why the
    other entries do not count."""

    entries: Mapping[str, str]
    errors: tuple[KeymapError, ...] = ()


def apply_keymap(overrides: Mapping[str, str]) -> dict[str, str]:
    """Check a user's key map: binding id to comma-separated keys, as in `{"app.quit": "f10,ctrl+q"}`.

    Returns what `App.set_keymap` takes. Raises `KeymapError` at the first entry that is unknown, not
    rebindable, misspelled, or whose key would stop being a stop key, be typed as text, edit the prompt, or
    belong to two bindings. Not solved: keys that the terminal intercepts or cannot send are not detected.
    """
    wanted = {id_: _keys_of(id_, keys) for id_, keys in overrides.items()}
    in_force = {
        binding.id: wanted.get(binding.id, binding.keys)
        for binding in KEYS
        if not binding.scope.takes_letters
    }
    reserved = frozenset(binding.key for binding in editing_bindings()) if wanted else frozenset()
    for id_, keys in wanted.items():
        for key in keys:
            _check_key(id_, key, in_force, reserved)
    return {id_: ",".join(keys) for id_, keys in wanted.items()}


def follow_keymap(overrides: Mapping[str, str]) -> Keymap:
    """Keep the valid entries of a user's key map.

    An entry that `apply_keymap` would refuse does not count and its binding keeps its default keys; all
    others count. If two entries want the same key, the later one counts. Raises nothing.
    """
    wanted = dict(overrides)
    errors: list[KeymapError] = []
    entries: dict[str, str] | None = None
    while entries is None:
        try:
            entries = apply_keymap(wanted)
        except KeymapError as error:
            errors.append(error)
            del wanted[error.binding_id]
    return Keymap(entries, tuple(errors))


def use_keymap(overrides: Mapping[str, str]) -> Keymap:
    """Put the valid entries in force, so that `key_name` shows their keys. Raises nothing."""
    keymap = follow_keymap(overrides)
    _in_force.clear()
    _in_force.update((id_, tuple(keys.split(","))) for id_, keys in keymap.entries.items())
    return keymap


def keys_of(binding_id: str) -> tuple[str, ...]:
    """Textual's names of the keys in force for a binding. Raises `KeyError` for an unknown id."""
    return _in_force.get(binding_id) or BY_ID[binding_id].keys


def key_name(binding_id: str) -> str:
    """The first key in force for a binding, in readable form: `Ctrl+G`."""
    return readable_key(keys_of(binding_id)[0])


def key_names(binding_id: str, most: int | None = None) -> str:
    """All keys in force, or the first `most`: `Shift+Enter, Ctrl+J or Alt+Enter`."""
    names = list(dict.fromkeys(map(readable_key, keys_of(binding_id))))[:most]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def readable_key(key: str) -> str:
    """
    >>> readable_key("ctrl+g"), readable_key("pageup"), readable_key("x"), readable_key("equals_sign")
    ('Ctrl+G', 'PageUp', 'x', '=')
    """
    *modifiers, name = key.split("+")
    shown = _NAMES.get(name) or key_to_character(name) or name.capitalize()
    if modifiers and len(shown) == 1:
        shown = shown.upper()
    return "+".join((*map(str.capitalize, modifiers), shown))


def _keys_of(id_: str, keys: str) -> tuple[str, ...]:
    binding = BY_ID.get(id_)
    if binding is None:
        hint = _did_you_mean(id_, BY_ID) or f" Known are: {', '.join(BY_ID)}."
        raise KeymapError(id_, f"there is no binding {id_!r}.{hint}")
    if not binding.rebindable:
        shown = " or ".join(binding.keys)
        raise KeymapError(
            id_,
            f"{id_} stays on {shown} and cannot be rebound ({binding.description.lower()}). "
            f"Remove the line {id_!r}.",
        )
    found = tuple(key.strip().lower() for key in keys.split(",") if key.strip())
    if not found:
        raise KeymapError(id_, f"{id_} has no key. Give at least one, such as {binding.keys[0]!r}.")
    return found


def _check_key(id_: str, key: str, in_force: Mapping[str, tuple[str, ...]], reserved: frozenset[str]) -> None:
    owner = next((binding for binding in _FIXED if key in binding.keys), None)
    if owner is not None:
        raise KeymapError(
            id_,
            f"{id_} cannot use {key}, which always means: {owner.description.lower()}. Choose another key.",
        )
    _check_spelling(id_, key)
    if key in BY_ID[id_].keys:
        return
    if key in reserved:
        raise KeymapError(id_, f"{id_} cannot use {key}, which edits the prompt. Choose another key.")
    for other, keys in in_force.items():
        if other != id_ and key in keys:
            raise KeymapError(
                id_, f"{key} is asked for by {id_} and by {other}. Give one of them another key."
            )


def _check_spelling(id_: str, key: str) -> None:
    *modifiers, name = key.split("+")
    known = {key.value.rpartition("+")[2] for key in Keys}
    if unknown := next((word for word in modifiers if word not in _MODIFIERS), None):
        hint = _did_you_mean(unknown, _MODIFIERS) or f" Known are: {', '.join(sorted(_MODIFIERS))}."
        raise KeymapError(id_, f"{id_}: {unknown!r} in {key!r} is not a modifier.{hint}")
    character = key_to_character(name)
    if name not in known and character is None:
        raise KeymapError(id_, f"{id_}: no key is called {name!r}.{_did_you_mean(name, known)}")
    if character is not None and character.isprintable() and set(modifiers) <= {"shift"}:
        raise KeymapError(
            id_, f"{id_} cannot use {key}, which types text. Add ctrl or alt, or take f1 to f12."
        )


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def editing_bindings() -> list[Binding]:
    """The bindings of Textual's text area that edit the prompt's text or move its cursor."""
    # Imported here because without a prompt only a key map needs it.
    from textual.widgets import TextArea

    return [one for one in Binding.make_bindings(TextArea.BINDINGS) if one.key not in _RELEASED_KEYS]
