"""Every key binding of the application as data with an id: one table that is shown, tested and rebound.

It must never offer a way to rebind what stops a turn, nor to put another action on those keys (E9): a person
who presses Esc is entitled to a stop whatever a configuration file says.
"""

from __future__ import annotations

import difflib
from enum import StrEnum
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.keys import Keys, key_to_character

from core.errors import CaesuraError
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeymapError(CaesuraError):
    """A key map asks for something that is refused. Its text says what, why, and what to do instead.

    `binding_id` is the entry that is refused.
    """

    def __init__(self, binding_id: str, message: str) -> None:
        super().__init__(f"Key map: {message}")
        self.binding_id = binding_id


class KeyScope(StrEnum):
    """Which widget owns a binding: its `action_...` method runs there."""

    APP = "app"
    PANE = "pane"
    PROMPT = "prompt"
    PANEL = "panel"
    APPROVAL = "approval"
    QUEUE = "queue"

    @property
    def takes_letters(self) -> bool:
        """Whether nothing is typed there, so that letters are keys like others."""
        return self in (KeyScope.PANEL, KeyScope.APPROVAL, KeyScope.QUEUE)


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """One thing that keys can do.

    `keys` are Textual's names of the default keys. `action` is Textual's action string, resolved on the
    widget of `scope`. `priority` means that the binding is tried before the focused widget sees the key.
    """

    id: str
    keys: tuple[str, ...]
    action: str
    description: str
    scope: KeyScope
    rebindable: bool = True
    priority: bool = False


RELEASED_KEYS = frozenset({"up", "down", "pageup", "pagedown", "ctrl+c", "super+c"})
"""Keys of Textual's text area that the prompt gives to the bindings below."""

