"""What each key does in a given state, as text: the source of the help under F1.

Pure functions, tested against what the keys really do. A key that does nothing is listed too, with the
reason. Keys are shown under the names of the keys in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.operations.events import Status
from tui.keys.bindings import KEYS, KeyScope, key_names, keys_of, readable_key
from tui.keys.state import EscAction, KeyState, Place, esc_action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Effect(NamedTuple):
    """What a key does, or why it does nothing."""

    words: str
    works: bool = True


class KeyEffect(NamedTuple):
    """A binding, the names of its keys, and what they do."""

    binding_id: str
    keys: str
    effect: Effect


def effects(state: KeyState) -> tuple[KeyEffect, ...]:
    """All keys that work everywhere or in the composer, stop keys first."""
    told = (binding for binding in KEYS if not binding.scope.takes_letters and binding.id in _EFFECTS)
    return tuple(KeyEffect(key.id, key_names(key.id), _EFFECTS[key.id](state)) for key in told)


def elsewhere() -> Iterator[tuple[str, tuple[KeyEffect, ...]]]:
    """The keys of panel, question and queue, which work while the focus is there, each group with a title."""
    for scope, title in _SCOPES.items():
        mine = (binding for binding in KEYS if binding.scope is scope)
        yield title, tuple(KeyEffect(key.id, key_names(key.id), Effect(key.description)) for key in mine)


_SCOPES = {
    KeyScope.PANEL: "In the panel of what is alive",
    KeyScope.APPROVAL: "On a question",
    KeyScope.QUEUE: "In the queue",
}


def _nothing(why: str) -> Effect:
    return Effect(f"nothing now: {why}", works=False)


def _stop(state: KeyState) -> Effect:
    match esc_action(state):
        case EscAction.CLOSE:
            return Effect(_closes(state))
        case EscAction.DENY:
            return Effect("Deny what is asked, and stop the turn")
        case EscAction.STOP:
            return Effect("Stop the turn and all its calls")
        case EscAction.FORCE:
            return Effect("Force the end: what has not stopped is killed")
        case EscAction.REWIND:
            return Effect("Go back to an earlier prompt")
        case EscAction.NOTHING if state.written:
            return _nothing("no turn runs, and what is written stays")
        case _:
            return _nothing("no turn runs; twice in a row goes back to an earlier prompt")


def _closes(state: KeyState) -> str:
    if state.reason_open:
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


def _interrupt(state: KeyState) -> Effect:
    if state.status is Status.RUNNING:
        return Effect("Stop the turn, from anywhere")
    if state.status is Status.STOPPING:
        return Effect("Force the end: what has not stopped is killed")
    if state.aftershock:
        return _nothing("the turn has just been stopped")
    if state.reason_open or state.list_open or state.place is Place.QUEUE_EDITOR:
        return Effect(_closes(state))
    if state.written:
        return Effect("Clear what is written; Ctrl+Z brings it back")
    if state.ctrl_c_again:
        return Effect("Quit")
    return Effect("Twice in a row: quit")


def _toggle_panel(state: KeyState) -> Effect:
    if state.place is Place.PANEL:
        return Effect("Close the panel")
    return Effect(
        "Go to the panel of what is alive" if state.panel_open else "Show what is alive, and go there"
    )


def _next(state: KeyState) -> Effect:
    if state.place is Place.COMPOSER and state.completing:
        return Effect("Complete the command")
    at = state.focus_targets.index(state.place) if state.place in state.focus_targets else -1
    there = state.focus_targets[(at + 1) % len(state.focus_targets)]
    if there is state.place:
        return _nothing("nothing is open to go to")
    return Effect(f"Go to {there}")


def _next_mode(state: KeyState) -> Effect:
    return Effect(f"Change the mode from {state.mode} to {state.mode.next}")


def _send_queued(state: KeyState) -> Effect:
    if not state.queued:
        return _nothing("no prompt is queued")
    if not state.idle:
        return _nothing("a turn runs, the queue is for after it")
    if state.editing_next:
        return _nothing("the next prompt is being edited")
    return Effect(
        "Send the queued prompt" if state.queued == 1 else f"Go on with {state.queued} queued prompts"
    )


def _retry_now(state: KeyState) -> Effect:
    return Effect("Try again at once") if state.waiting else _nothing("nothing waits to be tried again")


def _kill(state: KeyState) -> Effect:
    return Effect("Kill what refused to end") if state.refused else _nothing("all that was stopped has ended")


_SAVE_KEY = "ctrl+s"
"""The save key of lists with an editor; it is fixed, whatever key stops and sends."""

_ENTER_ELSEWHERE = {
    Place.LIST: Effect("Take the selected row, where the list has any to take"),
    Place.WORDS: Effect("Give these words to the model"),
    Place.QUESTION: Effect("Give the answer that the arrows have marked"),
    Place.QUEUE: Effect("Edit the selected prompt"),
    Place.QUEUE_EDITOR: Effect("Keep the text"),
    Place.PANEL: Effect("Show or hide the output of the selected row"),
}


def _submit(state: KeyState) -> Effect:
    if state.place is not Place.COMPOSER:
        return _ENTER_ELSEWHERE[state.place]
    if not state.written:
        return _nothing("nothing is written")
    if state.completing:
        return Effect("Complete the command; one that is whole is obeyed")
    if not state.idle:
        return Effect("Queue what is written; a command is obeyed at once")
    return Effect("Send what is written")


def _stop_and_send(state: KeyState) -> Effect:
    if state.place is Place.QUEUE:
        return Effect(
            "Stop the turn and send the selected prompt next" if not state.idle else "Send this prompt"
        )
    if state.place is Place.QUEUE_EDITOR:
        return Effect("Keep the text and send it next")
    if state.place is Place.LIST and _SAVE_KEY in keys_of("prompt.stop_and_send"):
        return Effect("Save, where something is edited")
    if state.place is not Place.COMPOSER:
        return _nothing("it is for the composer")
    if state.written:
        if state.status is Status.RUNNING:
            return Effect("Stop the turn and send what is written next")
        return Effect(
            "Send what is written" if state.idle else "Send what is written as soon as the turn has ended"
        )
    if not state.idle:
        return _nothing("write first what is to be sent")
    return (
        Effect("Send the first queued prompt") if state.queued else _nothing("nothing is written or queued")
    )


def _newline(state: KeyState) -> Effect:
    if state.place in (Place.COMPOSER, Place.QUEUE_EDITOR):
        return Effect("Break the line")
    if state.place is Place.LIST:
        return Effect("Break the line, where something is written")
    return _nothing("it is for the composer")


def _vertical(completing: str, writing: str) -> Callable[[KeyState], Effect]:
    def effect(state: KeyState) -> Effect:
        if state.place is not Place.COMPOSER:
            return Effect(f"Move in {state.place}")
        return Effect(completing if state.completing else writing)

    return effect


def _scrolls(words: str) -> Callable[[KeyState], Effect]:
    def effect(state: KeyState) -> Effect:
        own = state.place in (Place.LIST, Place.PANEL, Place.QUEUE)
        return Effect(f"Move in {state.place}") if own else Effect(words)

    return effect


def _end_key(words: str, binding_id: str, bare: str) -> Callable[[KeyState], Effect]:
    """An effect where the `bare` key edits the written text, if there is any."""

    def effect(state: KeyState) -> Effect:
        edits = bare in keys_of(binding_id) and state.place is Place.COMPOSER and state.written
        more = f"; {readable_key(bare)} alone moves in what is written" if edits else ""
        return _scrolls(f"{words}{more}")(state)

    return effect


def _unless_listed(words: str) -> Callable[[KeyState], Effect]:
    """An effect for a key that some lists use themselves, as their last line says."""

    def effect(state: KeyState) -> Effect:
        own = ", unless the foot of the list says otherwise" if state.place is Place.LIST else ""
        return Effect(f"{words}{own}")

    return effect


def _always(words: str) -> Callable[[KeyState], Effect]:
    return lambda _: Effect(words)


_EFFECTS: Mapping[str, Callable[[KeyState], Effect]] = {
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
    "prompt.up": _vertical(
        "Select the command above", "Go a line up; on the first line, to the prompt before"
    ),
    "prompt.down": _vertical(
        "Select the command below", "Go a line down; on the last line, to the next prompt"
    ),
}
