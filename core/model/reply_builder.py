"""One reply while it grows: deltas in, one frozen message out.

Adding a delta costs the same however long the reply is; the text is joined once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from msgspec import UNSET
from msgspec.structs import replace

from core.model.messages import AssistantMessage, Part, Reasoning, Text, ToolCall, read_arguments
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.model.reply_end import FinishReason, ReplyEnd


@dataclass(slots=True)
class _Run:
    """Consecutive text or reasoning."""

    kind: type[Text] | type[Reasoning]
    pieces: list[str] = field(default_factory=list)
    signature: str | None = None

    def part(self) -> Part:
        text = "".join(self.pieces)
        return Text(text) if self.kind is Text else Reasoning(text, self.signature)


@dataclass(slots=True)
class ReplyCall:
    """A call of the reply. `given_id` is the id that the provider gave it; empty if none."""

    given_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """As far as they have come."""
        return "".join(self.pieces)


class Reply:
    """The reply of one step. `started` is true if any part of it was shown (H1, H2, R4).

    `calls` are its calls by the provider's index, in the order in which it named them.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._runs: list[_Run] = []
        self.calls: dict[int, ReplyCall] = {}
        self._shown = False

    @property
    def started(self) -> bool:
        return self._shown or bool(self.calls)

    def add(self, delta: TextDelta | ReasoningDelta | ToolCallDelta) -> None:
        match delta:
            case TextDelta("") | ReasoningDelta("", None | ""):
                # Some servers begin with an empty one. It shows nothing, so there is nothing to keep (H1).
                pass
            case TextDelta(text):
                self._shown = True
                self._run(Text).pieces.append(text)
            case ReasoningDelta(text, signature):
                self._shown = self._shown or bool(text)
                run = self._run(Reasoning)
                run.pieces.append(text)
                run.signature = signature or run.signature
            case ToolCallDelta(index, arguments, call_id, name):
                call = self.calls.setdefault(index, ReplyCall())
                call.given_id = call.given_id or call_id or ""
                call.name = call.name or name or ""
                call.pieces.append(arguments)
            case _:
                assert_never(delta)

    def message(
        self,
        *,
        finish: FinishReason | None,
        model: str = "",
        call_ids: dict[int, str] | None = None,
        unfinished: ReplyEnd = ReplyEnd.INTERRUPTED,
        words: str = "",
    ) -> AssistantMessage:
        """The reply so far; interrupted if it has no `finish`: then `unfinished` says how it ended.

        `call_ids` maps the calls to their ids; a call without one is left out. So is a call with incomplete
        arguments in a reply that was stopped; if its provider ended it, nothing of it is lost (P7).
        """
        ids = call_ids or {}
        keeps_all = finish is not None or unfinished in (ReplyEnd.BROKEN_OFF, ReplyEnd.FAILED)
        calls = tuple(
            ToolCall(ids[index], call.name, call.arguments)
            for index, call in self.calls.items()
            if index in ids and (keeps_all or _whole(call.arguments))
        )
        message = AssistantMessage(
            (*(run.part() for run in self._runs), *calls),
            model or self._model,
            finish,
            interrupted=finish is None,
            unfinished=UNSET if finish is not None or unfinished is ReplyEnd.INTERRUPTED else unfinished,
        )
        # A refusal may come as the text itself: then it is not said twice.
        new = words.strip() not in ("", message.text.strip())
        return replace(message, words=words) if new else message

    def _run(self, kind: type[Text] | type[Reasoning]) -> _Run:
        # A signature closes its block of reasoning; what follows starts a new block.
        if not self._runs or self._runs[-1].kind is not kind or self._runs[-1].signature:
            self._runs.append(_Run(kind))
        return self._runs[-1]


def _whole(arguments: str) -> bool:
    return bool(arguments.strip()) and read_arguments(arguments) is not None