KEYS: tuple[KeyBinding, ...] = (
    KeyBinding(
        "pane.stop",
        ("escape",),
        "stop",
        "Close what is open, else stop the turn",
        KeyScope.PANE,
        rebindable=False,
        priority=True,
    ),
    KeyBinding(
        "pane.interrupt",
        ("ctrl+c",),
        "interrupt",
        "Stop the turn; idle: clear the prompt; twice on an empty prompt: quit",
        KeyScope.PANE,
        rebindable=False,
        priority=True,
    ),
    KeyBinding("app.quit", ("ctrl+q",), "quit", "Quit", KeyScope.APP, priority=True),
    KeyBinding(
        "app.copy", ("ctrl+shift+c", "super+c"), "screen.copy_text", "Copy the selection", KeyScope.APP
    ),
    KeyBinding(
        "pane.toggle_panel",
        ("ctrl+t",),
        "toggle_panel",
        "Show everything that is alive, and go there; from there: close it",
        KeyScope.PANE,
        priority=True,
    ),
    KeyBinding(
        "pane.next",
        ("tab",),
        "go_on",
        "Go to the open question, to the queue, to the panel, back to the prompt",
        KeyScope.PANE,
        priority=True,
    ),
    KeyBinding(
        "pane.next_mode",
        ("shift+tab",),
        "next_mode",
        "What needs no approval: ask, edits, plan, auto",
        KeyScope.PANE,
        priority=True,
    ),
    KeyBinding(
        "pane.send_queued", ("ctrl+g",), "send_queued", "Go on with queued prompts that wait", KeyScope.PANE
    ),
    KeyBinding("pane.sessions", ("ctrl+l",), "show_sessions", "Show the sessions", KeyScope.PANE),
    *(
        # As with those above: what is typed behind one of these is meant for the list that it opens.
        KeyBinding(f"pane.{name}", keys, action, description, KeyScope.PANE, priority=True)
        for name, keys, action, description in (
            ("palette", ("ctrl+p",), "show_palette", "Search commands and keys, and do one of them"),
            ("help", ("f1",), "show_help", "Show what each key does now, and all commands"),
        )
    ),
    # The list of sessions has this key for itself, so it is not tried first.
    KeyBinding("pane.models", ("f2",), "show_models", "Choose the model", KeyScope.PANE),
    KeyBinding(
        "pane.retry_now",
        ("f5",),
        "retry_now",
        "Try again at once what waits to be tried again",
        KeyScope.PANE,
    ),
    KeyBinding("transcript.cards", ("ctrl+o",), "toggle_cards", "Unfold or fold calls", KeyScope.PANE),
    KeyBinding("pane.kill", ("f9",), "kill_survivors", "Kill processes that refused to end", KeyScope.PANE),
    KeyBinding("transcript.page_up", ("pageup",), "transcript_page_up", "Page up", KeyScope.PANE),
    KeyBinding("transcript.page_down", ("pagedown",), "transcript_page_down", "Page down", KeyScope.PANE),
    KeyBinding(
        "transcript.home",
        ("ctrl+home", "home"),
        "transcript_home",
        "Go to the beginning (Home: while the prompt is empty)",
        KeyScope.PANE,
    ),
    KeyBinding(
        "transcript.end",
        ("ctrl+end", "end"),
        "transcript_end",
        "Go to the end and follow (End: while the prompt is empty)",
        KeyScope.PANE,
    ),
    KeyBinding(
        "transcript.toggle_reasoning",
        ("ctrl+r",),
        "toggle_reasoning",
        "Show or fold reasoning",
        KeyScope.PANE,
    ),
    KeyBinding("prompt.submit", ("enter",), "submit", "Send", KeyScope.PROMPT),
    KeyBinding(
        "prompt.stop_and_send",
        ("ctrl+s",),
        "stop_and_send",
        "Stop the turn and send this next; empty: send the next queued prompt",
        KeyScope.PROMPT,
    ),
    KeyBinding(
        "prompt.newline", ("shift+enter", "ctrl+j", "alt+enter"), "newline", "New line", KeyScope.PROMPT
    ),
    KeyBinding(
        "prompt.up",
        ("up",),
        "cursor_up",
        "Line up, then the previous prompt",
        KeyScope.PROMPT,
        rebindable=False,
    ),
    KeyBinding(
        "prompt.down",
        ("down",),
        "cursor_down",
        "Line down, then the next prompt",
        KeyScope.PROMPT,
        rebindable=False,
    ),
    KeyBinding("prompt.copy", ("ctrl+shift+c", "super+c"), "copy", "Copy the selection", KeyScope.PROMPT),
    *(
        # Tried before the widget sees the key: what is typed behind one that moves the focus goes where it is
        # meant for, however fast it comes.
        KeyBinding(f"{scope}.{name}", keys, action, description, scope, rebindable=False, priority=True)
        for scope, name, keys, action, description in (
            (KeyScope.PANEL, "up", ("up", "k"), "select(-1)", "Row up"),
            (KeyScope.PANEL, "down", ("down", "j"), "select(1)", "Row down"),
            (KeyScope.PANEL, "stop", ("x",), "stop_one", "Stop it; while it is stopping: kill it"),
            (KeyScope.PANEL, "words", ("w",), "stop_with_words", "Stop it, with words for the model"),
            (KeyScope.PANEL, "unfold", ("enter", "space"), "unfold", "Show or hide its output"),
            (KeyScope.PANEL, "more_time", ("plus", "equals_sign"), "deadline(1)", "30 seconds more"),
            (KeyScope.PANEL, "less_time", ("minus",), "deadline(-1)", "30 seconds less"),
            (KeyScope.APPROVAL, "once", ("y",), "choose('once')", "Allow this call"),
            (KeyScope.APPROVAL, "session", ("s",), "choose('session')", "Allow the rule for this session"),
            (KeyScope.APPROVAL, "always", ("a",), "choose('always')", "Keep the rule in the configuration"),
            (KeyScope.APPROVAL, "deny", ("n",), "choose('deny')", "Deny this call"),
            (KeyScope.APPROVAL, "words", ("r",), "choose('words')", "Deny it, with words for the model"),
            (KeyScope.APPROVAL, "stop", ("x",), "choose('stop')", "Stop this call"),
            (KeyScope.APPROVAL, "left", ("left",), "mark(-1)", "Mark the answer before"),
            (KeyScope.APPROVAL, "right", ("right",), "mark(1)", "Mark the next answer"),
            (KeyScope.APPROVAL, "take", ("enter",), "take_marked", "Give the marked answer"),
            (KeyScope.APPROVAL, "up", ("up",), "scroll_body(-1)", "Scroll what is asked"),
            (KeyScope.APPROVAL, "down", ("down", "space"), "scroll_body(1)", "Scroll what is asked"),
            (KeyScope.QUEUE, "up", ("up", "k"), "act('up')", "The prompt before"),
            (KeyScope.QUEUE, "down", ("down", "j"), "act('down')", "The next prompt"),
            (KeyScope.QUEUE, "edit", ("enter", "e"), "act('edit')", "Edit it"),
            (KeyScope.QUEUE, "remove", ("x", "delete", "backspace"), "act('remove')", "Remove it"),
            (KeyScope.QUEUE, "send", ("s", "ctrl+s"), "act('send')", "Stop the turn and send it next"),
            (KeyScope.QUEUE, "put_back", ("ctrl+z", "u"), "act('put_back')", "Undo a removal or an edit"),
        )
    ),
)

