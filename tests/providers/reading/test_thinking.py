"""Reasoning in the text of a reply: found however the text is split, and only at the beginning."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.provider import ContentDelta, ReasoningDelta, TextDelta, ToolCallDelta
from providers.reading.thinking import ThinkingFolder


def folded(*deltas: ContentDelta) -> tuple[str, str]:
    """Reasoning and text."""
    folder = ThinkingFolder()
    found = [*folder.fold(deltas), *folder.finish()]
    return (
        "".join(delta.text for delta in found if isinstance(delta, ReasoningDelta)),
        "".join(delta.text for delta in found if isinstance(delta, TextDelta)),
    )


CASES = [
    ("<think>hm</think>yes", "hm", "yes"),
    ("\n <think>\nhm\n</think>\n\nyes", "\nhm\n", "yes"),
    ("<think></think>yes", "", "yes"),
    ("<think>a < b</thin</think>yes\n", "a < b</thin", "yes\n"),
    ("<think>hm", "hm", ""),
    ("<think>hm</thi", "hm</thi", ""),
    ("<thinking>yes", "", "<thinking>yes"),
    ("<thi", "", "<thi"),
    (" yes", "", " yes"),
    ("yes <think>hm</think>", "", "yes <think>hm</think>"),
    ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
    ("", "", ""),
]


@pytest.mark.promise("P7")
@pytest.mark.parametrize(("text", "reasoning", "answer"), CASES)
@given(places=st.lists(st.integers(min_value=0), max_size=6))
def test_tags(text: str, reasoning: str, answer: str, places: list[int]) -> None:
    cuts = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    pieces = (TextDelta(text[start:end]) for start, end in itertools.pairwise(cuts))
    assert folded(*pieces) == (reasoning, answer)


def test_a_server_with_a_field_for_reasoning_needs_no_tags() -> None:
    assert folded(ReasoningDelta("hm"), TextDelta("<think>is a tag")) == ("hm", "<think>is a tag")
    assert folded(TextDelta("<think>hm"), ToolCallDelta(0, "{}"), TextDelta("yes")) == ("hm", "yes")
