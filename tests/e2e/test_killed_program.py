"""Caesura itself, killed with SIGKILL by what is on the wire: the next one goes on with its session (H8)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.model.messages import ResultStatus
from tests.e2e.test_headless import run
from tests.e2e.tools import call
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.script import Script, Stall
from tests.support.long_turn import CONTENT, quick_folder
from tests.support.long_turn_found import (
    OtherProcess,
    assert_whole,
    reply_of,
    results_of,
)
from tests.support.program import talk_to
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from core.storage.records import StoredStep
    from tests.servers.record import Exchange, Request

NEVER_BEGAN = "Not started: Caesura itself was killed before it began, as far as could be written down."
WIRE_POINTS = ((0, 1), (0, 6), (1, 0), (1, 2), (2, 1))
"""Which request of a turn, and how many deltas of its reply: where one program after the other is killed."""
MORE_WIRE_POINTS = ((0, 0), (0, 2), (0, 4), (1, 1), (2, 0))
"""Visited as well with `CAESURA_KILLS=all`."""
KEPT_POINTS = {(0, 6): "one two three", (1, 2): "four"}
"""Where the program lives until what has arrived is in the file, and what the next one has to know of it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


class Chain:
    """Programs that go on with one session, one after the other, each killed in its turn but the last."""

    def __init__(self, home: Path, server: OpenAIServer, other: OtherProcess) -> None:
        self.home = home
        self.server = server
        self.other = other
        self.workspace = home / "work"
        self.workspace.mkdir(parents=True)
        self.file = home / "data" / "caesura" / "caesura.db"
        self.prompts: list[str] = []
        self.steps: tuple[StoredStep, ...] = ()
        self.arrived: dict[int, str] = {}

    def scripts(self, stall: tuple[int, int] | None) -> Callable[[Request], Script]:
        """A turn of three replies, one of which comes to a halt."""
        made = f"made-{len(self.prompts)}.txt"
        replies = (
            Script(
                text=("one ", "two ", "three"),
                calls=(
                    call("write_file", path=made, content=CONTENT),
                    call("read_file", path=made),
                    call("list_files"),
                ),
            ),
            Script(text=("four",), calls=(call("list_files"),)),
            Script(text=("five ", "six")),
        )
        begun = len(self.asked)

        def choose(request: Request) -> Script:
            if not request.body.get("tools"):
                # Not of the turn: a title, for instance.
                return Script(text=("Files",))
            number = len(self.asked) - begun - 1
            if stall is not None and stall[0] == number:
                return replace(replies[number], fault=Stall(stall[1]))
            return replies[number]

        return choose

    def live(self, prompt: str, stall: tuple[int, int] | None) -> None:
        """One program, killed at the point or, without one, not at all."""
        options = ("--continue",) if self.prompts else ()
        self.prompts.append(prompt)
        self.server.script = self.scripts(stall)
        nth = len(self.asked) + (stall[0] if stall is not None else 0)
        arguments = (*talk_to(self.server), "--mode", "edits", *options, prompt)
        with run(self.home, *arguments, cwd=self.workspace) as program:
            if stall is None:
                assert program.wait() == 0, program.errors()
                assert b"five six" in program.rest()
            else:
                self.server.wait_for(lambda: len(self.asked) > nth, GENEROUS_S)
                self.server.wait_deltas(self.asked[nth], stall[1])
                if stall in KEPT_POINTS:
                    wait_until(self.has_draft, what="what has arrived is in the file")
                    self.arrived[len(self.prompts)] = KEPT_POINTS[stall]
                program.process.kill()
            wait_until(lambda: program.processes() == [], what="nothing outlives the program")
        assert self.server.complaints == []

    def check(self, stall: tuple[int, int] | None) -> None:
        """Each reply that was followed by a request had been saved before that was sent."""
        found = self.other.look(self.file, self.session_id)
        assert found.sound
        assert_whole(found.steps, found.turns)
        assert [turn.prompt for turn in found.turns] == self.prompts
        assert found.steps[: len(self.steps)] == self.steps
        mine = [stored for stored in found.steps if stored.turn == len(self.prompts)]
        # What a crash has left is made a step of by the next program.
        assert len(mine) == (3 if stall is None else stall[0])
        for number in range(1, len(self.prompts) + 1):
            self.check_file(number, [stored for stored in found.steps if stored.turn == number])
        for number, text in self.arrived.items():
            if number < len(self.prompts):
                last = [stored for stored in found.steps if stored.turn == number][-1]
                assert reply_of(last).text == text
                assert results_of(last)[-1].text == NEVER_BEGAN
        self.steps = found.steps

    @property
    def asked(self) -> list[Exchange]:
        """The requests of turns, those of background work left out."""
        return [exchange for exchange in self.server.exchanges if exchange.request.body.get("tools")]

    def has_draft(self) -> bool:
        with closing(sqlite3.connect(self.file)) as connection:
            (pieces,) = connection.execute("SELECT group_concat(data) FROM drafts").fetchone()
        # The last call that either reply asks for.
        return "list_files" in (pieces or "")

    def check_file(self, number: int, steps: list[StoredStep]) -> None:
        path = self.workspace / f"made-{number}.txt"
        results = [result for stored in steps for result in results_of(stored) if result.name == "write_file"]
        if results:
            assert path.exists() is (results[0].status is ResultStatus.COMPLETED)
        elif number < len(self.prompts):
            assert not path.exists()
        assert not path.exists() or path.read_text() == CONTENT

    @property
    def session_id(self) -> str:
        with closing(sqlite3.connect(self.file)) as connection:
            ((session_id,),) = connection.execute("SELECT id FROM sessions")
        return str(session_id)

    def run(self, points: Iterable[tuple[int, int]]) -> None:
        for number, stall in enumerate(points):
            self.live(f"prompt {number}", stall)
            self.check(stall)
        self.live("last", None)
        self.check(None)


@pytest.mark.promise("H2", "H3", "H4", "H5", "H8", "X7")
def test_caesura_itself_is_killed_again_and_again_and_goes_on_with_its_session(folder: Path) -> None:
    points = (*WIRE_POINTS, *MORE_WIRE_POINTS) if os.environ.get("CAESURA_KILLS") == "all" else WIRE_POINTS
    with ThreadedServer(OpenAIServer()) as server, OtherProcess() as other:
        Chain(folder, server, other).run(points)
