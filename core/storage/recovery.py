"""Turn the draft that a crash left into a step that can be committed (H2, H4, H5, H8).

The draft has the deltas of the reply and the state of its calls. Calls without a result get one that says
whether they had begun: the model must not mistake a command that ran in part for one that never ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.model.messages import FinishReason, ResultStatus, Step, ToolResult, ToolResults, read_arguments
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.model.reply_builder import Reply
from core.operations.events import Shown
from core.storage.journal import CallBegun, CallIdentified
from core.storage.records import CallCard

if TYPE_CHECKING:
    from core.model.messages import Message, ToolCall
    from core.storage.journal import Draft


def recover(draft: Draft, model: str, *, first: bool) -> tuple[Step, tuple[CallCard, ...]] | None:
    """Return the interrupted step and the cards of its calls; None if no reply had begun (H1).

    `first` says that the turn has no step yet; then this one includes the prompt.
    """
    reply = Reply(model)
    ids: dict[int, str] = {}
    begun: set[str] = set()
    results: dict[str, ToolResult] = {}
    for entry in draft.entries:
        match entry:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                reply.add(entry)
            case CallIdentified(index, call_id):
                ids[index] = call_id
            case CallBegun(call_id):
                begun.add(call_id)
            case ToolResult():
                results[entry.call_id] = entry
            case _:
                assert_never(entry)
    if not reply.started:
        return None
    # Calls begin only when the reply is complete, but a stop may end them at any time.
    is_complete = begun or any(result.status is not ResultStatus.NOT_STARTED for result in results.values())
    finish = FinishReason.TOOL_CALLS if is_complete else None
    message = reply.message(finish=finish, call_ids=ids)
    ends = tuple(
        results.get(call.call_id) or _interrupted(call.call_id, call.name, ran=call.call_id in begun)
        for call in message.calls
    )
    prompt: tuple[Message, ...] = (draft.message,) if first else ()
    step = Step((*prompt, message, *((ToolResults(ends),) if ends else ())))
    titles = {call.call_id: _title(call) for call in message.calls}
    cards = tuple(CallCard(end.call_id, titles[end.call_id], Shown(end.text)) for end in ends)
    return step, cards


def _title(call: ToolCall) -> str:
    """Return the first argument on one line. The tool, which would give a better title, is not asked here."""
    first = next(iter((read_arguments(call.arguments) or {}).values()), "")
    return " ".join(first.split()) if isinstance(first, str) else ""


def _interrupted(call_id: str, name: str, *, ran: bool) -> ToolResult:
    """Make the result of a call that had none when Caesura was killed. `ran` says whether it had begun."""
    if ran:
        text = "Stopped: Caesura itself was killed while this ran. What it had done by then is unknown."
        return ToolResult(call_id, name, ResultStatus.STOPPED, text)
    text = "Not started: Caesura itself was killed before it began, as far as could be written down."
    return ToolResult(call_id, name, ResultStatus.NOT_STARTED, text)
