"""P7: the rule for how a reply ended, and what the model and the person are told of each end."""

from __future__ import annotations

from itertools import product

import pytest

from core.model.messages import AssistantMessage, Reasoning, Text, ToolCall, UserMessage, sendable
from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from core.model.reply_builder import Reply
from core.model.reply_end import (
    WORDS_SHOWN,
    FinishReason,
    ReplyEnd,
    decide_end,
    describe_end,
    note_for_model,
    sentence_for_person,
)
from tests.support.scripted_models import MODEL

pytestmark = pytest.mark.promise("P7")

STOP, TOOLS = FinishReason.STOP, FinishReason.TOOL_CALLS
WHOLE = (ReplyEnd.COMPLETE, ReplyEnd.CALLS)


@pytest.mark.parametrize(
    ("finish", "text", "calls", "end"),
    [
        (STOP, True, False, ReplyEnd.COMPLETE),
        (STOP, True, True, ReplyEnd.CALLS),
        (STOP, False, True, ReplyEnd.CALLS),
        (TOOLS, True, True, ReplyEnd.CALLS),
        (TOOLS, False, True, ReplyEnd.CALLS),
        (STOP, False, False, ReplyEnd.EMPTY),
        (TOOLS, False, False, ReplyEnd.EMPTY),
        # It announces calls that have not come.
        (TOOLS, True, False, ReplyEnd.UNKNOWN),
        *(
            (FinishReason.LENGTH, text, calls, ReplyEnd.CUT)
            for text, calls in product((True, False), repeat=2)
        ),
        *(
            (FinishReason.CONTENT_FILTER, text, calls, ReplyEnd.FILTERED)
            for text, calls in product((True, False), repeat=2)
        ),
        *(
            (FinishReason.OTHER, text, calls, ReplyEnd.UNKNOWN)
            for text, calls in product((True, False), repeat=2)
        ),
    ],
)
def test_the_rule(finish: FinishReason, text: bool, calls: bool, end: ReplyEnd) -> None:
    assert decide_end(finish, text=text, calls=calls, unfinished=ReplyEnd.STOPPED) is end
    assert end.whole is (end in WHOLE)


@pytest.mark.parametrize("unfinished", sorted(set(ReplyEnd) - {*WHOLE, ReplyEnd.CUT}))
def test_without_the_providers_word_it_is_what_kept_it_from_its_end(unfinished: ReplyEnd) -> None:
    for text, calls in product((True, False), repeat=2):
        assert decide_end(None, text=text, calls=calls, unfinished=unfinished) is unfinished
        assert decide_end(None, text=text, calls=calls) is ReplyEnd.INTERRUPTED


def test_each_end_is_told_in_words_of_its_own_and_a_whole_reply_in_none() -> None:
    ends = [end for end in ReplyEnd if end not in WHOLE]
    for above in (True, False):
        notes = [note_for_model(end, "", above=above) for end in ends]
        sentences = [sentence_for_person(end, "", above=above) for end in ends]
        assert len(set(notes)) == len(set(sentences)) == len(ends)
        assert all("reply above" in note for note in notes) is above
        assert all(note_for_model(end, "words", above=above) == "" for end in WHOLE)
    assert "the user stopped it" in note_for_model(ReplyEnd.STOPPED, "", above=True)
    assert "the server broke it off" in note_for_model(ReplyEnd.BROKEN_OFF, "", above=True)
    assert "cut off by the output limit" in note_for_model(ReplyEnd.CUT, "", above=True)


def test_the_providers_words_are_quoted_on_one_line_and_not_without_end() -> None:
    assert describe_end(ReplyEnd.FILTERED, "I can't\n help.") == (
        'the provider has filtered or refused it: "I can\'t help."'
    )
    assert len(describe_end(ReplyEnd.UNKNOWN, "x" * 10_000)) < WORDS_SHOWN + 100


CALL = ToolCall("call", "read", "{}")


@pytest.mark.parametrize("finish", [STOP, *FinishReason])
@pytest.mark.parametrize("parts", [(), (Reasoning("hm"),), (Text("part"),), (CALL,)], ids=str)
def test_a_reply_is_told_of_where_it_stands_and_keeps_its_prompt_apart(
    finish: FinishReason, parts: tuple[Text | Reasoning | ToolCall, ...]
) -> None:
    reply = AssistantMessage(parts, MODEL, finish, words="blocked")
    sent = sendable((UserMessage("ask"), reply, UserMessage("again")))
    last = sent[-1]
    assert isinstance(last, UserMessage)
    above = parts in ((Text("part"),), (CALL,))
    assert (len(sent) > 1) is above
    if reply.end.whole:
        assert last.text == "again"
    else:
        note = note_for_model(reply.end, "blocked", above=above)
        assert last.text == (f"{note}\n\nagain" if above else f"ask\n\n{note}\n\nagain")


def grown() -> Reply:
    reply = Reply(MODEL)
    for delta in (
        ReasoningDelta("hm"),
        TextDelta("I read."),
        ToolCallDelta(0, "{}", "a", "read"),
        ToolCallDelta(1, '{"path": "x', "b", "read"),
    ):
        reply.add(delta)
    return reply


@pytest.mark.parametrize(
    ("unfinished", "kept"),
    [
        (ReplyEnd.BROKEN_OFF, 2),
        (ReplyEnd.FAILED, 2),
        # What a person has stopped goes back without the call that was being written.
        (ReplyEnd.STOPPED, 1),
        (ReplyEnd.INTERRUPTED, 1),
    ],
)
def test_nothing_is_lost_of_what_the_provider_cut(unfinished: ReplyEnd, kept: int) -> None:
    message = grown().message(finish=None, call_ids={0: "a", 1: "b"}, unfinished=unfinished)
    assert (message.end, message.interrupted, len(message.calls)) == (unfinished, True, kept)
    for finish in FinishReason:
        message = grown().message(finish=finish, call_ids={0: "a", 1: "b"})
        assert [call.arguments for call in message.calls] == ["{}", '{"path": "x']


def test_words_that_are_the_text_are_not_kept_twice() -> None:
    for words, kept in [("I read.\n", None), ("SAFETY", "SAFETY"), ("", None), (" ", None)]:
        message = grown().message(finish=FinishReason.CONTENT_FILTER, words=words)
        assert (message.words or None) == kept