BY_ID = {binding.id: binding for binding in KEYS}
_in_force: dict[str, tuple[str, ...]] = {}
"""The keys of the bindings that a key map has given others; written by `use_keymap` alone, which the program
calls before its first frame."""
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


@dataclass(frozen=True, slots=True)
class Keymap:
    """A person's key map as far as it can be followed. `entries` is what `App.set_keymap` takes; `errors` say
    why the other entries do not count."""

    entries: Mapping[str, str]
    errors: tuple[KeymapError, ...] = ()


def apply_keymap(overrides: Mapping[str, str]) -> dict[str, str]:
    """Check a person's key map: binding id to comma-separated keys, as in `{"app.quit": "f10,ctrl+q"}`.

    Returns what `App.set_keymap` takes. Raises `KeymapError` at the first entry that is unknown, not
    rebindable, misspelt, or whose key would stop being a stop key, be typed as text, edit the prompt, or
    belong to two bindings. Not solved: what a terminal keeps for itself or cannot send is not detected.
    """
    wanted = {id_: _keys_of(id_, keys) for id_, keys in overrides.items()}
    in_force = {
        binding.id: wanted.get(binding.id, binding.keys)
        for binding in KEYS
        if not binding.scope.takes_letters
    }
    reserved = _editing_keys() if wanted else frozenset()
    for id_, keys in wanted.items():
        for key in keys:
            _check_key(id_, key, in_force, reserved)
    return {id_: ",".join(keys) for id_, keys in wanted.items()}


def follow_keymap(overrides: Mapping[str, str]) -> Keymap:
    """What of a person's key map can be followed.

    An entry that `apply_keymap` would refuse does not count and its binding keeps its own keys; all others
    count. Of two entries that want one key the later counts. Raises nothing.
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
    """Put that in force, so that `key_name` tells the keys that it gives. Raises nothing."""
    keymap = follow_keymap(overrides)
    _in_force.clear()
    _in_force.update((id_, tuple(keys.split(","))) for id_, keys in keymap.entries.items())
    return keymap


def keys_of(binding_id: str) -> tuple[str, ...]:
    """Textual's names of the keys in force for a binding. Raises `KeyError` for an id that is unknown."""
    return _in_force.get(binding_id) or BY_ID[binding_id].keys


def key_name(binding_id: str) -> str:
    """The first key in force for a binding, as a person reads it: `Ctrl+G`."""
    return readable_key(keys_of(binding_id)[0])


def key_names(binding_id: str, most: int | None = None) -> str:
    """All of them, or the first few: `Shift+Enter, Ctrl+J or Alt+Enter`."""
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
        near = difflib.get_close_matches(id_, BY_ID, n=1)
        hint = f" Did you mean {near[0]}?" if near else f" Known are: {', '.join(BY_ID)}."
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
    if key in _fixed_keys():
        owner = next(binding for binding in _FIXED if key in binding.keys)
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
        near = difflib.get_close_matches(unknown, _MODIFIERS, n=1)
        raise KeymapError(
            id_,
            f"{id_}: {unknown!r} in {key!r} is not a modifier."
            + (f" Did you mean {near[0]}?" if near else f" Known are: {', '.join(sorted(_MODIFIERS))}."),
        )
    character = key_to_character(name)
    if name not in known and character is None:
        near = difflib.get_close_matches(name, known, n=1)
        raise KeymapError(
            id_, f"{id_}: no key is called {name!r}." + (f" Did you mean {near[0]}?" if near else "")
        )
    if character is not None and character.isprintable() and set(modifiers) <= {"shift"}:
        raise KeymapError(
            id_, f"{id_} cannot use {key}, which types text. Add ctrl or alt, or take f1 to f12."
        )


def _fixed_keys() -> frozenset[str]:
    return frozenset(key for binding in _FIXED for key in binding.keys)


def _editing_keys() -> frozenset[str]:
    """Keys with which the prompt's text is edited and its cursor moved."""
    # Only a person with a key map needs it here.
    from textual.widgets import TextArea

    found = {binding.key for binding in Binding.make_bindings(TextArea.BINDINGS)}
    return frozenset(found - RELEASED_KEYS)
