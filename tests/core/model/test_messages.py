"""H2 as far as a request is concerned: what of a conversation is sent, in a form that providers accept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    Usage,
    UserMessage,
    sendable,
)
from core.model.reply_end import ReplyEnd, note_for_model
from tests.support.scripted_models import MODEL, STOPPED_ABOVE, STOPPED_UNSEEN, assert_accepted


def reply(*parts: Part, interrupted: bool = False) -> AssistantMessage:
    if interrupted:
        return AssistantMessage(parts, MODEL, None, interrupted=True, unfinished=ReplyEnd.STOPPED)
    return AssistantMessage(parts, MODEL, FinishReason.STOP)


EMPTY = note_for_model(ReplyEnd.EMPTY, "", above=False)


ASK, AGAIN, MORE = UserMessage("ask"), UserMessage("again"), UserMessage("more")


def test_a_whole_conversation_is_sent_as_it_is() -> None:
    said = (ASK, reply(Reasoning("why", "signature"), Text("answer")), AGAIN)
    assert sendable(said) == said


@pytest.mark.promise("H2")
def test_an_interrupted_reply_is_sent_and_said_to_be_one() -> None:
    partial = reply(Text("half an ans"), interrupted=True)
    assert sendable((ASK, partial, AGAIN)) == (ASK, partial, UserMessage(f"{STOPPED_ABOVE}\n\nagain"))
    once = UserMessage(f"{STOPPED_ABOVE}\n\nagain\n\nmore")
    assert sendable((ASK, partial, AGAIN, MORE)) == (ASK, partial, once)


def test_reasoning_without_signature_is_left_out() -> None:
    said = (ASK, reply(Reasoning("why"), Text("answer"), Reasoning("hm", "signature")), AGAIN)
    assert sendable(said) == (ASK, reply(Text("answer"), Reasoning("hm", "signature")), AGAIN)


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "empty",
    [
        reply(),
        reply(Text("")),
        reply(Text(" \n")),
        reply(Reasoning("why")),
        reply(Reasoning("why", "signature")),
        reply(Reasoning("why", "signature"), Text("\n\n")),
    ],
    ids=str,
)
def test_a_reply_that_says_nothing_is_left_out_and_its_prompt_is_not_part_of_the_next(
    empty: AssistantMessage,
) -> None:
    assert sendable((ASK, empty, AGAIN)) == (UserMessage(f"ask\n\n{EMPTY}\n\nagain"),)
    twice = UserMessage(f"ask\n\n{EMPTY}\n\nagain\n\n{EMPTY}\n\nmore")
    assert sendable((ASK, empty, AGAIN, empty, MORE)) == (twice,)


@pytest.mark.promise("H2")
def test_a_stop_while_it_only_thought_is_told_all_the_same() -> None:
    thought = reply(Reasoning("why"), interrupted=True)
    assert sendable((ASK, thought, AGAIN)) == (UserMessage(f"ask\n\n{STOPPED_UNSEEN}\n\nagain"),)


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)


TEXTS = st.sampled_from(["", " ", "\n", "word", "more words\n"])
SIGNATURES = st.sampled_from([None, "", "signature"])
PARTS = st.one_of(st.builds(Text, TEXTS), st.builds(Reasoning, TEXTS, SIGNATURES))
REPLIES = st.builds(
    lambda parts, interrupted: reply(*parts, interrupted=interrupted), st.lists(PARTS), st.booleans()
)


@given(st.lists(REPLIES, max_size=6))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_every_conversation_of_steps_is_sent_in_a_form_that_is_accepted(
    replies: list[AssistantMessage],
) -> None:
    said: list[Message] = []
    for number, answer in enumerate(replies):
        said += [UserMessage(f"prompt {number}."), answer]
    sent = sendable((*said, ASK))
    assert_accepted(sent)
    # Nothing that was asked or answered is lost, and all of it in its order.
    prompts = "\n\n".join(message.text for message in sent if isinstance(message, UserMessage))
    positions = [prompts.index(f"prompt {number}.") for number in range(len(replies))]
    assert positions == sorted(positions)
    answered = [message.text for message in sent if isinstance(message, AssistantMessage)]
    assert answered == [answer.text for answer in replies if answer.text.strip()]
    said_something = [answer for answer in replies if answer.text.strip()]
    assert prompts.count(STOPPED_ABOVE) == sum(answer.interrupted for answer in said_something)
    blank = [answer for answer in replies if not answer.text.strip()]
    assert prompts.count(STOPPED_UNSEEN) == sum(answer.interrupted for answer in blank)
    assert prompts.count(EMPTY) == sum(not answer.interrupted for answer in blank)


def test_a_call_counts_as_something_said() -> None:
    """For the calls that are to come; their results are not built yet."""
    call = reply(ToolCall("call-1", "read", "{}"))
    assert sendable((ASK, call, AGAIN)) == (ASK, call, AGAIN)
