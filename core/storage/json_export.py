"""Export a session as JSON, and import one.

An imported file is not trusted. It is refused with the place of its first fault, or it is a session that any
model can continue (H4). Its ids are replaced, and nothing in it runs by itself.
"""

from __future__ import annotations

import json
import math
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from msgspec.structs import astuple, replace

from core.base.errors import CaesuraError
from core.base.values import Record
from core.model.messages import AssistantMessage, ToolResults, Usage, UserMessage
from core.storage.codec import CodecError, decode, to_text
from core.storage.markdown_export import ReasoningChoice, to_markdown
from core.storage.records import Compaction, LoadedSession, SessionInfo, StoredStep, TurnRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.model.messages import Message

__all__ = ["ReasoningChoice", "TransferError", "from_json", "to_json", "to_markdown"]

FORMAT = "caesura-session"
VERSION = 1

MOST_CHARACTERS = 200_000_000
MOST_INTEGER = 2**63 - 1
"""The largest integer in a column of SQLite."""
FAULT_CHARACTERS = 300
LATEST = 253_402_300_799.0
"""The end of the year 9999 in Unix time; `datetime` has no later dates."""

T = TypeVar("T")


class TransferError(CaesuraError):
    """A file cannot be imported. The text says what is wrong, where, and what the user can do."""


class _ExportedInfo(Record):
    """The head of an export, without the ids, which are not imported."""

    title: str
    workspace: str
    model: str
    created_at: float
    updated_at: float
    usage: Usage
    cost: float | None


def to_json(loaded: LoadedSession) -> str:
    """Export a whole session as JSON in ASCII, with each step and turn on a line."""
    info = loaded.info
    head: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "session": {
            "id": info.session_id,
            "title": info.title,
            "workspace": info.workspace,
            "model": info.model,
            "created_at": info.created_at,
            "updated_at": info.updated_at,
            "parent": info.parent,
            "usage": info.usage,
            "cost": info.cost,
        },
        "queue": loaded.queue,
        "queue_paused": loaded.queue_paused,
    }
    lists: dict[str, tuple[Record, ...]] = {
        "turns": loaded.turns,
        "steps": tuple(map(_in_words, loaded.steps)),
        "compactions": loaded.compactions,
    }
    fields = [f"{to_text(name)}:{to_text(value)}" for name, value in head.items()]
    for name, values in lists.items():
        lines = ",\n".join(to_text(value) for value in values)
        fields.append(f"{to_text(name)}:[\n{lines}\n]" if lines else f"{to_text(name)}:[]")
    return "{" + ",\n".join(fields) + "}\n"


def _in_words(stored: StoredStep) -> StoredStep:
    """The step without images. One of somebody else's file could make each later request fail."""
    messages = tuple(
        ToolResults(tuple(result.in_words() for result in message.results))
        if isinstance(message, ToolResults)
        else message
        for message in stored.step.messages
    )
    return replace(stored, step=replace(stored.step, messages=messages))


def from_json(text: str) -> LoadedSession:
    """Read a result of `to_json` as a session with a new id, no parent and a paused queue.

    Blocks, for seconds if the session is large. The workspace is the exported one and may not exist here; the
    caller decides which one to use. Raises `TransferError`.
    """
    read = _read(text)
    steps = tuple(map(_in_words, _each(StoredStep, read, "steps")))
    turns = _each(TurnRecord, read, "turns")
    compactions = _each(Compaction, read, "compactions")
    _check_steps(steps)
    _check_turns(turns)
    _check_compactions(compactions, len(steps))
    with _at("'session'"):
        info = _read_info(read.get("session"), len(steps))
    with _at("'queue'"):
        queue = decode(read.get("queue"), tuple[str, ...])
        if not all(prompt.strip() for prompt in queue):
            raise CodecError("a prompt is empty.")
    with _at("'queue_paused'"):
        paused = decode(read.get("queue_paused"), bool)
    return LoadedSession(info, steps, turns, compactions, queue, paused or bool(queue))


