"""What of a conversation is sent once it is compacted, and how the room for it is reckoned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.cancel import CancelReason, Cause
from core.context.summary import SummaryInput, transcript
from core.context.window import (
    OUTPUT_KEPT,
    PROMPT_KEPT,
    Context,
    live,
    overhead_tokens,
    room_of,
    text_tokens,
    tokens_of,
    visible,
)
from core.engine.results import CallOutcome, not_started, stopped
from core.model.messages import (
    REMINDER,
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
    sendable,
)
from core.model.provider import ModelInfo, ToolSpec
from core.operations.progress import Progress
from core.storage.records import Compaction
from tests.support.pictures import image, png
from tests.support.scripted_models import MODEL, assert_accepted

if TYPE_CHECKING:
    from collections.abc import Sequence

NEXT = UserMessage("next")


def step(*messages: Message, usage: Usage | None = None) -> Step:
    return Step(messages, usage)


def said(text: str, *, usage: Usage | None = None) -> Step:
    """A turn of one step."""
    return step(UserMessage(f"ask {text}"), reply(Text(text)), usage=usage)


def reply(*parts: Part, interrupted: bool = False) -> AssistantMessage:
    return AssistantMessage(parts, MODEL, None if interrupted else FinishReason.STOP, interrupted)


def called(name: str, text: str, *, prompt: str = "", status: ResultStatus = ResultStatus.COMPLETED) -> Step:
    asked = (UserMessage(prompt),) if prompt else ()
    result = ToolResult(name, "read", status, text)
    return step(*asked, reply(ToolCall(name, "read", "{}")), ToolResults((result,)))


def compaction(upto: int, *, number: int = 1, trimmed: int = 0, undone: bool = False) -> Compaction:
    summary = f"summary {number}" if upto else ""
    return Compaction(
        number, upto, summary, 0.0, undone=undone, trimmed=trimmed, made_after=max(upto, trimmed)
    )


def results(messages: Sequence[Message]) -> list[ToolResult]:
    return [result for message in messages if isinstance(message, ToolResults) for result in message.results]


THREE = (said("one"), said("two"), said("three"))


def test_without_a_compaction_everything_is_sent() -> None:
    assert visible(THREE, ()) == tuple(message for each in THREE for message in each.messages)
    assert visible(THREE, (compaction(2, undone=True),)) == visible(THREE, ())


def test_a_summary_stands_for_the_first_steps_and_is_not_taken_for_the_users_words() -> None:
    summary, *behind = visible(THREE, (compaction(2),))
    assert tuple(behind) == THREE[2].messages
    assert isinstance(summary, UserMessage)
    assert "summary 1" in summary.text
    assert "written by the model, not by the user" in summary.text
    assert "ask one" not in summary.text
    # The prompt behind it is told from it when the two are joined.
    (first, _) = sendable((summary, *behind))
    assert isinstance(first, UserMessage)
    assert first.text.endswith("[End of the summary.]\n\nask three")


@pytest.mark.promise("C2")
def test_the_newest_that_was_not_undone_counts_and_undoing_brings_all_of_it_back() -> None:
    both = (compaction(1), compaction(2, number=2))
    assert live(THREE, both) is both[1]
    undone = (both[0], replace(both[1], undone=True))
    assert visible(THREE, undone) == visible(THREE, both[:1])
    assert visible(THREE, tuple(replace(each, undone=True) for each in both)) == visible(THREE, ())


def test_a_fork_that_is_shorter_than_its_compaction_is_sent_as_it_is() -> None:
    assert visible(THREE[:1], (compaction(2),)) == THREE[0].messages


def test_a_summary_within_a_turn_keeps_the_prompt_that_is_worked_on() -> None:
    steps = (said("old"), called("a", "x", prompt="do it " + "w" * 2 * PROMPT_KEPT), called("b", "y"))
    summary, *behind = visible(steps, (compaction(2),))
    assert tuple(behind) == steps[2].messages
    assert isinstance(summary, UserMessage)
    assert "do it www" in summary.text
    assert "ask old" not in summary.text
    assert len(summary.text) < PROMPT_KEPT + 1_000
    (other, *_) = visible((*steps[:2], said("new")), (compaction(2),))
    assert isinstance(other, UserMessage)
    assert "do it" not in other.text


def test_a_trimmed_output_keeps_its_ends_and_says_what_is_missing() -> None:
    long = "begin" + "x" * 50_000 + "end"
    steps = (called("a", long, prompt="go"), called("b", "short"), called("c", long))
    first, second, third = results(visible(steps, (compaction(0, trimmed=2),)))
    assert first.text.startswith("begin")
    assert first.text.endswith("end")
    assert f"{len(long) - OUTPUT_KEPT:,} characters trimmed by Caesura" in first.text
    assert len(first.text) < OUTPUT_KEPT + 200
    assert (second.text, third.text) == ("short", long)


def test_images_count_and_are_words_where_they_are_trimmed_or_summarized() -> None:
    plain = called("c", "x")
    result = replace(results(plain.messages)[0], images=(image(png()), image(png(more=12_000))))
    seen = replace(plain, messages=(*plain.messages[:-1], ToolResults((result,))))
    assert tokens_of(seen.messages) - tokens_of(plain.messages) == 2 * 1_500
    (trimmed,) = results(visible((seen,), (compaction(0, trimmed=1),)))
    assert trimmed.images == ()
    assert trimmed.text == (
        "x\n[image/png, 70 bytes, trimmed by Caesura: run it again if it is needed]"
        "\n[image/png, 12 KB, trimmed by Caesura: run it again if it is needed]"
    )
    told = transcript(SummaryInput("", (seen,), "", 1_000))
    assert "x\n[image/png, 70 bytes]\n[image/png, 12 KB]\n" in told
    assert image(png()).data not in told


@pytest.mark.parametrize("length", [OUTPUT_KEPT, OUTPUT_KEPT + 100, OUTPUT_KEPT + 200, OUTPUT_KEPT + 201])
def test_trimming_never_makes_anything_longer(length: int) -> None:
    (result,) = results(visible((called("a", "x" * length, prompt="go"),), (compaction(0, trimmed=1),)))
    assert len(result.text) <= length


ALONE = CancelReason(Cause.USER, "x", words="not that one")


def stopped_alone() -> CallOutcome:
    progress = Progress()
    progress.say(f"its output quotes: {REMINDER}")
    return stopped(ALONE, 1.0, progress, alone=True, proof=None)


@pytest.mark.promise("S8")
@pytest.mark.parametrize(
    "told",
    [stopped_alone(), not_started(ALONE, alone=True, asked=False, proof=None)],
    ids=["stopped", "not started"],
)
def test_the_reminder_of_a_stop_is_dropped_with_what_was_compacted(told: CallOutcome) -> None:
    steps = (called("a", told.text, prompt="go", status=told.status), called("b", "y"))
    (before, _) = results(visible(steps, ()))
    (after, _) = results(visible(steps, (compaction(0, trimmed=1),)))
    assert REMINDER in before.text.partition("Output")[0]
    # The rest of it is true for ever: who stopped it, what was said to it, what it had written.
    head, output, rest = before.text.partition("\n\nOutput so far:\n")
    assert after.text == head.removesuffix(f" {REMINDER}") + output + rest
    assert 'The user says: "not that one".' in after.text


def test_a_result_that_merely_quotes_the_reminder_keeps_it() -> None:
    steps = (called("a", f"# {REMINDER}", prompt="go"), called("b", "y"))
    assert REMINDER in results(visible(steps, (compaction(0, trimmed=2),)))[0].text


# -- every conversation --

WORDS = st.sampled_from(["", " ", "word", "more words", "x" * 4_000])
STATUSES = st.sampled_from(ResultStatus)
PARTS = st.one_of(st.builds(Text, WORDS), st.builds(Reasoning, WORDS, st.sampled_from([None, "signature"])))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Step, ...]:
    """Turns of several steps, any of them interrupted, as the engine commits them."""
    steps: list[Step] = []
    for turn in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 4))
        for number in range(count):
            interrupted = number == count - 1 and draw(st.booleans())
            calls = range(draw(st.integers(0 if number == count - 1 else 1, 3)))
            ids = [f"call-{turn}-{number}-{call}" for call in calls]
            parts = [*draw(st.lists(PARTS, max_size=2)), *(ToolCall(each, "read", "{}") for each in ids)]
            told = tuple(ToolResult(each, "read", draw(STATUSES), f"told {draw(WORDS)}") for each in ids)
            prompt = (UserMessage(f"prompt {turn}"),) if number == 0 else ()
            usage = draw(st.sampled_from([None, Usage(100, 10)]))
            answer = reply(*parts, interrupted=interrupted)
            steps.append(step(*prompt, answer, *((ToolResults(told),) if told else ()), usage=usage))
    return tuple(steps)


@st.composite
def compacted(draw: st.DrawFn) -> tuple[tuple[Step, ...], tuple[Compaction, ...]]:
    steps = draw(conversations())
    marks = st.integers(0, len(steps) + 1)
    made = tuple(
        compaction(draw(marks), number=number, trimmed=draw(marks), undone=draw(st.booleans()))
        for number in range(1, draw(st.integers(0, 3)) + 1)
    )
    return steps, made


@pytest.mark.slow
@pytest.mark.promise("C1", "C3")
@given(compacted())
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_whatever_is_compacted_what_is_sent_is_accepted(
    given_: tuple[tuple[Step, ...], tuple[Compaction, ...]],
) -> None:
    steps, made = given_
    before = repr(steps)
    messages = visible(steps, made)
    assert_accepted(sendable((*messages, NEXT)))
    if messages and isinstance(messages[-1], ToolResults):
        # Within a turn there is no prompt at the end.
        assert_accepted(sendable(messages))
    assert visible(steps, made) == messages
    assert repr(steps) == before
    assert Context(steps, made, (NEXT,)).tokens() > 0


@given(compacted())
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_what_was_sent_stays_the_beginning_of_what_is_sent(
    given_: tuple[tuple[Step, ...], tuple[Compaction, ...]],
) -> None:
    """So that a provider's cache of it holds until the next compaction."""
    steps, made = given_
    newest = live(steps, made)
    begin = 1 if newest is None else max(newest.upto + 1, newest.trimmed)
    for count in range(begin, len(steps)):
        shorter, longer = visible(steps[:count], made), visible(steps[: count + 1], made)
        if live(steps[:count], made) is newest is live(steps[: count + 1], made):
            assert longer[: len(shorter)] == shorter


