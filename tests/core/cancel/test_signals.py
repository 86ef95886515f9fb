"""T1, T2 and T6 under signal handlers and other threads, which come in the middle of whatever is being done.

That middle is swept: an operation is interrupted before its 1st, 2nd, ... n-th bytecode instruction, by a
handler in the same thread or by a whole thread, until it ends uninterrupted. These are all the places that a
real signal or thread switch can hit, and more. Real signals follow.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import selectors
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import pytest

import core.cancel
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from tests.support.bound_tasks import QUIT, USER, Block, block, cancelled_with, end_of, rounds
from tests.support.cancel_sweep import in_thread
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


def interrupted(
    operation: Callable[[], object], handler: Callable[[], object], at: int, *, libraries: bool = True
) -> bool:
    """Run the operation and, within it, the handler before instruction `at`; false if it has fewer.

    Without `libraries` only the instructions of the module itself count; those of this file never do.
    """
    count = 0
    mine = {__file__, "<string>"}

    def step(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal count
        file = frame.f_code.co_filename
        frame.f_trace_opcodes = file not in mine and (libraries or file == core.cancel.__file__)
        if event == "opcode":
            count += 1
            if count == at:
                handler()
                sys.settrace(None)
        return step if count < at else None

    before = sys.gettrace()
    # Python 3.12 tells of instructions only when a frame had asked for them before.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(step)
    try:
        operation()
    finally:
        sys.settrace(before)
    return count >= at


@dataclass
class Scene:
    """A small tree with all that may hang on one, and what happened to it."""

    root: CancelToken = field(default_factory=lambda: CancelToken("root"))
    told: list[tuple[CancelToken, CancelReason]] = field(default_factory=list)
    won: list[tuple[CancelToken, CancelReason]] = field(default_factory=list)
    forced: list[CancelToken] = field(default_factory=list)
    listeners: list[CancelToken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn = self.root.child("turn")
        self.call = self.turn.child("call")
        self.tokens = [self.root, self.turn, self.call, self.root.child("other")]
        for token in (self.root, self.turn):
            self.listen(token)
        self.spare = self.call.on_cancel(lambda _: None)

    def cancel(self, token: CancelToken, source: str) -> None:
        reason = CancelReason(Cause.SIGNAL, source)
        if token.cancel(reason):
            self.won.append((token, reason))

    def force(self) -> None:
        self.cancel(self.root, "first stop")
        self.root.force()

    def child(self) -> None:
        self.tokens.append(self.turn.child("late"))
        self.tokens.append(self.tokens[-1].child("later"))

    def listen(self, token: CancelToken) -> None:
        self.listeners.append(token)
        token.on_cancel(lambda reason: self.told.append((token, reason)))
        token.on_force(lambda _: self.forced.append(token))

    def bind(self) -> None:
        with suppress(Cancelled), self.call.bind():
            pass

    def holds(self) -> None:
        """Whatever was interrupted by what: all is marked, told once, with the reason that came first."""
        if not self.root.cancelled:
            self.cancel(self.root, "last")
        assert self.root.forced or self.root.force()
        for token in self.tokens:
            own = [reason for winner, reason in self.won if winner is token]
            inherited = [] if token.parent is None else [token.parent.reason]
            assert [token.reason] == (own or inherited), token
        assert sorted(map(id, self.listeners)) == sorted(id(token) for token, _ in self.told)
        assert all(token.reason is reason for token, reason in self.told)
        assert sorted(map(id, self.forced)) == sorted(map(id, self.listeners))
        assert all(token.forced for token in self.tokens)
        assert not self.root._pinned


OPERATIONS: dict[str, Callable[[Scene], None]] = {
    "cancel the root": lambda scene: scene.cancel(scene.root, "root"),
    "cancel the turn": lambda scene: scene.cancel(scene.turn, "turn"),
    "stop twice": Scene.force,
    "make children": Scene.child,
    "register a callback": lambda scene: scene.listen(scene.turn),
    "withdraw a callback": lambda scene: scene.spare.close(),
    "bind": Scene.bind,
}

INTERRUPTERS: dict[str, Callable[[Callable[[], object]], object]] = {
    "signal": lambda handler: handler(),
    "thread": in_thread,
}
HANDLERS = [name for name in OPERATIONS if name != "bind"]


@pytest.mark.promise("T1", "T2", "T3", "T6")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("handler", "by"), [*((name, "signal") for name in HANDLERS), ("stop twice", "thread")]
)
async def test_anything_may_be_interrupted_anywhere(operation: str, handler: str, by: str) -> None:
    for at in itertools.count(1):
        scene = Scene()
        interrupter = partial(INTERRUPTERS[by], partial(OPERATIONS[handler], scene))
        reached = interrupted(partial(OPERATIONS[operation], scene), interrupter, at)
        try:
            scene.holds()
        except BaseException as error:
            error.add_note(f"interrupted before instruction {at}")
            raise
        if not reached:
            break
    assert at > 10


@pytest.mark.promise("T1", "T4")
@pytest.mark.parametrize(
    ("operation", "by"), [("cancel the turn", "signal"), ("bind", "signal"), ("bind", "thread")]
)
async def test_a_cancel_ends_the_blocks_wherever_it_comes(operation: str, by: str) -> None:
    """The interrupted operation runs in the task of a bound block, so anyio is interrupted too."""
    for at in itertools.count(1):
        scene = Scene()
        elsewhere = Block(scene.call)
        reached = await interrupted_block(scene, operation, by, at)
        scene.holds()
        assert await cancelled_with(elsewhere) is scene.call.reason
        if not reached:
            break
    assert at > 10


async def interrupted_block(scene: Scene, operation: str, by: str, at: int) -> bool:
    reached = False

    async def work() -> None:
        nonlocal reached
        with scene.root.bind():
            await asyncio.sleep(0)
            interrupter = partial(INTERRUPTERS[by], partial(scene.cancel, scene.root, "interrupter"))
            reached = interrupted(partial(OPERATIONS[operation], scene), interrupter, at)
            if not reached:
                scene.cancel(scene.root, "end")
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    error = await end_of(task)
    assert isinstance(error, Cancelled)
    assert error.reason is scene.root.reason
    assert task.cancelling() == 0
    return reached


@pytest.mark.promise("T3", "T4")
@pytest.mark.parametrize("by", INTERRUPTERS)
async def test_a_cancel_during_the_entry_of_a_block_is_not_lost(by: str) -> None:
    async def work(turn: CancelToken, at: int) -> None:
        with ExitStack() as stack:
            interrupter = partial(INTERRUPTERS[by], partial(turn.cancel, USER))
            if not interrupted(partial(stack.enter_context, turn.bind()), interrupter, at):
                turn.cancel(QUIT)
            await asyncio.Event().wait()

    for at in itertools.count(1):
        turn = CancelToken("turn")
        error = await end_of(asyncio.create_task(work(turn, at)))
        assert isinstance(error, Cancelled)
        if error.reason is QUIT:
            break
    assert at > 10


@pytest.mark.promise("T6", "S11")
async def test_a_second_stop_may_overtake_a_first_that_was_cut_short() -> None:
    for at in itertools.count(1):
        scene = Scene()
        scene.root._claim(USER)  # so far, and no further, has the first come
        scene.won.append((scene.root, USER))
        if not interrupted(scene.root.force, partial(scene.listen, scene.call), at):
            break
        assert [token for token in scene.forced if token is scene.call] == [scene.call], at
        scene.root.cancel(USER)
        scene.holds()
    assert at > 10


@pytest.mark.promise("T1", "T6")
async def test_a_cancel_that_an_exception_cut_short_is_completed_by_the_next() -> None:
    """What it was about to call may be lost, as with any code that is cut short, but nothing else.

    Inside anyio, which is not ours to repair, the exception could lose the block's cancel.
    """

    def fail() -> None:
        raise KeyboardInterrupt

    for at in itertools.count(1):
        scene = Scene()
        started = await block(scene.call)
        with suppress(KeyboardInterrupt):
            if not interrupted(partial(scene.root.cancel, USER), fail, at, libraries=False):
                break
        # From another thread: a lock that stayed locked would show.
        second = threading.Thread(target=scene.root.cancel, args=(USER,), daemon=True)
        second.start()
        second.join(GENEROUS_S)
        assert not second.is_alive(), at
        assert all(token.reason is USER for token in scene.tokens), at
        assert len(scene.told) >= len(scene.listeners) - 1, at
        assert await cancelled_with(started) is USER
    assert at > 10


# ---- real signals


@contextmanager
def handling(number: signal.Signals, handler: Callable[[], object]) -> Iterator[None]:
    """A raw handler: no event loop knows of it, and nothing wakes a loop for it."""
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.promise("T1", "T6")
def test_a_storm_of_signals_over_all_operations() -> None:
    scene: Scene | None = None
    storms = 0
    handlers = [OPERATIONS[name] for name in HANDLERS]

    def handler() -> None:
        nonlocal storms
        storms += 1
        if scene is not None:
            handlers[storms % len(handlers)](scene)

    with handling(signal.SIGALRM, handler):
        signal.setitimer(signal.ITIMER_REAL, 0.000_3, 0.000_3)
        try:
            while storms < 300:
                scene = current = Scene()
                for action in reversed(handlers):
                    action(current)
                scene = None
                current.holds()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


class Waker(StrEnum):
    RAW_HANDLER = "a handler that no loop knows of"
    LOOP_HANDLER = "a handler of the loop"
    THREAD = "another thread"


@contextmanager
def waking(waker: Waker, action: Callable[[], object]) -> Iterator[Callable[[], object]]:
    """What a thread has to call so that the action comes about in the given way."""
    send = partial(os.kill, os.getpid(), signal.SIGUSR1)
    match waker:
        case Waker.THREAD:
            yield action
        case Waker.RAW_HANDLER:
            with handling(signal.SIGUSR1, action):
                yield send
        case Waker.LOOP_HANDLER:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, action)
            yield send
            loop.remove_signal_handler(signal.SIGUSR1)
        case _:
            assert_never(waker)


@pytest.mark.promise("T1", "T4", "T6")
@pytest.mark.parametrize("waker", Waker)
async def test_a_sleeping_loop_is_woken(waker: Waker) -> None:
    """A raw handler interrupts the loop's wait for input, and only the cancel itself can end that wait."""
    bound, waited = CancelToken("bound"), CancelToken("waited for")
    started = await block(bound)
    with waking(waker, partial(bound.cancel, USER)) as act:
        sleeper = threading.Thread(target=_when_asleep, args=(threading.get_ident(), act, bound))
        sleeper.start()
        assert await cancelled_with(started) is USER
        sleeper.join()
    waiter = asyncio.create_task(waited.wait_cancelled())
    await rounds()
    with waking(waker, partial(waited.cancel, USER)) as act:
        sleeper = threading.Thread(target=_when_asleep, args=(threading.get_ident(), act, waited))
        sleeper.start()
        assert await end_of(waiter) is None
        sleeper.join()


def _when_asleep(loop_thread: int, action: Callable[[], object], turn: CancelToken) -> None:
    """Act while the loop waits for input; again, should the signal have come just before the wait."""
    waits = {
        getattr(selectors, name).select.__code__
        for name in ("EpollSelector", "KqueueSelector", "PollSelector", "SelectSelector")
        if hasattr(selectors, name)
    }
    while not turn.cancelled:
        if sys._current_frames()[loop_thread].f_code in waits:
            action()
        threading.Event().wait(0.001)
