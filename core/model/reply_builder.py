"""One reply while it grows: deltas in, one frozen message out.

Adding a delta costs the same however long the reply is; the text is put together once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from core.messages import (
    AssistantMessage,
    FinishReason,
    Part,
    Reasoning,
    Text,
    ToolCall,
    read_arguments,
)
from core.model import ReasoningDelta, TextDelta, ToolCallDelta


@dataclass(slots=True)
class _Run:
    """Text or reasoning in a row."""

    kind: type[Text] | type[Reasoning]
    pieces: list[str] = field(default_factory=list)
    signature: str | None = None

    def part(self) -> Part:
        text = "".join(self.pieces)
        return Text(text) if self.kind is Text else Reasoning(text, self.signature)


@dataclass(slots=True)
class _Call:
    given_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)


class Reply:
    """The reply of one step. `started` tells whether anything of it was shown (H1, H2, R4)."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._runs: list[_Run] = []
        self._calls: dict[int, _Call] = {}
        self._shown = False

    @property
    def started(self) -> bool:
        return self._shown or bool(self._calls)

    @property
    def call_indexes(self) -> tuple[int, ...]:
        """The calls as the provider tells them apart, in the order in which it named them."""
        return tuple(self._calls)

    def given_id(self, index: int) -> str:
        """The id the provider gave the call; empty if none."""
        return self._calls[index].given_id

    def call_name(self, index: int) -> str:
        return self._calls[index].name

    def arguments(self, index: int) -> str:
        return "".join(self._calls[index].pieces)

    def add(self, delta: TextDelta | ReasoningDelta | ToolCallDelta) -> None:
        match delta:
            case TextDelta("") | ReasoningDelta("", None | ""):
                # Some servers begin with one. It shows nothing, so it is nothing to keep (H1).
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
                call = self._calls.setdefault(index, _Call())
                call.given_id = call.given_id or call_id or ""
                call.name = call.name or name or ""
                call.pieces.append(arguments)
            case _:
                assert_never(delta)

    def message(
        self, *, finish: FinishReason | None, model: str = "", call_ids: dict[int, str] | None = None
    ) -> AssistantMessage:
        """What there is of the reply; interrupted if it has no `finish`.

        `call_ids` are the ids under which its calls are known; a call without one is left out. So is a call
        of an interrupted reply whose arguments had not come to their end.
        """
        ids = call_ids or {}
        calls = tuple(
            ToolCall(ids[index], call.name, self.arguments(index))
            for index, call in self._calls.items()
            if index in ids and (finish is not None or _whole(self.arguments(index)))
        )
        parts = (*(run.part() for run in self._runs), *calls)
        return AssistantMessage(parts, model or self._model, finish, interrupted=finish is None)

    def _run(self, kind: type[Text] | type[Reasoning]) -> _Run:
        # A signature closes its block of reasoning; what follows is a block of its own.
        if not self._runs or self._runs[-1].kind is not kind or self._runs[-1].signature:
            self._runs.append(_Run(kind))
        return self._runs[-1]


def _whole(arguments: str) -> bool:
    return bool(arguments.strip()) and read_arguments(arguments) is not None
