"""Characters that a server has cut in two come as one."""

from __future__ import annotations

import pytest

from core.model.provider import ContentDelta, ReasoningDelta, TextDelta, ToolCallDelta
from providers.reading.halves import HalfJoiner

HIGH, LOW = "\ud83d", "\udc4b"


def joined(*deltas: ContentDelta) -> list[ContentDelta]:
    joiner = HalfJoiner()
    return [*joiner.join(deltas), *joiner.rest()]


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    ("come", "made"),
    [
        ((TextDelta(f"a{HIGH}"), TextDelta(f"{LOW}b")), [TextDelta("a"), TextDelta("👋b")]),
        (
            (ReasoningDelta(HIGH, "s"), ReasoningDelta(LOW)),
            [ReasoningDelta("", "s"), ReasoningDelta("👋")],
        ),
        (
            (ToolCallDelta(0, f'{{"a": "{HIGH}', "one", "read"), ToolCallDelta(0, f'{LOW}"}}')),
            [ToolCallDelta(0, '{"a": "', "one", "read"), ToolCallDelta(0, '👋"}')],
        ),
        (
            (TextDelta(HIGH), TextDelta(""), TextDelta("!")),
            [TextDelta(""), TextDelta(HIGH), TextDelta(""), TextDelta("!")],
        ),
        ((TextDelta(HIGH), TextDelta(f"{LOW}{HIGH}")), [TextDelta(""), TextDelta("👋"), TextDelta(HIGH)]),
        ((TextDelta(HIGH), TextDelta("!")), [TextDelta(""), TextDelta(f"{HIGH}!")]),
        ((TextDelta(HIGH), ReasoningDelta(LOW)), [TextDelta(""), TextDelta(HIGH), ReasoningDelta(LOW)]),
        ((TextDelta("a"), TextDelta("b")), [TextDelta("a"), TextDelta("b")]),
    ],
)
def test_two_halves_of_one_kind_are_one_character(
    come: tuple[ContentDelta, ...], made: list[ContentDelta]
) -> None:
    assert joined(*come) == made
