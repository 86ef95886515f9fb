"""What the two processes say to each other: one JSON array a line, its first element the kind.

Both sides import this and nothing heavier, so it must stay cheap. Nothing here is a public format: parent
and child are always the same version. One kind of message, `UseKey`, carries a key, from the parent to the
child: one that a person has typed for this run alone. No other does, none comes back, and no error here says
what is in a line.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any, assert_never

from core.messages import (
    AssistantMessage,
    FinishReason,
    Message,
    Reasoning,
    ResultStatus,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model import (
    AS_IT_IS,
    Closing,
    Effort,
    FailureKind,
    ModelError,
    ModelInfo,
    ModelRequest,
    Parameters,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

Delta = TextDelta | ReasoningDelta | ToolCallDelta | PhaseChanged | ParametersDropped
"""What a model process says of a stream under way."""


@dataclass(frozen=True, slots=True)
class Open:
    """Parent: start this stream. `stream_id` is unique for the life of the child."""

    stream_id: int
    request: ModelRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """Parent: close the connection of this stream now."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Describe:
    """Parent: what does the catalogue know of this model?"""

    stream_id: int
    model: str


@dataclass(frozen=True, slots=True)
class ListModels:
    """Parent: which models does the catalogue know?"""

    stream_id: int


@dataclass(frozen=True, slots=True)
class UseKey:
    """Parent: `value` is the key that is called `name`, for this run; an empty one takes it back."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """Child: the library is imported and warm."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Child: one delta of a stream."""

    stream_id: int
    delta: Delta


@dataclass(frozen=True, slots=True)
class End:
    """Child: the stream came to its normal end."""

    stream_id: int
    reason: FinishReason
    usage: Usage | None
    model: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Child: the stream failed; nothing of it is alive."""

    stream_id: int
    kind: FailureKind
    message: str
    detail: str
    status: int | None
    retry_after_s: float | None

    def error(self) -> ModelError:
        return ModelError(
            self.kind, self.message, detail=self.detail, status=self.status, retry_after_s=self.retry_after_s
        )


@dataclass(frozen=True, slots=True)
class Stopped:
    """Child: every socket of the stream is closed and its task has ended. `at` is `time.monotonic()`."""

    stream_id: int
    how: Closing
    at: float


@dataclass(frozen=True, slots=True)
class Described:
    stream_id: int
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the catalogue. `usable` as `core.model.Offer` has it."""

    info: ModelInfo
    usable: bool | None


@dataclass(frozen=True, slots=True)
class Listed:
    """Child: some of the models that the catalogue knows; the `last` of these messages ends the answer.

    `models` is the text that `dump_models` makes: whoever asked reads it, not the thread that passes it on,
    which has stops to confirm.
    """

    stream_id: int
    models: str
    last: bool


ToChild = Open | Cancel | Describe | ListModels | UseKey
ToParent = Ready | Piece | End | Failed | Stopped | Described | Listed


def dump_to_child(message: ToChild) -> bytes:
    match message:
        case Open(stream_id, request):
            # Not `asdict`, which would copy the whole conversation once more.
            fields = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
            fields["messages"] = [_dump_message(item) for item in request.messages]
            fields["tools"] = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
            fields["parameters"] = None if request.parameters == AS_IT_IS else asdict(request.parameters)
            # Half a surrogate pair, a model's or a tool's, becomes a question mark: else a provider refuses
            # this request, and each later one that contains it.
            opened = json.dumps(["open", stream_id, fields], separators=(",", ":"), ensure_ascii=False)
            return opened.encode("utf-8", "replace") + b"\n"
        case Cancel(stream_id):
            return _line("cancel", stream_id)
        case Describe(stream_id, model):
            return _line("describe", stream_id, model)
        case ListModels(stream_id):
            return _line("list", stream_id)
        case UseKey(name, value):
            return _line("key", name, value)
        case _:
            assert_never(message)


def load_to_child(line: bytes) -> ToChild:
    """Raises `ValueError` for a line that `dump_to_child` did not write."""
    match json.loads(line):
        case ["open", int(stream_id), dict(fields)]:
            fields["messages"] = tuple(_load_message(item) for item in fields["messages"])
            fields["tools"] = tuple(ToolSpec(*item) for item in fields["tools"])
            fields["parameters"] = _load_parameters(fields["parameters"])
            return Open(stream_id, ModelRequest(**fields))
        case ["cancel", int(stream_id)]:
            return Cancel(stream_id)
        case ["describe", int(stream_id), str(model)]:
            return Describe(stream_id, model)
        case ["list", int(stream_id)]:
            return ListModels(stream_id)
        case ["key", str(name), str(value)]:
            return UseKey(name, value)
    # Without a word of it: it may hold a key, or the conversation.
    raise ValueError("no message to the model process")


def _load_parameters(fields: dict[str, Any] | None) -> Parameters:
    if fields is None:
        return AS_IT_IS
    effort = next((it for it in Effort if it == fields["effort"]), None)
    return Parameters(**{**fields, "effort": effort})


