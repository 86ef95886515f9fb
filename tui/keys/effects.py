"""What each key will do, in words, for a given state: the help under F1 says nothing else.

Pure: it is tested against what the keys really do. A key that would do nothing is told of all the same, with
the reason. Keys go by the names of those in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.events import Status
from tui.key_state import KeyState, Place, esc_action
from tui.keys import KEYS, KeyScope, key_names, keys_of, readable_key
from tui.widgets.status_line import EscAction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Deed(NamedTuple):
    """What a key does. One that does nothing says so in its words."""

    words: str
    works: bool = True


class KeyDeed(NamedTuple):
    """A binding, the names of its keys, and what they do."""

    binding_id: str
    keys: str
    deed: Deed


def deeds(state: KeyState) -> tuple[KeyDeed, ...]:
    """All keys that mean something everywhere or in the composer, those that stop first."""
    told = (binding for binding in KEYS if not binding.scope.takes_letters and binding.id in _DEEDS)
    return tuple(KeyDeed(key.id, key_names(key.id), _DEEDS[key.id](state)) for key in told)


def deed_of(binding_id: str, state: KeyState) -> Deed:
    """What the keys of one binding do. Raises `KeyError` for one that `deeds` does not tell of."""
    return _DEEDS[binding_id](state)


def elsewhere() -> Iterator[tuple[str, tuple[KeyDeed, ...]]]:
    """The keys of panel, question and queue, which count while the focus is there, each under a title."""
    for scope, title in _SCOPES.items():
        mine = (binding for binding in KEYS if binding.scope is scope)
        yield title, tuple(KeyDeed(key.id, key_names(key.id), Deed(key.description)) for key in mine)


_SCOPES = {
    KeyScope.PANEL: "In the panel of what is alive",
    KeyScope.APPROVAL: "On a question",
    KeyScope.QUEUE: "In the queue",
}


def _nothing(why: str) -> Deed:
    return Deed(f"nothing now: {why}", works=False)


def _stop(state: KeyState) -> Deed:
    match esc_action(state):
        case EscAction.CLOSE:
            return Deed(_closes(state))
        case EscAction.DENY:
            return Deed("Deny what is asked, and stop the turn")
        case EscAction.STOP:
            return Deed("Stop the turn and all its calls")
        case EscAction.FORCE:
            return Deed("Force the end: what has not stopped is killed")
        case EscAction.REWIND:
            return Deed("Go back to an earlier prompt")
        case EscAction.NOTHING if state.written:
            return _nothing("no turn runs, and what is written stays")
        case _:
            return _nothing("no turn runs; twice in a row goes back to an earlier prompt")


def _closes(state: KeyState) -> str:
    if state.words_open:
        return "Close the line of words"
    if state.list_open:
        return "Close the list"
    if state.place is Place.QUEUE_EDITOR:
        return "Leave the queued prompt as it was"
    if state.place is Place.QUEUE:
        return "Go back to the composer"
    if state.place is Place.PANEL:
        return "Close the panel"
    return "Close the list of commands"


def _interrupt(state: KeyState) -> Deed:
    if state.status is Status.RUNNING:
        return Deed("Stop the turn, from anywhere")
    if state.status is Status.STOPPING:
        return Deed("Force the end: what has not stopped is killed")
    if state.aftershock:
        return _nothing("the turn has just been stopped")
    if state.words_open:
        return Deed("Close the line of words")
    if state.list_open:
        return Deed("Close the list")
    if state.place is Place.QUEUE_EDITOR:
        return Deed("Leave the queued prompt as it was")
    if state.written:
        return Deed("Clear what is written; Ctrl+Z brings it back")
    if state.ctrl_c_again:
        return Deed("Quit")
    return Deed("Twice in a row: quit")


def _toggle_panel(state: KeyState) -> Deed:
    if state.place is Place.PANEL:
        return Deed("Close the panel")
    return Deed(
        "Go to the panel of what is alive" if state.panel_open else "Show what is alive, and go there"
    )


def _next(state: KeyState) -> Deed:
    if state.place is Place.COMPOSER and state.completing:
        return Deed("Complete the command")
    at = state.stations.index(state.place) if state.place in state.stations else -1
    there = state.stations[(at + 1) % len(state.stations)]
    if there is state.place:
        return _nothing("nothing is open to go to")
    return Deed(f"Go to {there}")


def _next_mode(state: KeyState) -> Deed:
    return Deed(f"Change the mode from {state.mode} to {state.mode.next}")


def _send_queued(state: KeyState) -> Deed:
    if not state.queued:
        return _nothing("no prompt is queued")
    if not state.idle:
        return _nothing("a turn runs, the queue is for after it")
    if state.editing_next:
        return _nothing("the next prompt is being edited")
    return Deed(
        "Send the queued prompt" if state.queued == 1 else f"Go on with {state.queued} queued prompts"
    )


def _retry_now(state: KeyState) -> Deed:
    return Deed("Try again at once") if state.waiting else _nothing("nothing waits to be tried again")


def _kill(state: KeyState) -> Deed:
    return Deed("Kill what refused to end") if state.refused else _nothing("all that was stopped has ended")


_SAVE_KEY = "ctrl+s"
"""Of the lists in which something is edited; it stays there, whatever key stops and sends."""

_ENTER_ELSEWHERE = {
    Place.LIST: Deed("Take the selected row, where the list has any to take"),
    Place.WORDS: Deed("Give these words to the model"),
    Place.QUESTION: Deed("Give the answer that the arrows have marked"),
    Place.QUEUE: Deed("Edit the selected prompt"),
    Place.QUEUE_EDITOR: Deed("Keep the text"),
    Place.PANEL: Deed("Show or hide the output of the selected row"),
}


def _submit(state: KeyState) -> Deed:
    if state.place is not Place.COMPOSER:
        return _ENTER_ELSEWHERE[state.place]
    if not state.written:
        return _nothing("nothing is written")
    if state.completing:
        return Deed("Complete the command; one that is whole is obeyed")
    if not state.idle:
        return Deed("Queue what is written; a command is obeyed at once")
    return Deed("Send what is written")


def _stop_and_send(state: KeyState) -> Deed:
    if state.place is Place.QUEUE:
        return Deed(
            "Stop the turn and send the selected prompt next" if not state.idle else "Send this prompt"
        )
    if state.place is Place.QUEUE_EDITOR:
        return Deed("Keep the text and send it next")
    if state.place is Place.LIST and _SAVE_KEY in keys_of("prompt.stop_and_send"):
        return Deed("Save, where something is edited")
    if state.place is not Place.COMPOSER:
        return _nothing("it is for the composer")
    if state.written:
        if state.status is Status.RUNNING:
            return Deed("Stop the turn and send what is written next")
        return Deed(
            "Send what is written" if state.idle else "Send what is written as soon as the turn has ended"
        )
    if not state.idle:
        return _nothing("write first what is to be sent")
    return Deed("Send the first queued prompt") if state.queued else _nothing("nothing is written or queued")


def _newline(state: KeyState) -> Deed:
    if state.place in (Place.COMPOSER, Place.QUEUE_EDITOR):
        return Deed("Break the line")
    if state.place is Place.LIST:
        return Deed("Break the line, where something is written")
    return _nothing("it is for the composer")


def _up(state: KeyState) -> Deed:
    return _vertical(
        state, "Select the command above", "Go a line up; on the first line, to the prompt before"
    )


def _down(state: KeyState) -> Deed:
    return _vertical(
        state, "Select the command below", "Go a line down; on the last line, to the next prompt"
    )


def _vertical(state: KeyState, completing: str, writing: str) -> Deed:
    if state.place is not Place.COMPOSER:
        return Deed(f"Move in {state.place}")
    return Deed(completing if state.completing else writing)


def _scrolls(words: str) -> Callable[[KeyState], Deed]:
    def deed(state: KeyState) -> Deed:
        own = state.place in (Place.LIST, Place.PANEL, Place.QUEUE)
        return Deed(f"Move in {state.place}") if own else Deed(words)

    return deed


def _end_key(words: str, binding_id: str, bare: str) -> Callable[[KeyState], Deed]:
    """The `bare` key edits what is written, if anything is."""

    def deed(state: KeyState) -> Deed:
        edits = bare in keys_of(binding_id) and state.place is Place.COMPOSER and state.written
        more = f"; {readable_key(bare)} alone moves in what is written" if edits else ""
        return _scrolls(f"{words}{more}")(state)

    return deed


def _unless_listed(words: str) -> Callable[[KeyState], Deed]:
    """A key that some list has for itself, as the foot of that list says."""

    def deed(state: KeyState) -> Deed:
        own = ", unless the foot of the list says otherwise" if state.place is Place.LIST else ""
        return Deed(f"{words}{own}")

    return deed


def _always(words: str) -> Callable[[KeyState], Deed]:
    return lambda _: Deed(words)


_DEEDS: Mapping[str, Callable[[KeyState], Deed]] = {
    "pane.stop": _stop,
    "pane.interrupt": _interrupt,
    "app.quit": _always("Quit; asks first if something would be lost"),
    "app.copy": _always("Copy the selection"),
    "pane.toggle_panel": _toggle_panel,
    "pane.next": _next,
    "pane.next_mode": _next_mode,
    "pane.send_queued": _send_queued,
    "pane.sessions": _always("Show the sessions"),
    "pane.palette": _always("Search all commands and keys, and do one"),
    "pane.help": _always("Show what keys and commands do"),
    "pane.models": _unless_listed("Choose the model"),
    "pane.retry_now": _retry_now,
    "pane.kill": _kill,
    "transcript.cards": _always("Unfold or fold the calls"),
    "transcript.page_up": _scrolls("Go a page up"),
    "transcript.page_down": _scrolls("Go a page down"),
    "transcript.home": _end_key("Go to the beginning", "transcript.home", "home"),
    "transcript.end": _end_key("Go to the end and follow", "transcript.end", "end"),
    "transcript.toggle_reasoning": _unless_listed("Show or fold reasoning"),
    "prompt.submit": _submit,
    "prompt.stop_and_send": _stop_and_send,
    "prompt.newline": _newline,
    "prompt.up": _up,
    "prompt.down": _down,
}
