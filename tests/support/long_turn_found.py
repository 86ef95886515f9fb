"""What another process finds in the file of a session, and what must hold of it.

As a program (`python -m tests.support.long_turn_found`) this is the other process: it gets a file and a
session on
each line of standard input and answers with what the file holds, as one line of JSON.

What it must never do: judge with the code that is judged. What a step must look like is said here anew.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from core.model.messages import (
    AssistantMessage,
    ResultStatus,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model.provider import TextDelta
from core.operations.events import Outcome
from core.storage import codec
from core.storage.records import NOTHING_USED, Compaction, StoredStep, TurnRecord
from core.storage.store import NoSuchSession, SessionInUse, Store
from tests.support.long_turn import (
    CONTENT,
    FILE,
    PROMPT,
    SAID,
    SUMMARY,
    SUMMARY_USED,
    USED,
    WRITE,
    Kept,
    LongTurn,
)
from tests.support.scripted_models import (
    assert_in_order,
)
from tests.support.stored_sessions import ROOT, sound
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from core.storage.journal import Draft


PREFIXES = {
    ResultStatus.FAILED: "Failed: ",
    ResultStatus.DENIED: "Denied",
    ResultStatus.STOPPED: "Stopped",
    ResultStatus.NOT_STARTED: "Not started: ",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a process that had no part in it finds in a file. `fresh` means that the session is not there."""

    fresh: bool
    sound: bool
    steps: tuple[StoredStep, ...] = ()
    turns: tuple[TurnRecord, ...] = ()
    compactions: tuple[Compaction, ...] = ()
    usage: Usage = NOTHING_USED
    counted: int = 0
    in_use: bool = False
    drafts: int = 0
    draft: str = ""
    """The text of the draft, as far as it is text."""
    preimages: tuple[str, ...] = ()

    @classmethod
    def decode(cls, data: dict[str, Any]) -> Self:
        if data["fresh"]:
            return cls(True, data["sound"])
        return cls(
            False,
            data["sound"],
            codec.decode(data["steps"], tuple[StoredStep, ...]),
            codec.decode(data["turns"], tuple[TurnRecord, ...]),
            codec.decode(data["compactions"], tuple[Compaction, ...]),
            codec.decode(data["usage"], Usage),
            data["counted"],
            data["in_use"],
            data["drafts"],
            data["draft"],
            tuple(data["preimages"]),
        )


async def look(path: Path, session_id: str) -> dict[str, Any]:
    """What is in the file, as JSON. Opens the session as one that goes on with it, unless it is in use."""
    store = Store(path)
    draft: Draft | None = None
    in_use = False
    try:
        try:
            opened = await store.open(session_id)
        except SessionInUse:
            loaded, in_use = await store.load(session_id), True
        else:
            loaded, draft = opened.loaded, opened.draft
        preimages = await store.preimages(session_id, 0)
    except NoSuchSession:
        return {"fresh": True, "sound": sound(path)}
    finally:
        await store.aclose()
    pieces = () if draft is None else draft.entries
    with closing(sqlite3.connect(path)) as connection:
        (drafts,) = connection.execute("SELECT count(*) FROM drafts").fetchone()
    return {
        "fresh": False,
        "sound": sound(path),
        "steps": msgspec.to_builtins(loaded.steps),
        "turns": msgspec.to_builtins(loaded.turns),
        "compactions": msgspec.to_builtins(loaded.compactions),
        "usage": msgspec.to_builtins(loaded.info.usage),
        "counted": loaded.info.steps,
        "in_use": in_use,
        "drafts": drafts,
        "draft": "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)),
        "preimages": [preimage.path for preimage in preimages],
    }