def dump_to_parent(message: ToParent) -> bytes:
    match message:
        case Piece(stream_id, delta):
            return _dump_delta(stream_id, delta)
        case End(stream_id, reason, usage, model):
            return _line("end", stream_id, reason, None if usage is None else asdict(usage), model)
        case Failed():
            return _line("failed", asdict(message))
        case Stopped(stream_id, how, at):
            return _line("stopped", stream_id, how, at)
        case Described(stream_id, info):
            return _line("described", stream_id, _known_fields(info))
        case Listed(stream_id, models, last):
            return _line("listed", stream_id, models, last)
        case Ready():
            return _line("ready")
        case _:
            assert_never(message)


def _dump_delta(stream_id: int, delta: Delta) -> bytes:
    match delta:
        case TextDelta(text):
            return _line("text", stream_id, text)
        case ReasoningDelta(text, signature):
            return _line("reasoning", stream_id, text, signature)
        case ToolCallDelta(index, arguments, call_id, name):
            return _line("call", stream_id, index, arguments, call_id, name)
        case PhaseChanged(phase):
            return _line("phase", stream_id, phase)
        case ParametersDropped(model, names):
            return _line("dropped", stream_id, model, names)
        case _:
            assert_never(delta)


def load_to_parent(line: bytes) -> ToParent:
    """Raises `ValueError` for a line that `dump_to_parent` did not write."""
    match json.loads(line):
        case ["text", int(stream_id), str(text)]:
            return Piece(stream_id, TextDelta(text))
        case ["reasoning", int(stream_id), str(text), signature]:
            return Piece(stream_id, ReasoningDelta(text, signature))
        case ["call", int(stream_id), int(index), str(arguments), call_id, name]:
            return Piece(stream_id, ToolCallDelta(index, arguments, call_id, name))
        case ["phase", int(stream_id), str(phase)]:
            return Piece(stream_id, PhaseChanged(Phase(phase)))
        case ["dropped", int(stream_id), str(model), list(names)]:
            return Piece(stream_id, ParametersDropped(model, tuple(names)))
        case ["end", int(stream_id), str(reason), usage, str(model)]:
            counted = None if usage is None else Usage(**usage)
            return End(stream_id, FinishReason(reason), counted, model)
        case ["failed", dict(fields)]:
            return Failed(**{**fields, "kind": FailureKind(fields["kind"])})
        case ["stopped", int(stream_id), str(how), float(at)]:
            return Stopped(stream_id, Closing(how), at)
        case ["described", int(stream_id), dict(fields)]:
            return Described(stream_id, ModelInfo(**fields))
        case ["listed", int(stream_id), str(models), bool(last)]:
            return Listed(stream_id, models, last)
        case ["ready"]:
            return Ready()
    raise ValueError("no message from the model process")


_MODEL_FIELDS = tuple(item.name for item in dataclasses.fields(ModelInfo) if item.name != "members")


def _known_fields(info: ModelInfo) -> dict[str, object]:
    """What is known, and nothing else: there are thousands of models. The catalogue knows no routes."""
    return {name: value for name in _MODEL_FIELDS if (value := getattr(info, name)) is not None}


def dump_models(models: Iterable[KnownModel]) -> str:
    return json.dumps([(_known_fields(it.info), it.usable) for it in models], separators=(",", ":"))


def load_models(text: str) -> list[KnownModel]:
    """Raises `ValueError` or `TypeError` for a text that `dump_models` did not write."""
    return [KnownModel(ModelInfo(**fields), usable) for fields, usable in json.loads(text)]


def _line(*values: Any) -> bytes:
    # ASCII, so that half a surrogate pair from a model is no error here; the reader of the text decides.
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _dump_message(message: Message) -> list[Any]:
    match message:
        case UserMessage(text):
            return ["user", text]
        case AssistantMessage(parts, model, finish, interrupted):
            return ["assistant", [_dump_part(part) for part in parts], model, finish, interrupted]
        case ToolResults(results):
            return ["results", [[it.call_id, it.name, it.status, it.text] for it in results]]
        case _:
            assert_never(message)


def _load_message(value: list[Any]) -> Message:
    match value:
        case ["user", str(text)]:
            return UserMessage(text)
        case ["assistant", list(parts), str(model), finish, bool(interrupted)]:
            reason = None if finish is None else FinishReason(finish)
            return AssistantMessage(tuple(_load_part(part) for part in parts), model, reason, interrupted)
        case ["results", list(results)]:
            return ToolResults(
                tuple(ToolResult(of, name, ResultStatus(status), text) for of, name, status, text in results)
            )
    raise ValueError("no message of a conversation")


def _dump_part(part: Text | Reasoning | ToolCall) -> list[Any]:
    match part:
        case Text(text):
            return ["text", text]
        case Reasoning(text, signature):
            return ["reasoning", text, signature]
        case ToolCall(call_id, name, arguments):
            return ["call", call_id, name, arguments]
        case _:
            assert_never(part)


def _load_part(value: list[Any]) -> Text | Reasoning | ToolCall:
    match value:
        case ["text", str(text)]:
            return Text(text)
        case ["reasoning", str(text), signature]:
            return Reasoning(text, signature)
        case ["call", str(call_id), str(name), str(arguments)]:
            return ToolCall(call_id, name, arguments)
    raise ValueError("no part of a message")
