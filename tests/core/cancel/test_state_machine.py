"""T1 to T6 over random histories: trees, threads, late binds and callbacks, against a model in plain Python.

The model is a dictionary of nodes that know their parent and, once cancelled, their reason. All else follows
from it: who is told, how often and with what, and which block is left, at which level, and why.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar, assert_never

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from tests.support.bound_tasks import Block, rounds
from tests.support.cancel_sweep import in_thread
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.cancel import Registration

T = TypeVar("T")

PICK = st.integers(min_value=0, max_value=999)
"""Which of the things that exist by then, modulo their number; of tokens 0 is the newest, not the root."""


class By(StrEnum):
    """Where a cancel comes from."""

    HERE = "no loop running"
    LOOP = "the loop"
    THREAD = "another thread"
    THREAD_WHILE_LOOP_RUNS = "another thread, while the loop runs"


@dataclass
class Node:
    """The model of one token."""

    parent: int | None
    reason: CancelReason | None = None


@dataclass
class Listener:
    """A callback or waiter: whether it is still waited for, and what it was told."""

    node: int
    registration: Registration | None = None
    open: bool = True
    told: list[CancelReason] = field(default_factory=list)


@dataclass
class Running:
    """A task in blocks of `nodes`, outermost first, and how it must have ended, if so."""

    nodes: tuple[int, ...]
    block: Block
    released: bool = False
    reason: CancelReason | None = None


class CancelMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        gc.freeze()  # so that `forget` collects what this history made, and not the world each time
        self.loop = asyncio.new_event_loop()
        self.nodes: dict[int, Node] = {}
        self.tokens: dict[int, CancelToken] = {}
        self.listeners: list[Listener] = []
        self.waiters: list[tuple[int, asyncio.Task[CancelReason]]] = []
        self.running: list[Running] = []
        self.sources = 0

    def teardown(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.in_loop(end())
        self.loop.close()
        gc.unfreeze()

    # ---- the model

    def add(self, token: CancelToken, parent: int | None) -> None:
        name = len(self.nodes)
        self.nodes[name] = Node(parent, None if parent is None else self.nodes[parent].reason)
        self.tokens[name] = token

    def mark(self, name: int, reason: CancelReason) -> bool:
        first = self.nodes[name].reason is None
        if first:
            self.nodes[name].reason = reason
            for below, node in self.nodes.items():
                if node.parent == name:
                    self.mark(below, reason)
        return first

    def settle(self) -> None:
        """Note which blocks the last step has ended, and why: the outermost of those cancelled catches."""
        for running in self.running:
            if running.reason is None and not running.released:
                reasons = [self.nodes[name].reason for name in running.nodes]
                running.reason = next((reason for reason in reasons if reason is not None), None)
        self.in_loop(rounds(8))

    # ---- the rules

    @initialize(picks=st.lists(PICK, max_size=8))
    def tree(self, picks: list[int]) -> None:
        self.add(CancelToken("root"), None)
        for pick in picks:
            self.child(pick)

    @rule(pick=PICK)
    def child(self, pick: int) -> None:
        parent = self.pick(pick)
        self.add(self.tokens[parent].child("child"), parent)

    @rule()
    def detached(self) -> None:
        self.add(CancelToken.detached("background"), None)

    @rule(pick=PICK, by=st.sampled_from(By))
    def cancel(self, pick: int, by: By) -> None:
        name, reason = self.pick(pick), self.reason()
        firsts: list[bool] = []
        self.call(lambda: firsts.append(self.tokens[name].cancel(reason)), by)
        assert firsts == [self.mark(name, reason)]

    @rule(picks=st.lists(PICK, min_size=2, max_size=3))
    def race(self, picks: list[int]) -> None:
        """Several threads at once: no order is promised, but each mark has one owner, or is inherited."""
        names = [self.pick(pick) for pick in picks]
        reasons = [self.reason() for _ in names]
        firsts = [False] * len(names)
        barrier = threading.Barrier(len(names))

        def cancel(number: int) -> None:
            barrier.wait(GENEROUS_S)
            firsts[number] = self.tokens[names[number]].cancel(reasons[number])

        threads = [threading.Thread(target=cancel, args=(number,)) for number in range(len(names))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The winners from the leaves up are one serial order that must explain all that is seen.
        for number in sorted(range(len(names)), key=lambda number: -self.depth(names[number])):
            if firsts[number]:
                assert self.mark(names[number], reasons[number])
        assert all(self.nodes[name].reason is not None for name in names)

    @rule(pick=PICK, by=st.sampled_from(By))
    def listen(self, pick: int, by: By) -> None:
        listener = Listener(self.pick(pick))

        def register() -> None:
            listener.registration = self.tokens[listener.node].on_cancel(listener.told.append)

        self.call(register, by)
        self.listeners.append(listener)
        # T6: a late one has been called by now, and not only after the loop went round.
        assert listener.told == [
            reason for reason in [self.nodes[listener.node].reason] if reason is not None
        ]

    @rule(pick=PICK)
    def close(self, pick: int) -> None:
        if self.listeners:
            listener = self.listeners[pick % len(self.listeners)]
            if listener.registration is not None:
                listener.registration.close()
                listener.open = listener.open and self.nodes[listener.node].reason is not None

    @rule(pick=PICK)
    def wait(self, pick: int) -> None:
        name = self.pick(pick)
        self.waiters.append((name, self.loop.create_task(self.tokens[name].wait_cancelled())))

    @rule(picks=st.lists(PICK, min_size=1, max_size=3))
    def bind(self, picks: list[int]) -> None:
        """A task in one block or several, nested in any order, of one tree or of two."""
        names = tuple(self.pick(pick) for pick in picks)

        async def start() -> Block:
            return Block(*(self.tokens[name] for name in names))

        self.running.append(Running(names, self.in_loop(start())))

    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        """Let a block end by itself."""
        if self.running:
            running = self.running[pick % len(self.running)]
            running.released = running.reason is None
            running.block.left.set()

    @rule(pick=PICK, by=st.sampled_from(By))
    def listen_on_a_forgotten_child(self, pick: int, by: By) -> None:
        self.child(pick)
        self.listen(0, by)
        self.forget(0)

    @rule(pick=PICK)
    def forget(self, pick: int) -> None:
        """Drop our own reference: whoever else still needs the token must hold it."""
        name = self.pick(pick)
        if name == 0:
            return
        del self.tokens[name]
        for listener in self.listeners:
            if listener.node == name:
                listener.registration = None
        gc.collect()

    # ---- what must hold after each step

    @invariant()
    def marks_are_as_in_the_model(self) -> None:
        for name, token in self.tokens.items():
            assert token.reason is self.nodes[name].reason
            assert token.cancelled == (token.reason is not None)

    @invariant()
    def all_are_told_once(self) -> None:
        for listener in self.listeners:
            reason = self.nodes[listener.node].reason
            assert listener.told == ([reason] if listener.open and reason is not None else [])

    @invariant()
    def waiters_are_woken(self) -> None:
        self.settle()
        for name, task in self.waiters:
            reason = self.nodes[name].reason
            assert task.done() == (reason is not None)
            assert reason is None or task.result() is reason

    @invariant()
    def blocks_are_left(self) -> None:
        self.settle()
        for running in self.running:
            task, reason = running.block.task, running.reason
            if running.released:
                assert task.done()
                assert task.exception() is None
            elif reason is None:
                assert running.block.inside.is_set()
                assert not task.done()
            else:
                assert task.done()
                error = task.exception()
                assert isinstance(error, Cancelled)
                assert error.reason is reason
            assert running.block.cancelling == (0 if task.done() else -1)

    # ---- how

    def pick(self, pick: int) -> int:
        return [*self.tokens][-1 - pick % len(self.tokens)]

    def depth(self, name: int) -> int:
        parent = self.nodes[name].parent
        return 0 if parent is None else 1 + self.depth(parent)

    def reason(self) -> CancelReason:
        self.sources += 1
        return CancelReason(Cause.USER, str(self.sources))

    def in_loop(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    def call(self, action: Callable[[], None], by: By) -> None:
        async def here() -> None:
            action()

        async def meanwhile() -> None:
            done = asyncio.Event()

            def run() -> None:
                action()
                self.loop.call_soon_threadsafe(done.set)

            thread = threading.Thread(target=run)
            thread.start()
            await done.wait()
            thread.join()

        match by:
            case By.HERE:
                action()
            case By.LOOP:
                self.in_loop(here())
            case By.THREAD:
                in_thread(action)
            case By.THREAD_WHILE_LOOP_RUNS:
                self.in_loop(meanwhile())
            case _:
                assert_never(by)


CancelMachine.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),
)
TestCancelMachine = pytest.mark.promise("T1", "T2", "T3", "T4", "T6")(CancelMachine.TestCase)
