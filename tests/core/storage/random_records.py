"""Strategies for records of sessions, with any text, including lone surrogates and NUL, and any number."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

from core.base.base64_text import Base64
from core.model.images import Image
from core.model.messages import (
    AssistantMessage,
    FinishReason,
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
from core.model.provider import Closing, ReasoningDelta, TextDelta, ToolCallDelta
from core.operations.events import Outcome, Shown, ShownKind, StopReport
from core.storage.journal import CallBegun, CallIdentified
from core.storage.records import CallCard, Compaction, PreImage, StoredStep, TurnRecord


def _as_stored(text: str) -> str:
    """Two halves of a surrogate pair in a row come back as the character that they spell."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


_any_character = st.characters(codec=None)
_awkward = st.sampled_from(["\x00", "\ud800", "\udcff", "'\"", "\ufdd0", "\U0001f600", "\u2028", "é"])
texts = st.lists(_any_character | _awkward, max_size=8).map("".join).map(_as_stored)
_counts = st.integers(0, 2**31)
_seconds = st.floats(0, 2e9, allow_nan=False)
_costs = st.none() | st.floats(0, 1e6, allow_nan=False)

usages = st.builds(Usage, _counts, _counts, _counts, _counts)
_images = st.builds(Image, texts, st.binary(max_size=8).map(base64.b64encode).map(bytes.decode).map(Base64))
_results = st.builds(
    ToolResult, texts, texts, st.sampled_from(ResultStatus), texts, st.lists(_images, max_size=2).map(tuple)
)
_parts = (
    st.builds(Text, texts)
    | st.builds(Reasoning, texts, st.none() | texts)
    | st.builds(ToolCall, texts, texts, texts)
)


def _tuples(items: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=most).map(tuple)


messages = (
    st.builds(UserMessage, texts)
    | st.builds(
        AssistantMessage, _tuples(_parts), texts, st.none() | st.sampled_from(FinishReason), st.booleans()
    )
    | st.builds(ToolResults, _tuples(_results))
)
proofs = st.builds(
    StopReport,
    texts,
    st.none() | _seconds,
    st.none() | st.sampled_from(Closing),
    _tuples(texts),
    _counts,
    _tuples(st.tuples(_counts, texts)),
)
_shown = st.builds(Shown, texts, st.sampled_from(ShownKind))
cards = st.builds(CallCard, texts, texts, _shown, st.none() | _seconds, st.none() | proofs)
stored_steps = st.builds(
    StoredStep,
    st.builds(Step, _tuples(messages), st.none() | usages),
    st.integers(1, 4),
    _seconds,
    _costs,
    _tuples(cards, 2),
    st.none() | usages,
)
turns = st.builds(
    TurnRecord,
    st.integers(1, 4),
    texts,
    _seconds,
    st.booleans(),
    st.none() | st.sampled_from(Outcome),
    st.none() | texts,
    st.booleans(),
    st.none() | proofs,
)
compactions = st.builds(
    Compaction,
    st.integers(1, 4),
    st.integers(0, 4),
    texts,
    _seconds,
    st.none() | usages,
    _costs,
    st.booleans(),
    _counts,
    _counts,
)
pieces = (
    st.builds(TextDelta, texts)
    | st.builds(ReasoningDelta, texts, st.none() | texts)
    | st.builds(ToolCallDelta, st.integers(0, 9), texts, st.none() | texts, st.none() | texts)
    | st.builds(CallIdentified, st.integers(0, 9), texts)
    | st.builds(CallBegun, texts)
    | _results
)
preimages = st.builds(
    PreImage,
    st.integers(1, 4),
    texts,
    st.none() | st.binary(max_size=40),
    st.just("f" * 64),
    st.none() | st.integers(0, 0o7777),
)
