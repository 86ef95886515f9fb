"""E3, E4 and S4: a question waits under its call's token; the first answer counts, a stop closes it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.engine.questions import Questions
from core.operations.events import Answer, AnswerKind, Question

USER = CancelReason(Cause.USER, "Esc")
ONCE = Answer(AnswerKind.ONCE)
DENY = Answer(AnswerKind.DENY, "not that one")


async def still_asks() -> Answer | None:
    return None


def question(ask_id: str) -> Question:
    return Question(ask_id, f"call-{ask_id}", "shell", "rm -rf build", "it is dangerous")


def ids(questions: Questions) -> list[str]:
    return [asked.ask_id for asked in questions.open]


async def asked(questions: Questions, ask_id: str, token: CancelToken) -> asyncio.Task[Answer]:
    """A call that waits for its answer by now."""
    task = asyncio.create_task(questions.ask(question(ask_id), token, still_asks))
    await asyncio.sleep(0)
    assert ask_id in ids(questions)
    return task


@pytest.fixture
def questions() -> Questions:
    return Questions()


async def test_several_wait_in_order_and_each_gets_its_own_answer(questions: Questions) -> None:
    turn = CancelToken("turn")
    first, second = await asked(questions, "a", turn), await asked(questions, "b", turn)
    assert ids(questions) == ["a", "b"]
    assert questions.answer("b", DENY)
    assert await second == DENY
    assert ids(questions) == ["a"]
    assert questions.answer("a", ONCE)
    assert await first == ONCE
    assert ids(questions) == []


async def test_the_first_of_two_answers_counts(questions: Questions) -> None:
    task = await asked(questions, "a", CancelToken("call"))
    assert questions.answer("a", DENY)
    assert not questions.answer("a", ONCE)
    assert await task == DENY
    assert not questions.answer("a", ONCE)
    assert not questions.answer("never", ONCE)


@pytest.mark.promise("E4", "S4")
@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_stop_closes_the_question_of_its_call_only(questions: Questions, in_thread: bool) -> None:
    turn = CancelToken("turn")
    stopped = turn.child("stopped")
    first, second = await asked(questions, "a", stopped), await asked(questions, "b", turn.child("other"))
    if in_thread:
        thread = threading.Thread(target=stopped.cancel, args=(USER,))
        thread.start()
        thread.join()  # the event loop has not seen it yet
    else:
        stopped.cancel(USER)
    # At once, although the call has not had its turn yet.
    assert ids(questions) == ["b"]
    assert not questions.answer("a", ONCE)
    with pytest.raises(Cancelled) as caught:
        await first
    assert caught.value.reason is USER
    assert questions.answer("b", ONCE)
    assert await second == ONCE


@pytest.mark.promise("E4")
async def test_a_stopped_turn_closes_all_and_asks_nothing_more(questions: Questions) -> None:
    turn = CancelToken("turn")
    tasks = [await asked(questions, name, turn.child(name)) for name in "abc"]
    turn.cancel(USER)
    assert questions.open == ()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in done] == [Cancelled] * 3
    with pytest.raises(Cancelled):
        await questions.ask(question("d"), turn.child("d"), still_asks)


@pytest.mark.promise("E4")
async def test_allowed_and_stopped_in_one_tick_is_stopped(questions: Questions) -> None:
    token = CancelToken("call")
    task = await asked(questions, "a", token)
    assert questions.answer("a", ONCE)
    token.cancel(USER)
    with pytest.raises(Cancelled):
        await task


@pytest.mark.promise("E3", "E4")
async def test_denied_and_stopped_in_one_tick_is_recorded_as_denied(questions: Questions) -> None:
    token = CancelToken("call")
    task = await asked(questions, "a", token)
    assert questions.answer("a", DENY)
    token.cancel(USER)
    assert await task == DENY


async def test_a_cancelled_task_leaves_no_question(questions: Questions) -> None:
    task = await asked(questions, "a", CancelToken("call"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert questions.open == ()


async def test_an_id_that_is_open_is_not_taken_over(questions: Questions) -> None:
    task = await asked(questions, "a", CancelToken("call"))
    with pytest.raises(ValueError, match="open already"):
        await questions.ask(question("a"), CancelToken("other"), still_asks)
    assert questions.answer("a", ONCE)
    assert await task == ONCE


async def test_a_new_rule_answers_what_it_covers_and_leaves_the_rest_to_the_person(
    questions: Questions,
) -> None:
    turn = CancelToken("turn")
    in_order: list[str] = []

    async def ask(name: str, by_now: Answer | None) -> Answer:
        async def again() -> Answer | None:
            in_order.append(name)
            await asyncio.sleep(0)
            return by_now

        return await questions.ask(question(name), turn.child(name), again)

    tasks = [
        asyncio.create_task(ask(name, by_now))
        for name, by_now in [("a", ONCE), ("b", None), ("c", DENY), ("d", ONCE)]
    ]
    await asyncio.sleep(0)
    assert len(ids(questions)) == len(tasks)
    reconsidering = asyncio.create_task(questions.reconsider())
    await asyncio.sleep(0)
    assert questions.answer("d", DENY)  # the person is faster here
    await reconsidering
    assert in_order == ["a", "b", "c"]
    assert ids(questions) == ["b"]
    questions.answer("b", DENY)
    assert [await task for task in tasks] == [ONCE, DENY, DENY, DENY]
