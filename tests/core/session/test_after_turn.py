"""What a session does for itself: it survives Esc, has its own stop, ends on quit, changes no turn (C4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.cancel import CancelReason, Cause
from core.model.messages import UserMessage
from core.operations.events import Outcome, Titled
from core.operations.operation import CancelAnswer, OperationKind
from core.storage.store import Store
from tests.support.scripted_models import (
    ESCAPE,
    MODEL,
    QUIT,
    USAGE,
    Conversation,
    Hold,
    ScriptedProvider,
    say,
)
from tests.support.scripted_tools import equipped

if TYPE_CHECKING:
    from pathlib import Path

    from core.cancel import CancelToken
    from core.model.provider import Emit, Finished, ModelRequest

CLICK = CancelReason(Cause.USER, "click")


class Namer(ScriptedProvider):
    """Answers requests for a title apart from those of the conversation."""

    def __init__(self, title: tuple[object, ...], *scripts: tuple[object, ...]) -> None:
        super().__init__(*scripts)  # type: ignore[arg-type]
        self.title = ScriptedProvider(title)  # type: ignore[arg-type]

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        first = request.messages[0]
        asks_for_title = isinstance(first, UserMessage) and first.text.startswith("The user wrote:")
        if asks_for_title:
            return await self.title.stream(request, token, emit)
        return await super().stream(request, token, emit)


def talk_with(provider: ScriptedProvider) -> Conversation:
    return Conversation(provider=provider, equipment=replace(equipped(), jobs=True))


def jobs_of(talk: Conversation) -> list[str]:
    return [view.call_id for view in talk.session.operations.snapshot() if view.kind is OperationKind.JOB]


async def test_who_wants_no_titles_has_none_asked_for() -> None:
    namer = Namer(say("A fine title"), say("hello"))
    talk = talk_with(namer)
    talk.session.after_turn.asks_for_titles = False
    await talk.turn("name me")
    assert talk.session.after_turn.title == "name me"
    assert jobs_of(talk) == []
    assert namer.title.requests == []


@pytest.mark.promise("C4", "H6")
async def test_a_title_comes_from_a_job_and_counts_with_what_was_used() -> None:
    talk = talk_with(Namer(say("A fine title"), say("hello")))
    assert (await talk.turn("name me")).outcome is Outcome.COMPLETED
    assert talk.session.after_turn.title == "name me"
    await talk.until(lambda: talk.session.after_turn.title == "A fine title")
    assert [event.title for event in talk.events if isinstance(event, Titled)] == ["A fine title"]
    await talk.until(lambda: not jobs_of(talk))
    assert talk.session.record.usage == USAGE + USAGE
    assert len(talk.session.record.plain_steps) == 1


@pytest.mark.promise("C4")
async def test_esc_passes_a_job_by_and_its_own_stop_ends_it() -> None:
    provider = Namer((Hold(),), say("hello"), (Hold(),))
    talk = talk_with(provider)
    await talk.turn("one")
    await talk.until(lambda: provider.title.waiting.is_set())
    (job,) = jobs_of(talk)
    assert not talk.session.stop(ESCAPE)
    assert (await talk.stopped("two")).outcome is Outcome.CANCELLED
    assert jobs_of(talk) == [job]
    assert talk.session.operations.cancel(job, CLICK).answer is CancelAnswer.CANCELLED
    await talk.until(lambda: not jobs_of(talk))
    assert talk.session.after_turn.title == "one"


@pytest.mark.promise("C4", "Q2", "S9")
async def test_quitting_ends_a_job(tmp_path: Path) -> None:
    store = Store(tmp_path / "caesura.db")
    provider = Namer((Hold(),), say("hello"))
    equipment = replace(
        equipped(), jobs=True, make_journal=lambda session_id: store.create(session_id, "/workspace", MODEL)
    )
    talk = Conversation(provider=provider, equipment=equipment)
    await talk.turn("one")
    await talk.until(lambda: provider.title.waiting.is_set())
    await talk.session.aclose(QUIT)
    assert talk.registry.snapshot() == ()
    assert talk.session.jobs.tasks == ()
    (info,) = await store.sessions()
    assert (info.title, info.usage) == ("one", USAGE)
    await store.aclose()


@pytest.mark.promise("C4", "H1")
async def test_a_turn_that_is_taken_back_leaves_no_title() -> None:
    talk = talk_with(Namer(say("A title"), (Hold(),)))
    ended = await talk.stopped("one")
    assert ended.returned_prompt == "one"
    assert talk.session.after_turn.title == ""
    assert jobs_of(talk) == []
