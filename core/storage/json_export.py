"""A session as JSON that leaves this machine, and one that comes from elsewhere.

What comes from elsewhere is not trusted: it is refused with
the place of its first fault, or it is a session that any model can be asked to go on with (H4). Its ids are
not taken over, and nothing in it begins to run by itself.
"""

from __future__ import annotations

import json
import math
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, assert_never

from core.codec import (
    decode_compaction,
    decode_stored,
    decode_texts,
    decode_turn,
    decode_usage,
    encode_compaction,
    encode_stored,
    encode_turn,
    encode_usage,
    to_text,
)
from core.errors import CaesuraError
from core.json_fields import CodecError, as_list, as_object, boolean, number, optional_number, string
from core.messages import AssistantMessage, ToolResults, UserMessage
from core.records import LoadedSession, SessionInfo
from core.transfer_markdown import ReasoningChoice, to_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from core.json_fields import JsonObject
    from core.messages import Message, Usage
    from core.records import Compaction, StoredStep, TurnRecord

__all__ = ["ReasoningChoice", "TransferError", "from_json", "to_json", "to_markdown"]

FORMAT = "caesura-session"
VERSION = 1

MOST_CHARACTERS = 200_000_000
MOST_INTEGER = 2**63 - 1
"""What a column of SQLite holds."""
FAULT_CHARACTERS = 300
LATEST = 253_402_300_799.0
"""The end of the year 9999 in Unix time; later ones have no date."""

T = TypeVar("T")


class TransferError(CaesuraError):
    """A file cannot be imported: what is wrong with it, where, and what to do."""


def to_json(loaded: LoadedSession) -> str:
    """All of a session as JSON, in ASCII, one line for each step and turn. Nothing of it is lost."""
    info = loaded.info
    head: JsonObject = {
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
            "usage": encode_usage(info.usage),
            "cost": info.cost,
        },
        "queue": list(loaded.queue),
        "queue_paused": loaded.queue_paused,
    }
    lists: dict[str, list[JsonObject]] = {
        "turns": [encode_turn(turn) for turn in loaded.turns],
        "steps": [encode_stored(stored) for stored in loaded.steps],
        "compactions": [encode_compaction(compaction) for compaction in loaded.compactions],
    }
    fields = [f"{to_text(name)}:{to_text(value)}" for name, value in head.items()]
    for name, values in lists.items():
        lines = ",\n".join(to_text(value) for value in values)
        fields.append(f"{to_text(name)}:[\n{lines}\n]" if lines else f"{to_text(name)}:[]")
    return "{" + ",\n".join(fields) + "}\n"


def from_json(text: str) -> LoadedSession:
    """The session in a text of `to_json`, under a new id, without a parent, and with its queue paused.

    Blocking, for a large one takes seconds. Its workspace is that of where it comes from: whoever opens it
    decides where it works. Raises `TransferError`.
    """
    read = _read(text)
    steps = _each(decode_stored, read, "steps")
    turns = _each(decode_turn, read, "turns")
    compactions = _each(decode_compaction, read, "compactions")
    _check_steps(steps)
    _check_turns(turns)
    _check_compactions(compactions, len(steps))
    with _at("'session'"):
        info = _read_info(read.get("session"), len(steps))
    with _at("'queue'"):
        queue = decode_texts(read.get("queue"))
        paused = boolean(read, "queue_paused")
        if not all(prompt.strip() for prompt in queue):
            raise CodecError("a prompt is empty.")
    return LoadedSession(info, steps, turns, compactions, queue, paused or bool(queue))


def _read(text: str) -> JsonObject:
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
    read = as_object(data, "session")
    usage, cost = decode_usage(read.get("usage")), optional_number(read, "cost")
    _check_spent(usage, cost)
    return SessionInfo(
        session_id=uuid.uuid4().hex[:12],
        title=_writable(string(read, "title"), "title"),
        workspace=string(read, "workspace"),
        model=_writable(string(read, "model"), "model"),
        created_at=_time(number(read, "created_at"), "created_at"),
        updated_at=_time(number(read, "updated_at"), "updated_at"),
        steps=steps,
        usage=usage,
        cost=cost,
    )


def _check_steps(steps: Sequence[StoredStep]) -> None:
    """H4, and what every provider wants of the order of roles."""
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
    _check_spent(stored.beside, None)
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
    counts = () if usage is None else encode_usage(usage).values()
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


def _each(decode: Callable[[object], T], read: JsonObject, name: str) -> tuple[T, ...]:
    with _at("the file"):
        values = as_list(read.get(name), name)
    decoded = []
    for place, value in enumerate(values):
        with _at(f"{name!r} [{place}]"):
            decoded.append(decode(value))
    return tuple(decoded)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Says where a fault is."""
    try:
        yield
    except CodecError as error:
        what = str(error)
        raise TransferError(
            f"This session cannot be imported; in {where}: {what[:FAULT_CHARACTERS]} Export it again."
        ) from None