class OtherProcess:
    """The process that looks into files; one for many of them."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.long_turn_found"],
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

    def look(self, path: Path, session_id: str) -> Found:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\t{session_id}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process that looks into files has died of {path}"
        return Found.decode(json.loads(line))


def main() -> None:
    for line in sys.stdin:
        path, session_id = line.rstrip("\n").split("\t")
        print(json.dumps(asyncio.run(look(Path(path), session_id))), flush=True)


# -- what must hold --


def results_of(stored: StoredStep) -> tuple[ToolResult, ...]:
    last = stored.step.messages[-1]
    return last.results if isinstance(last, ToolResults) else ()


def reply_of(stored: StoredStep) -> AssistantMessage:
    (reply,) = [message for message in stored.step.messages if isinstance(message, AssistantMessage)]
    return reply


def assert_whole(steps: Sequence[StoredStep], turns: Sequence[TurnRecord]) -> None:
    """Every step is one that could have been committed, and belongs to a turn that was kept (H1, H4)."""
    assert [turn.turn for turn in turns] == sorted({turn.turn for turn in turns})
    assert [stored.turn for stored in steps] == sorted(stored.turn for stored in steps)
    by_turn = {turn: list(group) for turn, group in groupby(steps, lambda stored: stored.turn)}
    assert set(by_turn) <= {turn.turn for turn in turns}, "a step belongs to no turn"
    for turn in turns:
        mine = by_turn.get(turn.turn, [])
        if turn.outcome is not None:
            assert turn.kept is bool(mine), f"{turn} has {len(mine)} steps"
        for number, stored in enumerate(mine):
            assert_step(stored, turn, first=number == 0)
            assert number == len(mine) - 1 or not reply_of(stored).interrupted
        if turn.outcome is Outcome.COMPLETED:
            last = reply_of(mine[-1])
            assert not last.interrupted
            assert not last.calls


def assert_step(stored: StoredStep, turn: TurnRecord, *, first: bool) -> None:
    messages = list(stored.step.messages)
    if first:
        prompt = messages.pop(0)
        assert isinstance(prompt, UserMessage)
        assert prompt.text == turn.prompt
    reply, *rest = messages
    assert isinstance(reply, AssistantMessage)
    assert reply.parts, "an empty reply was kept"
    assert reply.interrupted is (reply.finish is None)
    assert not (reply.interrupted and stored.step.usage), "nobody has counted a reply that had no end"
    if not reply.calls:
        assert rest == []
        return
    (results,) = rest
    assert isinstance(results, ToolResults)
    asked = [(call.call_id, call.name) for call in reply.calls]
    assert asked == [(result.call_id, result.name) for result in results.results]
    assert len(set(asked)) == len(asked)
    for result in results.results:
        begins = [status for status, prefix in PREFIXES.items() if result.text.startswith(prefix)]
        assert begins == [result.status] * (result.status is not ResultStatus.COMPLETED), result
        assert result.text.strip()


def assert_counted(found: Found, *, before: Usage = NOTHING_USED) -> None:
    """Each reply that came to its end counts as its provider said, once; nothing else counts (H6)."""
    total = before
    long_turn = [stored for stored in found.steps if _is_of_long_turn(found, stored)]
    for usage, stored in zip(USED, long_turn, strict=False):
        recovered = reply_of(stored).finish is not None and stored.step.usage is None
        if reply_of(stored).finish is None or recovered:
            assert stored.step.usage is None
            assert stored is long_turn[-1]
        else:
            assert stored.step.usage == usage
            total += usage
    for compaction in found.compactions:
        assert compaction.usage == SUMMARY_USED
        total += SUMMARY_USED
    assert found.usage == total
    assert found.counted == len(found.steps)


def _is_of_long_turn(found: Found, stored: StoredStep) -> bool:
    return next(turn.prompt for turn in found.turns if turn.turn == stored.turn) == PROMPT


def assert_compacted(found: Found, *, steps_before: int) -> None:
    """A compaction is there with all that belongs to it, or not at all; steps are as they were (C1)."""
    for compaction in found.compactions:
        assert compaction.number == 1
        assert compaction.summary == SUMMARY
        assert 0 < compaction.upto < compaction.made_after == steps_before + 2
        assert len(found.steps) >= compaction.made_after
        assert not compaction.undone
    long_turn = [stored for stored in found.steps if _is_of_long_turn(found, stored)]
    for text, stored in zip(SAID, long_turn, strict=False):
        said = reply_of(stored).text
        assert said == text if reply_of(stored).finish is not None else text.startswith(said)


def assert_effects(folder: Path, found: Found) -> None:
    """What the model is told of the call that writes agrees with the disk (H5), and it can be put back."""
    results = [result for stored in found.steps for result in results_of(stored) if result.call_id == WRITE]
    status = results[0].status if results else ResultStatus.NOT_STARTED
    path = folder / FILE
    if path.exists():
        assert path.read_text() == CONTENT
        assert status in (ResultStatus.COMPLETED, ResultStatus.STOPPED), f"it was written, but {results}"
        assert found.preimages == (str(path),)
        if status is ResultStatus.STOPPED:
            assert FILE in results[0].text or "unknown" in results[0].text
    else:
        assert status in (ResultStatus.NOT_STARTED, ResultStatus.STOPPED), f"it is not there, but {results}"


def assert_told(kept: Kept) -> None:
    """One end, nothing after it, nothing alive (U8, S9)."""
    assert_in_order(kept.events)
    assert len(kept.ended) == 1
    assert kept.registry.snapshot() == ()
    assert kept.provider.streaming == 0
    assert isinstance(kept.provider, LongTurn)
    assert kept.provider.refusals == []


def assert_saved(kept: Kept, found: Found) -> None:
    """The file has all that the session knows, and no more."""
    record = kept.session.record
    assert found.sound
    assert found.drafts == 0
    assert found.steps == record.steps
    assert found.turns == record.turns
    assert found.compactions == record.compactions
    assert found.usage == record.usage


if __name__ == "__main__":
    main()
