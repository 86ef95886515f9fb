"""Characters that a server has cut in two: JavaScript counts an emoji as two, and may end a piece between.

Each half alone is no character, and a provider refuses it. So the first one waits for the piece that goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.model.provider import ContentDelta

FIRST_HALVES = ("\ud800", "\udbff")


class HalfJoiner:
    """Puts halves together. `rest` gives the one that was kept until the end."""

    def __init__(self) -> None:
        self._kept: ContentDelta | None = None

    def join(self, deltas: Iterable[ContentDelta]) -> Iterator[ContentDelta]:
        for delta in deltas:
            text = _text(delta)
            if (kept := self._kept) is not None:
                self._kept = None
                if _goes_on(kept, delta):
                    text = _joined(_text(kept) + text)
                    delta = _with(delta, text)
                else:
                    yield kept
            if text and FIRST_HALVES[0] <= text[-1] <= FIRST_HALVES[1]:
                self._kept = _kept(delta, text[-1])
                delta = _with(delta, text[:-1])
            yield delta

    def rest(self) -> Iterator[ContentDelta]:
        kept, self._kept = self._kept, None
        if kept is not None:
            yield kept


def _joined(text: str) -> str:
    """`text` with its first two halves as one character, if they are two of one."""
    if not "\udc00" <= text[1:2] <= "\udfff":
        return text
    return text[:2].encode("utf-16", "surrogatepass").decode("utf-16") + text[2:]


def _text(delta: ContentDelta) -> str:
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


def _with(delta: ContentDelta, text: str) -> ContentDelta:
    if isinstance(delta, ToolCallDelta):
        return replace(delta, arguments=text)
    return replace(delta, text=text)


def _kept(delta: ContentDelta, half: str) -> ContentDelta:
    """The end of `delta`; what else it says came with its beginning."""
    if isinstance(delta, ToolCallDelta):
        return ToolCallDelta(delta.index, half)
    return type(delta)(half)


def _goes_on(kept: ContentDelta, delta: ContentDelta) -> bool:
    if isinstance(kept, ToolCallDelta) and isinstance(delta, ToolCallDelta):
        return kept.index == delta.index
    return isinstance(kept, TextDelta | ReasoningDelta) and type(kept) is type(delta) and bool(_text(delta))
