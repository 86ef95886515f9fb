"""Budgets: a turn that is refused leaves all as it was, one that reaches its limit keeps what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.cancel import CancelReason, Cause
from core.engine.turn import Limits
from core.model.messages import Usage
from core.model.provider import ModelChoice, ModelInfo
from core.operations.events import Notice, Outcome
from core.operations.registry import Registry
from core.session.session import Session
from core.storage.codec import to_text
from core.storage.store import Store
from tests.core.engine.test_dispatch import asks, call
from tests.support.scripted_models import MODEL, USAGE, Conversation, ScriptedProvider, say
from tests.support.scripted_tools import PlayedTool, equipped

if TYPE_CHECKING:
    from pathlib import Path

    from core.operations.events import Event, TurnEnded

QUIT = CancelReason(Cause.QUIT, "ctrl+q")
PRICE = 0.01
COST = (USAGE.input_tokens + USAGE.output_tokens) * PRICE
INFO = ModelInfo(MODEL, input_price=PRICE, output_price=PRICE)


class Kept:
    """A session in a real file, whose model costs something."""

    def __init__(self, store: Store, provider: ScriptedProvider, limits: Limits, *tools: PlayedTool) -> None:
        equipment = replace(
            equipped(*tools, limits=limits),
            make_journal=lambda session_id: store.create(session_id, "/workspace", MODEL),
        )
        self.store = store
        self.session = Session(provider, Registry(), ModelChoice(MODEL), equipment)
        self.session.record.info = INFO
        self.events: list[Event] = []
        self.session.subscribe(self.events.append)

    async def turn(self, text: str) -> TurnEnded:
        self.session.submit(text)
        await self.session.wait_idle()
        ended = [event for event in self.events if type(event).__name__ == "TurnEnded"]
        return ended[-1]  # type: ignore[return-value]

    async def written(self) -> tuple[list[str], object]:
        """All that the file holds of it."""
        loaded = await self.store.load(self.session.session_id)
        return [to_text(step) for step in loaded.steps], replace(loaded, steps=())


@pytest.mark.promise("H7", "H1")
async def test_a_turn_over_budget_makes_no_request_and_touches_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "caesura.db")
    provider = ScriptedProvider(say("one"), say("two"))
    kept = Kept(store, provider, Limits(dollars=COST))
    assert (await kept.turn("first")).outcome is Outcome.COMPLETED
    before = await kept.written(), kept.session.record.turns, kept.session.record.usage
    ended = await kept.turn("second")
    assert ended.outcome is Outcome.MAX_BUDGET_REACHED
    assert (ended.returned_prompt, ended.proof) == ("second", None)
    assert "$0.10" in (ended.error or "")
    assert len(provider.requests) == 1
    assert (await kept.written(), kept.session.record.turns, kept.session.record.usage) == before
    # It is as usable as before: with more to spend the same session goes on.
    kept.session.settings.limits = Limits(dollars=1.0)
    assert (await kept.turn("second")).outcome is Outcome.COMPLETED
    await kept.session.aclose(QUIT)
    await store.aclose()


@pytest.mark.promise("H7")
async def test_a_new_session_without_a_budget_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path / "caesura.db")
    kept = Kept(store, ScriptedProvider(say("one")), Limits(dollars=0.0))
    assert (await kept.turn("first")).outcome is Outcome.MAX_BUDGET_REACHED
    assert await store.sessions() == ()
    await kept.session.aclose(QUIT)
    assert await store.sessions() == ()
    await store.aclose()


@pytest.mark.promise("H7", "H3")
async def test_a_turn_that_reaches_its_budget_ends_after_its_step(tmp_path: Path) -> None:
    store = Store(tmp_path / "caesura.db")
    tool = PlayedTool("read")
    kept = Kept(store, ScriptedProvider(asks(call(0, "read")), say("never")), Limits(dollars=COST), tool)
    ended = await kept.turn("go")
    assert (ended.outcome, ended.returned_prompt) == (Outcome.MAX_BUDGET_REACHED, None)
    steps, _ = await kept.written()
    assert len(steps) == len(kept.session.record.plain_steps) == 1
    assert kept.session.record.usage == USAGE
    kept.session.settings.limits = Limits()
    kept.session.resume()
    await kept.session.wait_idle()
    assert len(kept.session.record.plain_steps) == 2
    await kept.session.aclose(QUIT)
    await store.aclose()


@pytest.mark.promise("U6")
async def test_a_stop_is_looked_at_before_a_budget() -> None:
    talk = Conversation(say("one"), equipment=equipped(limits=Limits(dollars=0.0)))
    talk.session.submit("go")
    await talk.stop()
    assert talk.outcomes == [Outcome.CANCELLED]


@pytest.mark.promise("H6")
async def test_a_budget_that_cannot_be_kept_is_told_once() -> None:
    talk = Conversation(say("one"), equipment=equipped(limits=Limits(dollars=5.0)))
    assert (await talk.turn()).outcome is Outcome.COMPLETED
    assert (await talk.turn()).outcome is Outcome.COMPLETED
    (notice,) = [event for event in talk.events if isinstance(event, Notice)]
    assert "cannot be kept" in notice.text
    assert talk.session.record.spending.dollars is None
    assert talk.session.record.usage == Usage(2 * USAGE.input_tokens, 2 * USAGE.output_tokens)
