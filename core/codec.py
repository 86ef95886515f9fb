"""What a session is made of, as JSON: the form in which it is stored and exported.

Each shape has its two functions here, written out, so that a change of a field is a change of the format that
somebody can see. Fields that are not known are skipped, so that files of later versions can be read; one that
is missing or wrong is never guessed: it raises `CodecError`.

All text is escaped to ASCII, because strings of Python may hold what UTF-8 cannot: half a surrogate pair, as
broken arguments of calls and names of files do. It comes back as it was, but for two halves in a row, which
come back as the character that they spell.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never

from core.events import Outcome, Shown, ShownKind, StopProof
from core.journal import CallBegun, CallIdentified, Piece
from core.json_fields import CodecError as CodecError
from core.json_fields import (
    JsonObject,
    as_list,
    as_object,
    boolean,
    checked,
    each,
    integer,
    member,
    number,
    optional,
    optional_member,
    optional_number,
    optional_string,
    string,
    strings,
)
from core.messages import (
    AssistantMessage,
    FinishReason,
    Message,
    Part,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model import Closing, ReasoningDelta, TextDelta, ToolCallDelta
from core.records import CallCard, Compaction, StoredStep, TurnRecord

if TYPE_CHECKING:
    from collections.abc import Iterable


def to_text(data: object) -> str:
    """`data` as compact JSON in ASCII."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))


