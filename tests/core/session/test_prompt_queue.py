"""The queue of prompts: its order, what waits for the person, and that nothing in it is ever lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.cancel import CancelReason, Cause
from core.operations.events import Status
from core.session.queue import CHANGES_KEPT, PromptQueue

KEY = CancelReason(Cause.USER, "Ctrl+S")


class Turns:
    """An owner whose turns last until `end`. `sent` are the prompts of all turns."""

    closed = False

    def __init__(self, *left: str, status: Status = Status.RUNNING) -> None:
        self.status = status
        self.sent: list[str] = []
        self.queue = PromptQueue(self, left)

    def check_open(self) -> None:
        """It is open."""

    def begin_turn(self, text: str) -> None:
        assert self.status is Status.IDLE
        self.sent.append(text)
        self.status = Status.RUNNING

    def stop(self, reason: CancelReason) -> bool:
        self.status = Status.STOPPING
        return True

    def queue_changed(self) -> None:
        """Nothing to store."""

    def end(self) -> None:
        """The turn is completed."""
        self.status = Status.IDLE
        self.queue.begin_next()

    def taken(self) -> list[str]:
        """What is sent, one after the other, until the queue gives no more."""
        known = len(self.sent)
        self.end()
        while self.status is not Status.IDLE:
            self.end()
        return self.sent[known:]


def state(queue: PromptQueue) -> tuple[list[str], bool, int | None]:
    """The texts that wait, whether they are paused, and which is being edited."""
    return list(queue.texts), queue.paused, queue.edited


def with_three() -> tuple[Turns, PromptQueue]:
    """1, 2 and 3, of which the texts are a, b and c, behind a running turn."""
    turns = Turns()
    for text in "abc":
        turns.queue.submit(text)
    return turns, turns.queue


@pytest.mark.promise("U3")
def test_prompts_go_in_the_order_in_which_they_came() -> None:
    turns, queue = with_three()
    assert [(prompt.queue_id, prompt.text) for prompt in queue.prompts] == [(1, "a"), (2, "b"), (3, "c")]
    assert turns.taken() == ["a", "b", "c"]
    turns.status = Status.RUNNING
    queue.submit("d")
    assert queue.prompts[0].queue_id == 4


@pytest.mark.promise("E8")
def test_a_paused_queue_gives_nothing_until_it_goes_on() -> None:
    turns, queue = with_three()
    queue.pause()
    queue.submit("d")
    assert not queue.unpause()
    assert turns.taken() == []
    assert queue.unpause()
    assert turns.taken() == ["b", "c", "d"]
    assert turns.sent == ["a", "b", "c", "d"]
    assert not queue.unpause()


@pytest.mark.promise("E8")
def test_what_an_earlier_run_left_waits_for_the_person() -> None:
    queue = Turns("a", "b").queue
    assert queue.texts == ("a", "b")
    assert queue.paused
    assert not Turns().queue.paused


@pytest.mark.promise("E8")
def test_what_is_urgent_goes_first_and_from_a_paused_queue_alone() -> None:
    turns, queue = with_three()
    queue.pause()
    queue.stop_and_send("first", KEY)
    queue.stop_and_send("second", KEY)
    assert queue.send_now(3, KEY)
    assert queue.send_now(3, KEY)
    assert queue.texts == ("first", "second", "c", "a", "b")
    assert turns.taken() == ["first", "second", "c"]
    assert queue.paused
    assert not queue.send_now(3, KEY)


@pytest.mark.promise("E8")
def test_a_queue_that_has_run_out_is_not_paused() -> None:
    queue = Turns("a").queue
    assert queue.send_now(1, KEY)
    assert state(queue) == (["a"], False, None)
    queue = Turns("a").queue
    queue.remove(1)
    assert state(queue) == ([], False, None)
    # It was, so what is restored waits.
    queue.undo()
    assert state(queue) == (["a"], True, None)


@pytest.mark.promise("E8")
def test_what_is_being_edited_is_not_sent_nor_overtaken() -> None:
    turns, queue = with_three()
    assert queue.begin_edit(2)
    assert turns.taken() == ["a"]
    assert state(queue) == (["b", "c"], False, 2)
    assert queue.edit(2, "B")
    assert turns.sent == ["a", "B"]
    assert state(queue) == (["c"], False, None)
    assert not queue.begin_edit(2)
    assert not queue.edit(2, "too late")
    queue.submit("d")
    queue.begin_edit(4)
    assert turns.taken() == ["c"]
    queue.end_edit()
    assert turns.sent == ["a", "B", "c", "d"]


@pytest.mark.promise("E8")
def test_to_remove_what_is_being_edited_sets_the_others_free() -> None:
    turns, queue = with_three()
    queue.begin_edit(1)
    queue.remove(1)
    assert queue.edited is None
    assert turns.taken() == ["b", "c"]


@pytest.mark.promise("E8")
def test_every_change_can_be_undone_the_latest_first() -> None:
    _, queue = with_three()
    queue.edit(1, "A")
    queue.remove(2)
    assert queue.take_all() == ("A", "c")
    assert queue.take_all() == ()
    assert [prompt.text for prompt in queue.undo()] == ["A", "c"]
    seen = [state(queue)[0]]
    while queue.undo():
        seen.append(state(queue)[0])
    assert seen == [["A", "c"], ["A", "b", "c"], ["a", "b", "c"]]
    # The same prompts, by name too.
    assert [prompt.queue_id for prompt in queue.prompts] == [1, 2, 3]


@pytest.mark.promise("E8")
def test_what_was_sent_is_not_restored() -> None:
    turns, queue = with_three()
    queue.edit(1, "A")
    queue.take_all()
    queue.undo()
    assert turns.taken() == ["A", "b", "c"]
    assert queue.undo() == ()


def test_an_edit_that_changes_nothing_is_no_change() -> None:
    _, queue = with_three()
    assert queue.edit(1, "a")
    assert queue.undo() == ()
    assert not queue.edit(1, " ")
    assert not queue.remove(9)


class QueueMachine(RuleBasedStateMachine):
    """Whatever is done: every prompt waits once, was sent once, or can be restored.

    A prompt is known by its name, the part of its text before the "~" of an edit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.queue = self.turns.queue
        self.added = 0
        self.changes = 0

    ids = st.integers(0, 12)

    def new(self) -> str:
        self.added += 1
        return f"prompt {self.added}"

    @rule(how=st.sampled_from(["submit", "hold", "stop and send"]))
    def add(self, how: str) -> None:
        match how:
            case "submit":
                self.queue.submit(self.new())
            case "hold":
                self.queue.hold(self.new())
            case _:
                self.queue.stop_and_send(self.new(), KEY)

    @rule(queue_id=ids, how=st.sampled_from(["send_now", "begin_edit", "remove"]))
    def change(self, queue_id: int, how: str) -> None:
        waits = queue_id in self.ids_of_waiting
        more = (KEY,) if how == "send_now" else ()
        assert getattr(self.queue, how)(queue_id, *more) is waits
        self.changes += waits and how == "remove"

    @rule(queue_id=ids, letter=st.characters())
    def edit(self, queue_id: int, letter: str) -> None:
        text = next((prompt.text for prompt in self.queue.prompts if prompt.queue_id == queue_id), "")
        edited = self.queue.edit(queue_id, f"{name_of(text)}~{letter}")
        assert edited is bool(text)
        self.changes += 1

    @rule(how=st.sampled_from(["pause", "unpause", "end_edit", "take_all", "undo"]))
    def act(self, how: str) -> None:
        getattr(self.queue, how)()
        self.changes += how == "take_all"

    @rule()
    def end_turn(self) -> None:
        first = self.queue.prompts[0] if self.queue.prompts else None
        paused, edited = self.queue.paused, self.queue.edited
        known = len(self.turns.sent)
        self.turns.end()
        blocked = first is None or edited == first.queue_id or (paused and not first.urgent)
        assert self.turns.sent[known:] == ([] if blocked or first is None else [first.text])

    @invariant()
    def what_is_urgent_stands_first(self) -> None:
        urgent = [prompt.urgent for prompt in self.queue.prompts]
        assert urgent == sorted(urgent, reverse=True)

    @invariant()
    def only_what_waits_is_paused_or_edited(self) -> None:
        assert not self.queue.paused or not all(prompt.urgent for prompt in self.queue.prompts)
        assert self.queue.edited is None or self.queue.edited in self.ids_of_waiting

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        waiting, sent = [*map(name_of, self.queue.texts)], [*map(name_of, self.turns.sent)]
        assert max(Counter([*waiting, *sent]).values(), default=1) == 1
        if self.changes <= CHANGES_KEPT:
            changed = {name_of(prompt.text) for change in self.queue._changes for _, prompt in change.before}
            removed = changed - set(waiting)
            assert {*waiting, *sent, *removed} == {f"prompt {number + 1}" for number in range(self.added)}
            assert not removed & set(sent)

    @property
    def ids_of_waiting(self) -> list[int]:
        return [prompt.queue_id for prompt in self.queue.prompts]


def name_of(text: str) -> str:
    return text.partition("~")[0]


QueueMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
TestQueueMachine = pytest.mark.promise("E8")(QueueMachine.TestCase)
