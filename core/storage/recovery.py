"""What a crash left of a running step, made into a step that can be committed (H2, H4, H5, H8).

The draft holds the reply as it came and what became of its calls so far. Whatever had not ended is told to
have ended with the program: the model must not take a command that may have done half its work for one that
never ran, and not the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.events import Shown
from core.journal import CallBegun, CallIdentified
from core.messages import FinishReason, ResultStatus, Step, ToolResult, ToolResults, read_arguments
from core.model import ReasoningDelta, TextDelta, ToolCallDelta
from core.records import CallCard
from core.reply import Reply
from core.results import died

if TYPE_CHECKING:
    from core.journal import Draft
    from core.messages import Message, ToolCall


def recover(draft: Draft, model: str, *, first: bool) -> tuple[Step, tuple[CallCard, ...]] | None:
    """The interrupted step and the cards of its calls; None if nothing of the reply had come (H1).

    `first` says that the turn has no step yet, so that its prompt belongs to this one.
    """
    reply = Reply(model)
    ids: dict[int, str] = {}
    begun: set[str] = set()
    results: dict[str, ToolResult] = {}
    for piece in draft.pieces:
        match piece:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                reply.add(piece)
            case CallIdentified(index, call_id):
                ids[index] = call_id
            case CallBegun(call_id):
                begun.add(call_id)
            case ToolResult():
                results[piece.call_id] = piece
            case _:
                assert_never(piece)
    if not reply.started:
        return None
    # Calls begin when the reply is whole, and not before; a stop ends them at any time.
    whole = begun or any(result.status is not ResultStatus.NOT_STARTED for result in results.values())
    finish = FinishReason.TOOL_CALLS if whole else None
    message = reply.message(finish=finish, call_ids=ids)
    ends = tuple(
        results.get(call.call_id) or died(call.call_id, call.name, ran=call.call_id in begun)
        for call in message.calls
    )
    prompt: tuple[Message, ...] = (draft.message,) if first else ()
    step = Step((*prompt, message, *((ToolResults(ends),) if ends else ())))
    titles = {call.call_id: _title(call) for call in message.calls}
    cards = tuple(CallCard(end.call_id, titles[end.call_id], Shown(end.text)) for end in ends)
    return step, cards


def _title(call: ToolCall) -> str:
    """What its card says on one line: the first argument, for no tool is asked here to say it better."""
    first = next(iter((read_arguments(call.arguments) or {}).values()), "")
    return " ".join(first.split()) if isinstance(first, str) else ""
