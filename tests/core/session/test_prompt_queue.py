"""The queue of prompts: its order, what waits for the person, and that nothing in it is ever lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.prompt_queue import CHANGES_KEPT, PromptQueue


def taken(queue: PromptQueue) -> list[str]:
    """What is sent, one after the other, until the queue gives no more."""
    texts = []
    while (prompt := queue.take_next()) is not None:
        texts.append(prompt.text)
    return texts


def state(queue: PromptQueue) -> tuple[list[str], bool, int | None]:
    """The texts that wait, whether they are paused, and which is being edited."""
    return list(queue.texts), queue.paused, queue.edited


def with_three() -> PromptQueue:
    """1, 2 and 3, of which the texts are a, b and c."""
    queue = PromptQueue()
    for text in "abc":
        queue.add(text)
    return queue


@pytest.mark.promise("U3")
def test_prompts_go_in_the_order_in_which_they_came() -> None:
    queue = with_three()
    assert [(prompt.queue_id, prompt.text) for prompt in queue.prompts] == [(1, "a"), (2, "b"), (3, "c")]
    assert taken(queue) == ["a", "b", "c"]
    assert queue.add("d").queue_id == 4


@pytest.mark.promise("E8")
def test_a_paused_queue_gives_nothing_until_it_goes_on() -> None:
    queue = with_three()
    queue.pause()
    assert taken(queue) == []
    queue.add("d")
    queue.go_on()
    assert taken(queue) == ["a", "b", "c", "d"]


@pytest.mark.promise("E8")
def test_what_an_earlier_run_left_waits_for_the_person() -> None:
    queue = PromptQueue(["a", "b"])
    assert queue.texts == ("a", "b")
    assert queue.paused
    assert not PromptQueue([]).paused


@pytest.mark.promise("E8")
def test_what_is_urgent_goes_first_and_from_a_paused_queue_alone() -> None:
    queue = with_three()
    queue.pause()
    queue.add_urgent("first")
    queue.add_urgent("second")
    assert queue.make_urgent(3)
    assert queue.make_urgent(3)
    assert queue.texts == ("first", "second", "c", "a", "b")
    assert taken(queue) == ["first", "second", "c"]
    assert queue.paused
    assert not queue.make_urgent(3)


@pytest.mark.promise("E8")
def test_a_queue_that_has_run_out_is_not_paused() -> None:
    queue = PromptQueue(["a"])
    assert queue.make_urgent(1)
    assert state(queue) == (["a"], False, None)
    queue = PromptQueue(["a"])
    queue.remove(1)
    assert state(queue) == ([], False, None)
    # It was, so what comes back waits.
    queue.put_back()
    assert state(queue) == (["a"], True, None)


@pytest.mark.promise("E8")
def test_what_is_being_edited_is_not_sent_nor_overtaken() -> None:
    queue = with_three()
    assert queue.begin_edit(2)
    assert taken(queue) == ["a"]
    assert state(queue) == (["b", "c"], False, 2)
    assert queue.edit(2, "B")
    assert state(queue) == (["B", "c"], False, None)
    assert taken(queue) == ["B", "c"]
    assert not queue.begin_edit(2)
    assert not queue.edit(2, "too late")
    queue.add("d")
    queue.begin_edit(4)
    queue.end_edit()
    assert taken(queue) == ["d"]


@pytest.mark.promise("E8")
def test_to_remove_what_is_being_edited_sets_the_others_free() -> None:
    queue = with_three()
    queue.begin_edit(1)
    queue.remove(1)
    assert queue.edited is None
    assert taken(queue) == ["b", "c"]


@pytest.mark.promise("E8")
def test_every_change_can_be_taken_back_the_latest_first() -> None:
    queue = with_three()
    queue.edit(1, "A")
    queue.remove(2)
    assert queue.take_all() == ("A", "c")
    assert queue.take_all() == ()
    assert [prompt.text for prompt in queue.put_back()] == ["A", "c"]
    seen = [state(queue)[0]]
    while queue.put_back():
        seen.append(state(queue)[0])
    assert seen == [["A", "c"], ["A", "b", "c"], ["a", "b", "c"]]
    # The same prompts, by name too.
    assert [prompt.queue_id for prompt in queue.prompts] == [1, 2, 3]


@pytest.mark.promise("E8")
def test_what_was_sent_does_not_come_back() -> None:
    queue = with_three()
    queue.edit(1, "A")
    queue.take_all()
    queue.put_back()
    assert taken(queue) == ["A", "b", "c"]
    assert queue.put_back() == ()


def test_an_edit_that_changes_nothing_is_no_change() -> None:
    queue = with_three()
    assert queue.edit(1, "a")
    assert queue.put_back() == ()
    assert not queue.remove(9)


class QueueMachine(RuleBasedStateMachine):
    """Whatever is done: every prompt waits once, was sent once, or can be put back."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PromptQueue()
        self.added = 0
        self.sent: list[int] = []
        self.changes = 0

    ids = st.integers(0, 12)

    @rule(how=st.sampled_from(["add", "hold", "add_urgent"]))
    def add(self, how: str) -> None:
        prompt = getattr(self.queue, how)(f"prompt {self.added}")
        self.added += 1
        assert prompt.queue_id == self.added

    @rule(queue_id=ids, how=st.sampled_from(["make_urgent", "begin_edit", "remove"]))
    def change(self, queue_id: int, how: str) -> None:
        waits = queue_id in self.waiting
        assert getattr(self.queue, how)(queue_id) is waits
        self.changes += waits and how == "remove"

    @rule(queue_id=ids, letter=st.characters())
    def edit(self, queue_id: int, letter: str) -> None:
        assert self.queue.edit(queue_id, letter) is (queue_id in self.waiting)
        self.changes += 1

    @rule(how=st.sampled_from(["pause", "go_on", "end_edit", "take_all", "put_back"]))
    def act(self, how: str) -> None:
        getattr(self.queue, how)()
        self.changes += how == "take_all"

    @rule()
    def send(self) -> None:
        first = self.queue.prompts[0] if self.queue.prompts else None
        paused, edited = self.queue.paused, self.queue.edited
        prompt = self.queue.take_next()
        if prompt is None:
            assert first is None or edited == first.queue_id or (paused and not first.urgent)
        else:
            assert prompt == first
            assert edited != prompt.queue_id
            assert prompt.urgent or not paused
            self.sent.append(prompt.queue_id)

    @invariant()
    def what_is_urgent_stands_first(self) -> None:
        urgent = [prompt.urgent for prompt in self.queue.prompts]
        assert urgent == sorted(urgent, reverse=True)

    @invariant()
    def only_what_waits_is_paused_or_edited(self) -> None:
        assert not self.queue.paused or not all(prompt.urgent for prompt in self.queue.prompts)
        assert self.queue.edited is None or self.queue.edited in self.waiting

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert max(Counter([*self.waiting, *self.sent]).values(), default=1) == 1
        if self.changes <= CHANGES_KEPT:
            removed = {
                prompt.queue_id for change in self.queue._changes for _, prompt in change.before
            } - set(self.waiting)
            everything = {*self.waiting, *self.sent, *removed}
            assert everything == set(range(1, self.added + 1))
            assert not removed & set(self.sent)

    @property
    def waiting(self) -> list[int]:
        return [prompt.queue_id for prompt in self.queue.prompts]


QueueMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
TestQueueMachine = pytest.mark.promise("E8")(QueueMachine.TestCase)
