"""The thread that sees signals first, with this process' own signals and loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import anyio
import anyio.lowlevel
import pytest

from tests.support.waiting import GENEROUS_S
from tui.terminal.signals import SignalWatch

pytestmark = pytest.mark.promise("Q1")


def never() -> None:
    raise AssertionError("the loop answers, nothing is to be restored")


def watching(seen: asyncio.Queue[tuple[signal.Signals, int]]) -> SignalWatch:
    return SignalWatch(
        lambda number, count: seen.put_nowait((number, count)), loop=asyncio.get_running_loop(), restore=never
    )


async def next_of(seen: asyncio.Queue[tuple[signal.Signals, int]]) -> tuple[signal.Signals, int]:
    with anyio.fail_after(GENEROUS_S):
        return await seen.get()


async def test_signals_are_counted_until_they_are_settled() -> None:
    seen: asyncio.Queue[tuple[signal.Signals, int]] = asyncio.Queue()
    with watching(seen) as watch:
        os.kill(os.getpid(), signal.SIGINT)
        assert await next_of(seen) == (signal.SIGINT, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await next_of(seen) == (signal.SIGTERM, 2)
        watch.settle()
        os.kill(os.getpid(), signal.SIGINT)
        assert await next_of(seen) == (signal.SIGINT, 1)


async def test_the_hang_ups_of_one_closed_terminal_are_one() -> None:
    seen: asyncio.Queue[tuple[signal.Signals, int]] = asyncio.Queue()
    with watching(seen) as watch:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await anyio.lowlevel.checkpoint()
        assert await next_of(seen) == (signal.SIGHUP, 1)
        os.kill(os.getpid(), signal.SIGINT)
        assert await next_of(seen) == (signal.SIGINT, 2)
        watch.settle()


async def test_a_signal_given_to_another_thread_still_wakes_the_loop() -> None:
    handled = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bool] = loop.create_future()

    def take_it() -> None:
        # The loop has to be asleep to need waking. Too short a pause proves less, it cannot fail the test.
        time.sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        was_handled = handled.wait(GENEROUS_S)
        loop.call_soon_threadsafe(result.set_result, was_handled)

    thread = threading.Thread(target=take_it)
    try:
        with watching(asyncio.Queue()):
            thread.start()
            assert await result
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_handlers_are_given_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    async def watch() -> None:
        with watching(asyncio.Queue()):
            assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]

    asyncio.run(watch())
    assert {number: signal.getsignal(number) for number in before} == before
