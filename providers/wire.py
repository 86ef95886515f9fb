"""What the program and its model processes say to each other: one JSON array a line, the kind of message
first. There are two kinds of child: the compiler, which has litellm, and stream processes.

Both sides import this and nothing heavier, so it must stay cheap. Nothing here is a public format: parent
and child are always the same version. One kind of message, `UseKey`, carries a key, from the parent to the
child: one that a person has typed for this run alone. No other does, none comes back, and no error here says
what is in a line. `msgspec` converts, and `json` writes and reads the text: `msgspec` refuses half a
surrogate pair, which text of a model may contain.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias, TypeVar

import msgspec

from core.base.base64_text import read, to_json
from core.base.values import Record
from core.model.directory import OwnServer
from core.model.messages import FinishReason, Usage
from core.model.provider import (
    Closing,
    ContentDelta,
    FailureKind,
    KeptAlive,
    ModelError,
    ModelInfo,
    ModelRequest,
    ParametersDropped,
    PhaseChanged,
)

T = TypeVar("T")

ChildDelta: TypeAlias = ContentDelta | PhaseChanged | KeptAlive | ParametersDropped
"""The deltas that a model process sends."""


class _WireMessage(Record, array_like=True, forbid_unknown_fields=True):
    """The base of all messages."""


class Open(_WireMessage, tag="open"):
    """Parent: start this stream. `stream_id` is unique for the life of the child."""

    stream_id: int
    request: ModelRequest


class Start(_WireMessage, tag="start"):
    """Parent, to a stream process: send the request that was handed over for this stream."""

    stream_id: int


class Cancel(_WireMessage, tag="cancel"):
    """Parent: close the connection of this stream, or of the question to a server, now."""

    stream_id: int


class Describe(_WireMessage, tag="describe"):
    """Parent: what does the catalogue know of this model?"""

    stream_id: int
    model: str


class ListModels(_WireMessage, tag="list"):
    """Parent: which models does the catalogue know?"""

    stream_id: int


class ListServer(_WireMessage, tag="list server"):
    """Parent: which models does this server list? `Cancel` takes it back."""

    stream_id: int
    server: OwnServer


class AskWindow(_WireMessage, tag="ask window"):
    """Parent: how much does this model of this server read? `Cancel` takes it back."""

    stream_id: int
    server: OwnServer
    model: str


class UseKey(_WireMessage, tag="key"):
    """Parent: `value` is the key that is called `name`, for this run; an empty one takes it back."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"UseKey(name={self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


class KeyRefused(_WireMessage, tag="refused"):
    """Parent: a server did not accept the key of this provider. It may be looked for anew."""

    provider: str
    key_name: str | None


class Ready(_WireMessage, tag="ready"):
    """Child: what it needs is imported and warm."""


class HandedOver(_WireMessage, tag="handed over"):
    """Compiler: the request is compiled and with the stream process, which waits for its start. Nothing of
    the stream is left here. `provider` is litellm's name of it."""

    stream_id: int
    provider: str


class StreamDelta(_WireMessage, tag="delta"):
    """Child: one delta of a stream."""

    stream_id: int
    delta: ChildDelta


class End(_WireMessage, tag="end"):
    """Child: the provider has ended the stream. The fields are those of `core.model.provider.Finished`."""

    stream_id: int
    reason: FinishReason
    usage: Usage | None
    model: str
    words: str
    is_whole: bool


class Failed(_WireMessage, tag="failed"):
    """Child: the stream failed; nothing of it is alive."""

    stream_id: int
    kind: FailureKind
    message: str
    detail: str
    status: int | None
    retry_after_s: float | None

    @classmethod
    def of(cls, stream_id: int, error: ModelError) -> Failed:
        return cls(stream_id, error.kind, str(error), error.detail, error.status, error.retry_after_s)

    def error(self) -> ModelError:
        return ModelError(
            self.kind, self.message, detail=self.detail, status=self.status, retry_after_s=self.retry_after_s
        )


class Stopped(_WireMessage, tag="stopped"):
    """Child: every socket of the stream is closed and its task has ended. `at` is `time.monotonic()`."""

    stream_id: int
    how: Closing
    at: float


class Described(_WireMessage, tag="described"):
    """Child: what the catalogue knows of a model."""

    stream_id: int
    info: ModelInfo


class KnownModel(Record, array_like=True, forbid_unknown_fields=True):
    """A model of the catalogue. `usable` as `core.model.provider.Offer` has it."""

    info: ModelInfo
    usable: bool | None


class Listed(_WireMessage, tag="listed"):
    """Child: some of the models that the catalogue knows; the `last` of these messages ends the answer."""

    stream_id: int
    models: tuple[KnownModel, ...]
    last: bool


class ServerListed(_WireMessage, tag="server listed"):
    """Child: the models that a server lists, named as a choice names them and with their windows where the
    list tells them, or a sentence why there are none."""

    stream_id: int
    models: tuple[ModelInfo, ...] = ()
    problem: str = ""


class WindowTold(_WireMessage, tag="window"):
    """Child: how much a model reads, in tokens; None if its server does not tell."""

    stream_id: int
    tokens: int | None


Query: TypeAlias = Describe | ListModels | ListServer | AskWindow
Answer: TypeAlias = Described | Listed | ServerListed | WindowTold

ToChild = Open | Start | Cancel | Query | UseKey | KeyRefused
ToParent = Ready | HandedOver | StreamDelta | End | Failed | Stopped | Answer

_to_json = json.JSONEncoder(separators=(",", ":")).encode
"""Escapes all but ASCII, so that half a surrogate pair is no error here; the reader of the text decides."""

_to_unescaped_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Lines:
    """Bytes of messages as they come, put together to lines. A line of a conversation may have megabytes, so
    what has come of it is not copied with each piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
        self._pieces.append(rest)
        return lines


def _to_sent_bytes(message: object) -> bytes:
    return _to_unescaped_json(message).encode("utf-8", "replace")


class _ToChildLine(Record, array_like=True):
    """A line with a message to the child. `msgspec` keeps its plan for reading a struct, but makes one for a
    union each time, which takes twenty times as long as reading a delta."""

    message: ToChild


class _ToParentLine(Record, array_like=True):
    message: ToParent


def dump(message: ToChild | ToParent) -> bytes:
    if isinstance(message, Open):
        # Half a surrogate pair, a model's or a tool's, becomes a question mark: else a provider refuses
        # this request, and each later one that contains it.
        return to_json(message, _to_sent_bytes) + b"\n"
    return _to_json(msgspec.to_builtins(message)).encode() + b"\n"


def load_to_child(line: bytes) -> ToChild:
    """Raises `ValueError` for a line that the parent did not write."""
    return _load(line, _ToChildLine).message


def load_to_parent(line: bytes) -> ToParent:
    """Raises `ValueError` for a line that the child did not write."""
    return _load(line, _ToParentLine).message


def _load(line: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert((json.loads(line),), kind, dec_hook=read)
    except (ValueError, RecursionError):
        pass
    # Not in the handler: the error that was caught quotes the line, which may hold a key or the conversation.
    raise ValueError("this line is no message")