# -- tokens --


def test_other_scripts_count_more_than_ascii() -> None:
    assert text_tokens("a" * 350) == 100
    assert text_tokens("好" * 100) == 120
    assert text_tokens("a" * 35 + "好" * 100) == 130
    assert text_tokens("\ud800") > 0
    assert text_tokens("") == 0


def test_the_providers_count_is_taken_and_only_the_rest_is_estimated() -> None:
    steps = (said("one", usage=Usage(1_000, 50)), called("a", "x" * 3_500, prompt="go"))
    assert Context(steps[:1], overhead=70).tokens() == 1_050
    rest = tokens_of((*steps[1].messages, NEXT))
    assert Context(steps, pending=(NEXT,), overhead=70).tokens() == 1_050 + rest
    counted = (steps[0], replace(steps[1], usage=Usage(2_000, 10)))
    # Its results are not part of what the provider counted for the reply.
    assert Context(counted).tokens() == 2_010 + tokens_of(steps[1].messages[2:])


def test_without_a_count_all_of_it_is_estimated() -> None:
    tools = (ToolSpec("read", "reads", "{}" * 500),)
    overhead = overhead_tokens("system " * 100, tools)
    assert overhead > 400
    assert Context(THREE, pending=(NEXT,), overhead=overhead).tokens() == overhead + tokens_of(
        (*visible(THREE, ()), NEXT)
    )
    assert Context((said("one", usage=Usage(0, 5)),)).tokens() == tokens_of(said("one").messages)


def test_a_count_from_before_a_compaction_is_not_taken() -> None:
    steps = (said("one", usage=Usage(9_000, 1)), said("two", usage=Usage(9_900, 1)))
    made = (compaction(1),)
    made = (replace(made[0], made_after=2),)
    assert Context(steps, made).tokens() == tokens_of(visible(steps, made))
    since = (*steps, said("three", usage=Usage(500, 5)))
    assert Context(since, made).tokens() == 505
    # Undone, the count from before holds again, and none that may be from between.
    undone = (replace(made[0], undone=True),)
    assert Context(since, undone).tokens() == 9_901 + tokens_of(since[2].messages)


def test_the_room_of_a_model() -> None:
    assert room_of(ModelInfo("m")) is None
    large = room_of(ModelInfo("m", context_window=200_000, max_output=64_000))
    assert large is not None
    assert (large.full, large.threshold) == (184_000, 156_400)
    small = room_of(ModelInfo("m", context_window=8_000, max_output=8_000))
    assert small is not None
    assert small.full == 7_000
