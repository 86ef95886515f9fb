"""An exported session is imported unchanged; any other file is refused or well formed (H4)."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from core.base.values import Value
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Message,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
    sendable,
)
from core.model.provider import Closing
from core.operations.events import Outcome, Shown, ShownKind, StopReport
from core.storage.json_export import TransferError, from_json, to_json
from core.storage.records import CallCard, Compaction, LoadedSession, SessionInfo, StoredStep, TurnRecord
from tests.support.scripted_models import assert_accepted

if TYPE_CHECKING:
    from collections.abc import Callable

AT = 1_763_715_600.0

# ---- all sessions there can be

texts = st.text(max_size=12) | st.sampled_from(["```", "`````\n# x", "<!-- ", "a\x1b[31mb", '{"a": 1}'])
counts = st.integers(0, 2**40)
times = st.floats(0, 4e9)
dollars = st.none() | st.floats(0, 1e6)
usages = st.none() | st.builds(Usage, counts, counts, counts, counts)
shown = st.builds(Shown, texts, st.sampled_from(ShownKind))
proofs = st.none() | st.builds(
    StopReport,
    texts,
    st.none() | times,
    st.none() | st.sampled_from(Closing),
    st.lists(texts, max_size=2).map(tuple),
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(1, 9999), texts), max_size=2).map(tuple),
)


@st.composite
def replies(draw: st.DrawFn) -> tuple[Message, ...]:
    """A reply, with the results of its calls."""
    names = draw(st.lists(texts, max_size=3))
    calls = [ToolCall(f"id{place}", name, draw(texts)) for place, name in enumerate(names)]
    spoken = draw(
        st.lists(st.builds(Text, texts) | st.builds(Reasoning, texts, st.none() | texts), max_size=3)
    )
    finish = draw(st.none() | st.sampled_from(FinishReason))
    reply = AssistantMessage((*spoken, *calls), draw(texts), finish, finish is None)
    statuses = st.sampled_from(ResultStatus)
    results = tuple(ToolResult(call.call_id, call.name, draw(statuses), draw(texts)) for call in calls)
    return (reply, *((ToolResults(results),) if results else ()))


@st.composite
def stored_steps(draw: st.DrawFn) -> tuple[StoredStep, ...]:
    steps: list[StoredStep] = []
    turn, due = 0, False
    for _ in range(draw(st.integers(0, 4))):
        messages = draw(replies())
        if not due or draw(st.booleans()):
            turn, messages = turn + draw(st.integers(1, 3)), (UserMessage(draw(texts)), *messages)
        due = isinstance(messages[-1], ToolResults)
        ids = [result.call_id for result in messages[-1].results] if due else []  # type: ignore[union-attr]
        seconds = st.none() | st.floats(0, 1e6)
        cards = tuple(CallCard(each, draw(texts), draw(shown), draw(seconds), draw(proofs)) for each in ids)
        step = Step(messages, draw(usages))
        steps.append(StoredStep(step, turn, draw(times), draw(dollars), cards, draw(usages)))
    return tuple(steps)


@st.composite
def sessions(draw: st.DrawFn) -> LoadedSession:
    steps = draw(stored_steps())
    places = st.integers(0, len(steps))
    outcomes = st.none() | st.sampled_from(Outcome)
    turns = tuple(
        TurnRecord(
            turn,
            draw(texts),
            draw(times),
            draw(st.booleans()),
            draw(outcomes),
            draw(st.none() | texts),
            draw(st.booleans()),
        )
        for turn in sorted(draw(st.sets(st.integers(1, 20), max_size=4)))
    )
    compactions = tuple(
        Compaction(
            number,
            draw(places),
            draw(texts),
            draw(times),
            draw(usages),
            draw(dollars),
            draw(st.booleans()),
            draw(places),
            draw(places),
        )
        for number in sorted(draw(st.sets(st.integers(1, 9), max_size=2)))
    )
    queue = tuple(draw(st.lists(texts.filter(str.strip), max_size=2)))
    info = SessionInfo(
        "0123456789ab",
        draw(texts),
        draw(texts),
        draw(texts),
        draw(times),
        draw(times),
        len(steps),
        draw(st.none() | st.just("ba9876543210")),
        draw(st.builds(Usage, counts, counts)),
        draw(dollars),
        draw(st.booleans()),
    )
    return LoadedSession(info, steps, turns, compactions, queue, bool(queue) or draw(st.booleans()))


@pytest.mark.slow
@given(sessions())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_session_comes_back_as_it_was(loaded: LoadedSession) -> None:
    back = from_json(to_json(loaded))
    assert back.info.session_id != loaded.info.session_id
    assert back.info.parent is None
    assert not back.info.in_use
    same = replace(back.info, session_id=loaded.info.session_id, parent=loaded.info.parent)
    assert replace(back, info=replace(same, in_use=loaded.info.in_use)) == loaded


# ---- one session, and what can be wrong with it

CALLS = (ToolCall("a", "shell", '{"command": "ls"}'), ToolCall("b", "read", "{}"))
RESULTS = ToolResults(
    (
        ToolResult("a", "shell", ResultStatus.COMPLETED, "one\n````\ntwo"),
        ToolResult("b", "read", ResultStatus.STOPPED, "Stopped after 1.0 s"),
    )
)
SESSION = LoadedSession(
    SessionInfo(
        "0123456789ab", "Sort *it*", "/home/me", "openai/x", AT, AT + 60, 3, None, Usage(1200, 34), 0.5
    ),
    (
        StoredStep(
            Step(
                (
                    UserMessage("[A command has ended.]\n\nsort it"),
                    AssistantMessage(
                        (Reasoning("hm"), Text("I look."), *CALLS), "x", FinishReason.TOOL_CALLS
                    ),
                    RESULTS,
                ),
                Usage(1000, 30),
            ),
            1,
            AT,
            0.25,
            (CallCard("a", "ls", Shown("one"), 1.25),),
        ),
        StoredStep(Step((AssistantMessage((Text("```python\nsorted("),), "x", None, True),)), 1, AT + 30),
        StoredStep(
            Step((UserMessage("again"), AssistantMessage((Text("Done."),), "x", FinishReason.STOP))),
            2,
            AT + 50,
        ),
    ),
    (
        TurnRecord(1, "sort it", AT, outcome=Outcome.CANCELLED, kept=True),
        TurnRecord(2, "again", AT + 40, outcome=Outcome.COMPLETED, kept=True),
    ),
    (Compaction(1, 1, "It was sorted.", AT + 45, made_after=2),),
    ("and then",),
    queue_paused=True,
)


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads(to_json(SESSION))
    change(data)
    return json.dumps(data)


def put(value: object, *path: str | int) -> Callable[[dict[str, Any]], object]:
    def change(data: dict[str, Any]) -> None:
        at: Any = data
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[dict[str, Any]], object]:
    def change(data: dict[str, Any]) -> None:
        at: Any = data
        for part in path[:-1]:
            at = at[part]
        del at[path[-1]]

    return change


def messages_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = data["steps"][0]["step"]["messages"]
    return messages


MESSAGES = ("steps", 0, "step", "messages")


@pytest.mark.promise("H4")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop(*MESSAGES, 2), ["'steps' [0]", "no results"]),
        (drop(*MESSAGES, 1), ["'steps' [0]", "results of no calls"]),
        (drop(*MESSAGES, 2, "results", 0), ["'steps' [0]", "their order"]),
        (lambda data: messages_of(data)[2]["results"].reverse(), ["their order"]),
        (put("c", *MESSAGES, 2, "results", 1, "id"), ["their order"]),
        (put("write", *MESSAGES, 2, "results", 0, "name"), ["their order"]),
        (put("a", *MESSAGES, 1, "parts", 3, "id"), ["that of another one"]),
        (put("", *MESSAGES, 1, "parts", 3, "id"), ["no id"]),
        (drop(*MESSAGES, 0), ["'steps' [0]", "neither a prompt nor results"]),
        (drop("steps", 2, "step", "messages", 0), ["'steps' [2]", "neither a prompt"]),
        (
            lambda data: data["steps"][0]["step"]["messages"].insert(2, {"role": "user", "text": "x"}),
            ["prompt"],
        ),
        (put([], *MESSAGES), ["'steps' [0]", "no message"]),
        (put("system", *MESSAGES, 0, "role"), ["'steps' [0]", "'system'"]),
    ],
)
def test_what_no_provider_would_accept_is_refused(
    change: Callable[[dict[str, Any]], object], words: list[str]
) -> None:
    with pytest.raises(TransferError) as refused:
        from_json(changed(change))
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["not JSON"]),
        ("# Markdown", ["line 1", "exported as JSON"]),
        ("[" * 100_000, ["nested"]),
        ('{"a":' * 100_000, ["nested"]),
        ("[]", ["no session"]),
        ("{}", ["no session"]),
        (changed(put("other", "format")), ["no session"]),
        (changed(put(2, "version")), ["newer Caesura", "format 2", "up to date"]),
        (changed(put("1", "version")), ["'version'"]),
        (changed(put(True, "version")), ["'version'"]),
        (changed(put(float("nan"), "steps", 0, "at")), ["NaN"]),
        (changed(put(float("inf"), "steps", 0, "at")), ["Infinity"]),
        (to_json(SESSION).replace(str(AT + 60), "1e999"), ["too large"]),
        (changed(put(10**19, "steps", 0, "turn")), ["too large"]),
        (to_json(SESSION).replace('"turn":2', '"turn":' + "9" * 5000), ["too large"]),
        (changed(put(-1, "steps", 1, "turn")), ["'steps' [1]", "turn"]),
        (changed(put(1e15, "steps", 1, "at")), ["'steps' [1]", "'at'"]),
        (changed(put(-1, "steps", 0, "step", "usage", "input")), ["'steps' [0]", "less than nothing"]),
        (changed(put(-0.5, "steps", 0, "cost")), ["'steps' [0]"]),
        (changed(put("no", "steps")), ["'steps'", "array"]),
        (changed(put(None, "steps", 2)), ["'steps' [2]"]),
        (changed(put({"x": 1}, "steps", 0, "turn")), ["'steps' [0]", "$.turn"]),
        (changed(put("won", "turns", 1, "outcome")), ["'turns' [1]", "$.outcome", "'won'"]),
        (changed(put(1, "turns", 1, "turn")), ["'turns' [1]", "not above"]),
        (changed(put(4, "compactions", 0, "upto")), ["'compactions' [0]", "steps that there are not"]),
        (changed(put(0, "compactions", 0, "number")), ["'compactions' [0]"]),
        (changed(put([" "], "queue")), ["'queue'", "empty"]),
        (changed(put([1], "queue")), ["'queue'"]),
        (changed(put("yes", "queue_paused")), ["queue_paused"]),
        (changed(put("\ud800", "session", "title")), ["'session'", "'title'"]),
        (changed(drop("session")), ["'session'"]),
        (changed(put("x" * 10_000, *MESSAGES, 0, "role")), ["'steps' [0]"]),
    ],
)
def test_a_hostile_file_is_refused_with_the_place_of_its_fault(text: str, words: list[str]) -> None:
    with pytest.raises(TransferError) as refused:
        from_json(text)
    message = str(refused.value)
    assert all(word in message for word in words), message
    assert len(message) < 500


def test_no_file_is_read_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.json_export.MOST_CHARACTERS", 100)
    with pytest.raises(TransferError, match="too large"):
        from_json(to_json(SESSION))


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values in JSON data."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(leaf for key, child in children for leaf in leaves(child, (*path, key)))]


WRONG: st.SearchStrategy[object] = st.sampled_from(
    [None, True, -1, 0, 1.5, 2**70, "", "a", "\ud800", [], [[]], {}, {"type": "call"}]
)


@pytest.mark.promise("H4")
@given(st.lists(st.tuples(st.sampled_from(leaves(json.loads(to_json(SESSION)))[1:]), WRONG), max_size=3))
@settings(deadline=None)
def test_whatever_is_put_into_a_file_it_is_refused_or_can_be_gone_on_with(
    changes: list[tuple[tuple[str | int, ...], object]],
) -> None:
    data = json.loads(to_json(SESSION))
    for path, value in changes:
        try:
            put(value, *path)(data)
        except (LookupError, TypeError):
            continue
    try:
        loaded = from_json(json.dumps(data))
    except TransferError:
        return
    said = tuple(message for stored in loaded.steps for message in stored.step.messages)
    assert_accepted(sendable((*said, UserMessage("and on"))))
    assert loaded.queue_paused or not loaded.queue
    assert from_json(to_json(loaded)).steps == loaded.steps
    json.dumps(plain(loaded), allow_nan=False)


def plain(value: Any) -> Any:
    if isinstance(value, Value):
        fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        return {name: field for name, field in fields.items() if field is not UNSET}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value


def test_a_queue_from_elsewhere_waits_for_the_person() -> None:
    assert from_json(changed(put(False, "queue_paused"))).queue_paused


def test_fields_of_a_later_caesura_are_skipped() -> None:
    assert from_json(changed(put(1, "steps", 0, "mood"))).steps == SESSION.steps
