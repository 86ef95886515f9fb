"""Threads of ours run soon, and the programs that they start run as usual."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from core.base.scheduling import run_as_usual, run_soon
from tests.support.commands import Run
from tests.support.slices import NEEDS_SLICES, is_short, slice_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = NEEDS_SLICES


@pytest.fixture
def soon() -> Iterator[None]:
    run_soon()
    yield
    run_as_usual()


def test_a_thread_runs_soon_until_it_runs_as_usual_and_its_niceness_stays() -> None:
    usual, nice = slice_of(0), os.getpriority(os.PRIO_PROCESS, 0)
    run_soon()
    assert slice_of(0) < usual
    run_as_usual()
    assert slice_of(0) == usual
    assert os.getpriority(os.PRIO_PROCESS, 0) == nice


@pytest.mark.usefixtures("soon")
async def test_a_command_runs_as_usual() -> None:
    run = Run(("sh", "-c", "echo ready; sleep 600")).start()
    try:
        await run.up("ready")
        assert run.living
        assert not any(map(is_short, run.living))
    finally:
        run.stop()
        await until(run.task.done)
