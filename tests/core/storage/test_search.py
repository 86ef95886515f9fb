"""Which texts of a session are found, and that no search text is an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.model.messages import Step, UserMessage
from core.storage.journal import BegunTurn
from tests.core.storage import random_records as records_made
from tests.support.stored_sessions import made, opened_store, step, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.storage.store import Store

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "caesura.db"


SYNTAX = ('"', "AND", "NOT", "NEAR(", ")", "*", "^", ":", "text", "{", "-", "+", "'", "a")


async def test_words_are_found_in_prompts_replies_and_titles(path: Path) -> None:
    async with opened_store(path) as store:
        old = await made(store, "the quick brown fox", "jumps over the lazy dog")
        new = await made(store, "A Crème brûlée,\n\n   and a fox")
        await store.rename(old, "About animals")

        async def found(text: str) -> list[tuple[str, int, str]]:
            return [(hit.info.session_id, hit.step, hit.snippet) for hit in await store.search(text)]

        assert await found("fox") == [
            (new, 0, "A Crème brûlée, and a fox"),
            (old, 0, "the quick brown fox"),
        ]
        assert await found("lazy do") == [(old, 1, "jumps over the lazy dog")]
        assert await found("anim") == [(old, 0, "About animals")]
        assert await found("creme BRULEE") == [(new, 0, "A Crème brûlée, and a fox")]
        assert await found("laz dog") == await found("fox nowhere") == await found("  ") == []
        assert [hit.info.session_id for hit in await store.search("fox", limit=1)] == [new]
        (hit,) = await store.search("quick f")
        assert [hit.snippet[start:end] for start, end in hit.marks] == ["quick", "fox"]


async def test_notes_that_the_model_got_with_a_prompt_are_not_found(path: Path) -> None:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        message = UserMessage("[secret note]\n\nthe prompt")
        journal.add(BegunTurn(replace(turn(1), prompt="the prompt"), message))
        journal.add(replace(step(0), step=Step((message,))))
        await journal.flush()
        assert await store.search("secret") == ()
        assert [hit.snippet for hit in await store.search("the prompt")] == ["the prompt"]


async def test_a_word_far_into_a_long_reply_is_found(path: Path) -> None:
    async with opened_store(path) as store:
        await made(store, "hay " * 20_000 + "needle" + " hay" * 20_000, "x" * 50_000)
        (hit,) = await store.search("needle")
        assert [hit.snippet[start:end] for start, end in hit.marks] == ["needle"]
        assert len(hit.snippet) < 200


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=records_made.texts
    | st.lists(
        st.sampled_from(['"', "AND", "NOT", "NEAR(", ")", "*", "^", ":", "text", "{", "-", "+", "'", "a"])
    ).map(" ".join)
)
async def test_whatever_is_searched_for_is_no_error(shared_store: Store, text: str) -> None:
    hits = await shared_store.search(text)
    for hit in hits:
        assert hit.snippet.isprintable()
        assert all(0 <= start < end <= len(hit.snippet) for start, end in hit.marks)


@pytest.fixture
async def shared_store(path: Path) -> AsyncIterator[Store]:
    async with opened_store(path) as store:
        await made(store, 'a AND NOT "NEAR" text: {x} \x00 \ufdd0 \x1b[31m é 😀')
        yield store