def from_text(text: str) -> object:
    """Raises `CodecError` for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"This is not JSON: {error}.") from error


def encode_usage(usage: Usage) -> JsonObject:
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "reasoning": usage.reasoning_tokens,
    }


def decode_usage(data: object) -> Usage:
    read = as_object(data, "usage")
    return Usage(
        integer(read, "input"), integer(read, "output"), integer(read, "cached"), integer(read, "reasoning")
    )


def encode_part(part: Part) -> JsonObject:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Reasoning(text, signature):
            return {"type": "reasoning", "text": text, "signature": signature}
        case ToolCall(call_id, name, arguments):
            return {"type": "call", "id": call_id, "name": name, "arguments": arguments}
        case _:
            assert_never(part)


def decode_part(data: object) -> Part:
    read = as_object(data, "part")
    match read.get("type"):
        case "text":
            return Text(string(read, "text"))
        case "reasoning":
            return Reasoning(string(read, "text"), optional_string(read, "signature"))
        case "call":
            return ToolCall(string(read, "id"), string(read, "name"), string(read, "arguments"))
        case other:
            raise CodecError(f"There is no part of a message of the type {other!r}.")


def encode_result(result: ToolResult) -> JsonObject:
    return {
        "id": result.call_id,
        "name": result.name,
        "status": result.status.value,
        "text": result.text,
    }


def decode_result(data: object) -> ToolResult:
    read = as_object(data, "result")
    return ToolResult(
        string(read, "id"), string(read, "name"), member(ResultStatus, read, "status"), string(read, "text")
    )


def encode_message(message: Message) -> JsonObject:
    match message:
        case UserMessage(text):
            return {"role": "user", "text": text}
        case AssistantMessage(parts, model, finish, interrupted):
            return {
                "role": "assistant",
                "parts": [encode_part(part) for part in parts],
                "model": model,
                "finish": None if finish is None else finish.value,
                "interrupted": interrupted,
            }
        case ToolResults(results):
            return {"role": "tool", "results": [encode_result(result) for result in results]}
        case _:
            assert_never(message)


def decode_message(data: object) -> Message:
    read = as_object(data, "message")
    match read.get("role"):
        case "user":
            return UserMessage(string(read, "text"))
        case "assistant":
            return AssistantMessage(
                each(decode_part, read, "parts"),
                string(read, "model"),
                optional_member(FinishReason, read, "finish"),
                boolean(read, "interrupted"),
            )
        case "tool":
            return ToolResults(each(decode_result, read, "results"))
        case other:
            raise CodecError(f"There is no message of the role {other!r}.")


def decode_user_message(data: object) -> UserMessage:
    message = decode_message(data)
    if not isinstance(message, UserMessage):
        raise CodecError("This message should be a prompt.")
    return message


def encode_step(step: Step) -> JsonObject:
    return {
        "messages": [encode_message(message) for message in step.messages],
        "usage": optional(encode_usage, step.usage),
    }


def decode_step(data: object) -> Step:
    read = as_object(data, "step")
    return Step(each(decode_message, read, "messages"), optional(decode_usage, read.get("usage")))


def encode_shown(shown: Shown) -> JsonObject:
    return {"text": shown.text, "kind": shown.kind.value}


def decode_shown(data: object) -> Shown:
    read = as_object(data, "shown")
    return Shown(string(read, "text"), member(ShownKind, read, "kind"))


def encode_proof(proof: StopProof) -> JsonObject:
    return {
        "source": proof.source,
        "after_s": proof.after_s,
        "closing": None if proof.closing is None else proof.closing.value,
        "unconfirmed": list(proof.unconfirmed),
        "processes": proof.processes,
        "alive": [[pid, name] for pid, name in proof.alive],
    }


def decode_proof(data: object) -> StopProof:
    read = as_object(data, "proof")
    return StopProof(
        string(read, "source"),
        optional_number(read, "after_s"),
        optional_member(Closing, read, "closing"),
        strings(read, "unconfirmed"),
        integer(read, "processes"),
        each(_decode_process, read, "alive"),
    )


def _decode_process(data: object) -> tuple[int, str]:
    match data:
        case [int(pid), str(name)]:
            return pid, name
        case _:
            raise CodecError("A process that is alive should be its number and its name.")


def encode_card(card: CallCard) -> JsonObject:
    return {
        "id": card.call_id,
        "title": card.title,
        "shown": encode_shown(card.shown),
        "seconds": card.seconds,
        "proof": optional(encode_proof, card.proof),
    }


def decode_card(data: object) -> CallCard:
    read = as_object(data, "card")
    return CallCard(
        string(read, "id"),
        string(read, "title"),
        decode_shown(read.get("shown")),
        optional_number(read, "seconds"),
        optional(decode_proof, read.get("proof")),
    )


def encode_stored(stored: StoredStep) -> JsonObject:
    return {
        "turn": stored.turn,
        "at": stored.at,
        "cost": stored.cost,
        "step": encode_step(stored.step),
        "cards": [encode_card(card) for card in stored.cards],
        "beside": optional(encode_usage, stored.beside),
    }


def decode_stored(data: object) -> StoredStep:
    read = as_object(data, "stored step")
    return StoredStep(
        decode_step(read.get("step")),
        integer(read, "turn"),
        number(read, "at"),
        optional_number(read, "cost"),
        each(decode_card, read, "cards"),
        optional(decode_usage, read.get("beside")),
    )


def encode_turn(turn: TurnRecord) -> JsonObject:
    return {
        "turn": turn.turn,
        "prompt": turn.prompt,
        "at": turn.at,
        "continued": turn.continued,
        "outcome": None if turn.outcome is None else turn.outcome.value,
        "error": turn.error,
        "kept": turn.kept,
        "proof": optional(encode_proof, turn.proof),
    }


def decode_turn(data: object) -> TurnRecord:
    read = as_object(data, "turn")
    return TurnRecord(
        integer(read, "turn"),
        string(read, "prompt"),
        number(read, "at"),
        boolean(read, "continued"),
        optional_member(Outcome, read, "outcome"),
        optional_string(read, "error"),
        boolean(read, "kept"),
        optional(decode_proof, read.get("proof")),
    )


def encode_compaction(compaction: Compaction) -> JsonObject:
    return {
        "number": compaction.number,
        "upto": compaction.upto,
        "summary": compaction.summary,
        "at": compaction.at,
        "usage": optional(encode_usage, compaction.usage),
        "cost": compaction.cost,
        "undone": compaction.undone,
        "trimmed": compaction.trimmed,
        "made_after": compaction.made_after,
    }


def decode_compaction(data: object) -> Compaction:
    read = as_object(data, "compaction")
    return Compaction(
        integer(read, "number"),
        integer(read, "upto"),
        string(read, "summary"),
        number(read, "at"),
        optional(decode_usage, read.get("usage")),
        optional_number(read, "cost"),
        boolean(read, "undone"),
        integer(read, "trimmed"),
        integer(read, "made_after"),
    )


def encode_piece(piece: Piece) -> JsonObject:
    match piece:
        case TextDelta(text):
            return {"type": "text", "text": text}
        case ReasoningDelta(text, signature):
            return {"type": "reasoning", "text": text, "signature": signature}
        case ToolCallDelta(index, arguments, call_id, name):
            return {"type": "call", "index": index, "arguments": arguments, "id": call_id, "name": name}
        case CallIdentified(index, call_id):
            return {"type": "identified", "index": index, "id": call_id}
        case CallBegun(call_id):
            return {"type": "begun", "id": call_id}
        case ToolResult():
            return {"type": "result", "result": encode_result(piece)}
        case _:
            assert_never(piece)


def decode_piece(data: object) -> Piece:
    read = as_object(data, "piece")
    match read.get("type"):
        case "text":
            return TextDelta(string(read, "text"))
        case "reasoning":
            return ReasoningDelta(string(read, "text"), optional_string(read, "signature"))
        case "call":
            return ToolCallDelta(
                integer(read, "index"),
                string(read, "arguments"),
                optional_string(read, "id"),
                optional_string(read, "name"),
            )
        case "identified":
            return CallIdentified(integer(read, "index"), string(read, "id"))
        case "begun":
            return CallBegun(string(read, "id"))
        case "result":
            return decode_result(read.get("result"))
        case other:
            raise CodecError(f"There is no piece of a draft of the type {other!r}.")


def encode_pieces(pieces: Iterable[Piece]) -> list[JsonObject]:
    return [encode_piece(piece) for piece in pieces]


def decode_pieces(data: object) -> tuple[Piece, ...]:
    return tuple(decode_piece(item) for item in as_list(data, "pieces"))


def decode_texts(data: object) -> tuple[str, ...]:
    """A list of texts, such as the prompts that wait."""
    return tuple(checked(item, str, "text") for item in as_list(data, "texts"))
