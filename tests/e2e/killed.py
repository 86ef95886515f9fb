"""A program that has its children killed in the middle of a turn, and that looks at what is left.

It has imported all that a turn needs and starts no thread, so that each visit costs two forks: one child that
runs the long turn and is killed with SIGKILL at one point of it, and one that goes on with the session as a
new program would. A visit is a line of JSON on standard input, and so is what came of it on standard output.

What it must never do: judge. What the first child could still say before its death is passed on as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from core.model.messages import FinishReason, ToolResult, ToolResults
from core.model.provider import Finished, TextDelta
from core.operations.events import Outcome, TurnEnded
from core.storage import codec
from core.storage.journal import CallBegun, DraftEntries, EndedTurn
from core.storage.records import Compaction, StoredStep, TurnRecord
from core.storage.store import Store
from tests.support.cancel_sweep import Moment, Point, stop_at
from tests.support.long_turn import Kept, LongTurn, file_in, reopen
from tests.support.long_turn_found import Found, look
from tests.support.scripted_models import MODEL, USAGE, say
from tests.support.stored_sessions import ROOT
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from core.cancel import CancelToken
    from core.model.provider import Emit, ModelRequest
    from core.storage.journal import Change, Journal
    from tests.support.scripted_models import Script

PIECE, PIECE_S = "piece ", 0.01
"""What a slow reply consists of, and the pause before each."""


class At(StrEnum):
    """What is counted to the point at which the child is killed."""

    AWAITING = "awaits of the turn"
    RESUMING = "resumptions of the turn"
    STATEMENT = "statements in the file"
    WRITE = "transactions that write"
    """Killed `delay_us` after its begin."""
    PIECE = "pieces of a slow reply"
    """Killed when the disk has nothing to do at that moment."""


@dataclass(frozen=True, slots=True)
class Death:
    """Where in which session a child dies, and how the next one goes on."""

    folder: str
    at: At
    n: int
    delay_us: int = 0
    session_id: str | None = None
    """A session that is there already."""
    resumes: bool = False
    again: int = 0
    """The statement of the next program, counted from 1, at which that is killed as well; 0 for none."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the child knew to be durable. `begun` and `ended_calls` are those of the running step."""

    steps: int = 0
    compactions: int = 0
    begun: tuple[str, ...] = ()
    ended_calls: tuple[str, ...] = ()
    draft: int = 0
    """Characters of the running step's text."""
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What the next program has made of the session before its own turn, and that turn."""

    steps: tuple[StoredStep, ...]
    turns: tuple[TurnRecord, ...]
    returned_prompt: str | None
    resumed: bool
    outcome: str
    text: str
    refusals: tuple[str, ...]
    sent: str


@dataclass(frozen=True, slots=True)
class Left:
    """What came of a visit. `died` is false if the turn has ended before the point."""

    died: bool
    session_id: str
    durable: Acknowledged
    shown: str | None
    """The outcome that was told, if it was."""
    asked: int
    """How many replies the turn had asked for."""
    lost_at: float
    arrived: tuple[tuple[float, int], ...]
    found: Found
    memory: Memory | None
    after: Found | None


# -- the child that is killed --


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Witness:
    """A journal that says what has become durable, in lines that outlive it."""

    def __init__(self, journal: Journal, tell: Callable[[str, Any], None]) -> None:
        self._journal = journal
        self._tell = tell
        self._known = Acknowledged()
        self._drafts = 0
        self.waiting = 0
        self.flushes: set[asyncio.Task[None]] = set()
        self.flush_drafts = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def add(self, change: Change) -> None:
        known = self._known
        match change:
            case DraftEntries(entries):
                self._known = replace(
                    known,
                    draft=known.draft
                    + sum(len(each.text) for each in entries if isinstance(each, TextDelta)),
                    begun=(*known.begun, *(each.call_id for each in entries if isinstance(each, CallBegun))),
                    ended_calls=(
                        *known.ended_calls,
                        *(each.call_id for each in entries if isinstance(each, ToolResult)),
                    ),
                )
            case StoredStep():
                self._known = Acknowledged(known.steps + 1, known.compactions, outcome=known.outcome)
            case Compaction():
                self._known = replace(known, compactions=known.compactions + 1)
            case EndedTurn(turn):
                self._known = replace(known, outcome=str(turn.outcome))
        self._journal.add(change)
        if isinstance(change, DraftEntries) and self.flush_drafts:
            self.waiting += 1
            task = asyncio.get_running_loop().create_task(self._flush_draft(), name="flush of a draft")
            self.flushes.add(task)
            task.add_done_callback(self.flushes.discard)

    async def _flush_draft(self) -> None:
        await self.flush()
        self.waiting -= 1

    async def flush(self) -> None:
        known = self._known
        await self._journal.flush()
        self._tell("durable", asdict(known))


class ToldTurn(LongTurn):
    """Tells of each reply that it is asked for."""

    def __init__(self, tell: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._tell = tell

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        if request.tools:
            self._tell("asked", self.asked + 1)
        return await super().stream(request, token, emit)


class SlowTurn(LongTurn):
    """One long reply, of which `on_piece` hears piece by piece."""

    def __init__(self, on_piece: Callable[[], None]) -> None:
        super().__init__()
        self.on_piece = on_piece

    async def _play(self, script: Script, emit: Emit) -> Finished:
        for _ in range(1_000):
            await asyncio.sleep(PIECE_S)
            emit(TextDelta(PIECE))
            self.on_piece()
        return Finished(FinishReason.STOP, USAGE, MODEL)


async def live(death: Death, tell: Callable[[str, Any], None]) -> None:
    """The turn, up to its death."""
    folder = Path(death.folder)
    witnesses: list[Witness] = []
    arrived: list[tuple[float, int]] = []

    def witnessed(journal: Journal) -> Journal:
        witnesses.append(Witness(journal, tell))
        witnesses[-1].flush_drafts = death.at is At.PIECE
        return cast("Journal", witnesses[-1])

    def on_piece() -> None:
        now = asyncio.get_running_loop().time()
        arrived.append((now, len(PIECE) * (len(arrived) + 1)))
        if len(arrived) >= death.n and not witnesses[-1].waiting:
            tell("arrived", [now, arrived])
            _die()

    provider = SlowTurn(on_piece) if death.at is At.PIECE else ToldTurn(tell)
    store = Store(file_in(folder), on_write=_counted(death))
    if death.session_id is None:
        kept = Kept(folder, provider, store=store, journal=witnessed)
    else:
        opened = await store.open(death.session_id)
        kept = Kept(
            folder,
            provider,
            store=store,
            opened=msgspec.structs.replace(opened, journal=witnessed(opened.journal)),
        )
    tell("session", kept.session.session_id)

    def hear(event: object) -> None:
        if isinstance(event, TurnEnded) and event.unsaved is None:
            tell("shown", str(event.outcome))

    kept.session.subscribe(hear)
    moment = Moment.RESUMING if death.at is At.RESUMING else Moment.AWAITING
    n = death.n if death.at in (At.AWAITING, At.RESUMING) else sys.maxsize
    await stop_at(Point(n, moment), kept.run, lambda _: _die())
    await kept.aclose()


def _counted(death: Death) -> Callable[[], None] | None:
    """What is called in each transaction that writes."""
    writes = 0

    def die_later() -> None:
        time.sleep(death.delay_us / 1e6)
        _die()

    def on_write() -> None:
        nonlocal writes
        writes += 1
        if writes == death.n:
            threading.Thread(target=die_later, daemon=True).start()

    return on_write if death.at is At.WRITE else None


def _die_at_statement(n: int) -> None:
    """Have the thread that writes die right before its n-th statement."""
    statements = 0

    def profile(_: FrameType, event: str, called: Any) -> None:
        nonlocal statements
        if event == "c_call" and called.__name__ == "execute":
            statements += threading.current_thread().name == "store-writer"
            if statements == n:
                _die()

    threading.setprofile(profile)


def _forked(work: Callable[[Callable[[str, Any], None]], None]) -> tuple[bool, dict[str, Any]]:
    """Run `work` in a child; whether it was killed, and the last of each kind of lines that it told."""
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(heard)
            work(lambda kind, value: _write(said, json.dumps([kind, value]) + "\n"))
            code = 0
        except BaseException as error:  # noqa: BLE001 - the parent is told, whatever it is
            _write(said, json.dumps(["error", repr(error)]) + "\n")
        finally:
            os._exit(code)
    os.close(said)
    with os.fdopen(heard) as lines:
        told = {kind: value for line in lines if line.endswith("\n") for kind, value in (json.loads(line),)}
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, told


def _write(descriptor: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]


# -- the child that goes on --


async def go_on(death: Death, session_id: str, *, look_first: bool = True) -> dict[str, Any]:
    """What a new program finds, and what it can do with it."""
    folder = Path(death.folder)
    path = file_in(folder)
    found: dict[str, Any] = {}
    if look_first and (found := await look(path, session_id))["fresh"]:
        return {"found": found}
    kept = await reopen(folder, session_id, say("fine"))
    record = kept.session.record
    memory: dict[str, Any] = {
        "steps": msgspec.to_builtins(record.steps),
        "turns": msgspec.to_builtins(record.turns),
        "returned_prompt": kept.session.continuation.returned_prompt,
        "resumed": death.resumes and record.turns[-1].outcome is not Outcome.COMPLETED,
    }
    end = await kept.turn(None if memory["resumed"] else "again")
    assert isinstance(kept.provider, LongTurn)
    messages = kept.provider.requests[-1].messages
    texts = [each.text for each in messages if not isinstance(each, ToolResults)]
    memory |= {
        "outcome": str(end.outcome),
        "text": end.text,
        "refusals": kept.provider.refusals,
        "sent": "\n".join(texts),
    }
    await kept.aclose()
    return {"found": found, "memory": memory, "after": await look(path, session_id)}


def visit(death: Death) -> dict[str, Any]:
    def lived(tell: Callable[[str, Any], None]) -> None:
        if death.at is At.STATEMENT:
            _die_at_statement(death.n)
        asyncio.run(live(death, tell))

    died, told = _forked(lived)
    if "session" not in told and death.session_id is None:
        # It died in opening the file for the first time.
        nothing = {"found": {"fresh": True, "sound": True}}
        return {"died": died, "told": told | {"session": ""}, "next": nothing}
    session_id = str(told.get("session", death.session_id))
    if death.again:

        def lived_again(_: Callable[[str, Any], None]) -> None:
            _die_at_statement(death.again)
            asyncio.run(go_on(death, session_id, look_first=False))

        died, _ = _forked(lived_again)
    _, after = _forked(lambda tell: tell("next", asyncio.run(go_on(death, session_id))))
    return {"died": died, "told": told | {"session": session_id}, **after}


class Undertaker:
    """That program, started. `visit` has one child killed."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.killed"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=GENEROUS_S)

    def visit(self, death: Death) -> Left:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(death)) + "\n")
        self._process.stdin.flush()
        left = json.loads(self._process.stdout.readline())
        told = left["told"]
        assert "error" not in told, told["error"]
        assert "error" not in left, left["error"]
        lost_at, arrived = told.get("arrived", (0.0, ()))
        data, after = left["next"].get("memory"), left["next"].get("after")
        return Left(
            left["died"],
            told["session"],
            _acknowledged(told.get("durable", {})),
            told.get("shown"),
            told.get("asked", 0),
            lost_at,
            tuple((at, count) for at, count in arrived),
            Found.decode(left["next"]["found"]),
            None if data is None else _memory(data),
            None if after is None else Found.decode(after),
        )


def _acknowledged(data: dict[str, Any]) -> Acknowledged:
    known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
    return Acknowledged(**known)


def _memory(data: dict[str, Any]) -> Memory:
    steps = codec.decode(data["steps"], tuple[StoredStep, ...])
    turns = codec.decode(data["turns"], tuple[TurnRecord, ...])
    return Memory(**(data | {"steps": steps, "turns": turns, "refusals": tuple(data["refusals"])}))


async def warm_up() -> None:
    """A whole turn, for what is imported on the way; its threads have ended after it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        file_in(folder).parent.mkdir()
        death = Death(name, At.AWAITING, sys.maxsize)
        told: dict[str, Any] = {}
        await live(death, told.__setitem__)
        await go_on(death, told["session"])


def main() -> None:
    asyncio.run(warm_up())
    wait_until(lambda: threading.active_count() == 1, what="no thread is left to be lost in a fork")
    for line in sys.stdin:
        data = json.loads(line)
        print(json.dumps(visit(Death(**(data | {"at": At(data["at"])})))), flush=True)


if __name__ == "__main__":
    main()
