"""Images in results are kept with their step, and are nowhere where text is read or searched."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from core.model.messages import (
    AssistantMessage,
    FinishReason,
    ResultStatus,
    Step,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
)
from core.model.provider import ToolCallDelta
from core.operations.events import Shown
from core.storage.codec import CodecError, from_text, to_text
from core.storage.journal import BegunTurn, CallBegun, CallIdentified, DraftEntries, EndedTurn
from core.storage.json_export import from_json, to_json
from core.storage.markdown_export import to_markdown
from core.storage.records import CallCard, StoredStep
from core.storage.recovery import recover
from tests.support.pictures import image, png
from tests.support.stored_sessions import ended, opened_store, turn

if TYPE_CHECKING:
    from pathlib import Path

    from core.storage.records import LoadedSession

PICTURE = image(png())
RESULT = ToolResult("c", "shot", ResultStatus.COMPLETED, "wörds", (PICTURE, image(png(more=12_000))))
CALL = AssistantMessage((ToolCall("c", "shot", "{}"),), "m", FinishReason.TOOL_CALLS)
STEP = StoredStep(
    Step((UserMessage("look"), CALL, ToolResults((RESULT,)))),
    1,
    1.0,
    cards=(CallCard("c", "", Shown("wörds\n[image/png, 2x3, 70 bytes]")),),
)


async def stored(path: Path) -> LoadedSession:
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("look")))
        journal.add(STEP)
        journal.add(EndedTurn(ended(1)))
        await journal.flush()
        await journal.aclose()
    async with opened_store(path) as store:
        return await store.load("s1")


@pytest.mark.promise("H3")
async def test_they_come_back_and_are_not_searched(tmp_path: Path) -> None:
    loaded = await stored(tmp_path / "a.db")
    assert loaded.steps == (STEP,)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        texts = [text for (text,) in connection.execute("SELECT text FROM search")]
    assert texts == ["look"]
    assert loaded.info.title == ""


async def test_exports_have_words_for_them(tmp_path: Path) -> None:
    loaded = await stored(tmp_path / "a.db")
    told = "wörds\n[image/png, 70 bytes]\n[image/png, 12 KB]"
    for text in (to_markdown(loaded), to_json(loaded)):
        assert PICTURE.data not in text
    assert f"```text\n{told}\n```" in to_markdown(loaded)
    (step,) = from_json(to_json(loaded)).steps
    assert step.step.messages[-1] == ToolResults((replace(RESULT, text=told, images=()),))


async def test_a_file_of_somebody_elses_brings_none_along(tmp_path: Path) -> None:
    """A provider could refuse it, and with it each later request."""
    loaded = await stored(tmp_path / "a.db")
    read = json.loads(to_json(loaded))
    read["steps"][0]["step"]["messages"][-1]["results"][0]["images"] = [{"mime": "image/png", "data": "AA=="}]
    (step,) = from_json(json.dumps(read)).steps
    assert "images" not in to_text(step)
    assert "[image/png, 1 bytes]" in to_text(step)


@pytest.mark.promise("H8")
async def test_a_crash_before_the_commit_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with opened_store(path) as store:
        journal = store.create("s1", "/w", "m")
        journal.add(BegunTurn(turn(1), UserMessage("look")))
        entries = (ToolCallDelta(0, "{}", "c", "shot"), CallIdentified(0, "c"), CallBegun("c"), RESULT)
        journal.add(DraftEntries(entries))
        await journal.flush()
        await journal.aclose()
    async with opened_store(path) as store:
        draft = (await store.open("s1")).draft
    assert draft is not None
    recovered = recover(draft, "m", first=True)
    assert recovered is not None
    assert recovered[0].messages[-1] == ToolResults((RESULT,))


def test_what_is_no_base64_is_a_damaged_file_and_never_json_of_its_own() -> None:
    sound = to_text(STEP)
    for bad in ('\\"', "\\u0000", "é", "*"):
        damaged = sound.replace(PICTURE.data, f"{PICTURE.data}{bad}", 1)
        with pytest.raises(CodecError, match="base64"):
            from_text(damaged, StoredStep)


def test_a_result_without_images_is_written_as_before() -> None:
    assert to_text(replace(RESULT, images=())) == (
        '{"id":"c","name":"shot","status":"completed","text":"w\\u00f6rds"}'
    )


def test_no_log_shows_the_bytes() -> None:
    assert PICTURE.data not in repr(RESULT)