def _read(text: str) -> dict[str, Any]:
    if len(text) > MOST_CHARACTERS:
        raise TransferError(
            f"This file is too large to be a session: it has more than {MOST_CHARACTERS:,} characters."
        )
    try:
        data = json.loads(text, parse_constant=_no_number, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise TransferError("This file is nested too deeply to be a session of Caesura.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TransferError(
            f"This file is not JSON ({where}: {error.msg}): choose one that was exported as JSON."
        ) from None
    except ValueError as error:
        raise TransferError(f"This file is no session of Caesura: {error}.") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise TransferError("This file is no session of Caesura: choose one that was exported as JSON.")
    version = data.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise TransferError("This file is no session of Caesura: its 'version' is no number from 1.")
    if version > VERSION:
        raise TransferError(
            f"This session was exported by a newer Caesura (format {version}; this one reads {VERSION}): "
            "bring Caesura up to date and import it again."
        )
    return data


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MOST_INTEGER:
        raise ValueError(f"the number {text[:40]} is too large")
    return int(text)


def _read_info(data: object, steps: int) -> SessionInfo:
    read = decode(data, _ExportedInfo)
    _check_spent(read.usage, read.cost)
    return SessionInfo(
        session_id=uuid.uuid4().hex[:12],
        title=_writable(read.title, "title"),
        workspace=read.workspace,
        model=_writable(read.model, "model"),
        created_at=_time(read.created_at, "created_at"),
        updated_at=_time(read.updated_at, "updated_at"),
        steps=steps,
        usage=read.usage,
        cost=read.cost,
    )


def _check_steps(steps: Sequence[StoredStep]) -> None:
    """Check that each call has its result (H4), and the order of roles that providers demand."""
    previous: Message | None = None
    turn = 1
    for place, stored in enumerate(steps):
        with _at(f"'steps' [{place}]"):
            if not stored.step.messages:
                raise CodecError("it has no message.")
            for message in stored.step.messages:
                _check_follows(message, previous)
                previous = message
            if isinstance(previous, AssistantMessage) and previous.calls:
                raise CodecError("the calls of its reply have no results.")
            if stored.turn < turn:
                raise CodecError("its turn is before that of the step above it.")
            turn = stored.turn
            _check_stored(stored)


def _check_stored(stored: StoredStep) -> None:
    _time(stored.at, "at")
    _check_spent(stored.step.usage, stored.cost)
    _check_spent(stored.subagent_usage, None)
    if any(card.seconds is not None and card.seconds < 0 for card in stored.cards):
        raise CodecError("a call has run for less than no time.")


def _check_follows(message: Message, before: Message | None) -> None:
    due = before.calls if isinstance(before, AssistantMessage) else ()
    match message:
        case ToolResults(results):
            if not due:
                raise CodecError("there are results of no calls.")
            if [(call.call_id, call.name) for call in due] != [(r.call_id, r.name) for r in results]:
                raise CodecError("the results are not those of the calls before them, in their order.")
        case AssistantMessage():
            if before is None or isinstance(before, AssistantMessage):
                raise CodecError("a reply follows neither a prompt nor results.")
            ids = [call.call_id for call in message.calls]
            if not all(ids) or len(set(ids)) < len(ids):
                raise CodecError("a call has no id, or that of another one.")
        case UserMessage():
            if due:
                raise CodecError("a prompt comes before the results of the calls above it.")
        case _:
            assert_never(message)


def _check_turns(turns: Sequence[TurnRecord]) -> None:
    last = 0
    for place, turn in enumerate(turns):
        with _at(f"'turns' [{place}]"):
            if turn.turn <= last:
                raise CodecError("its number is not above that of the turn before it.")
            last = turn.turn
            _time(turn.at, "at")


def _check_compactions(compactions: Sequence[Compaction], steps: int) -> None:
    last = 0
    for place, compaction in enumerate(compactions):
        with _at(f"'compactions' [{place}]"):
            if compaction.number <= last:
                raise CodecError("its number is not above that of the one before it.")
            last = compaction.number
            counts = (compaction.upto, compaction.trimmed, compaction.made_after)
            if not all(0 <= count <= steps for count in counts):
                raise CodecError("it speaks of steps that there are not.")
            _time(compaction.at, "at")
            _check_spent(compaction.usage, compaction.cost)


def _check_spent(usage: Usage | None, cost: float | None) -> None:
    counts = () if usage is None else astuple(usage)
    if any(count < 0 for count in counts) or (cost is not None and cost < 0):
        raise CodecError("less than nothing was used.")


def _time(seconds: float, name: str) -> float:
    if not 0 <= seconds <= LATEST:
        raise CodecError(f"{name!r} is no time.")
    return seconds


def _writable(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CodecError(f"{name!r} is no Unicode text.") from None
    return text


def _each(kind: type[T], read: dict[str, Any], name: str) -> tuple[T, ...]:
    with _at(repr(name)):
        values = decode(read.get(name), list[Any])
    decoded = []
    for place, value in enumerate(values):
        with _at(f"{name!r} [{place}]"):
            decoded.append(decode(value, kind))
    return tuple(decoded)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Convert a `CodecError` to a `TransferError` that names the place."""
    try:
        yield
    except CodecError as error:
        what = str(error)
        raise TransferError(
            f"This session cannot be imported; in {where}: {what[:FAULT_CHARACTERS]} Export it again."
        ) from None
