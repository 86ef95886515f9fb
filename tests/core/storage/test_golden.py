"""Files that an earlier version wrote are read unchanged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from core.model.messages import Message
from core.storage import codec
from core.storage.json_export import from_json, to_json
from core.storage.records import Compaction, StoredStep, TurnRecord
from core.storage.store import Store
from tests.core.storage import golden_records as golden

FOLDER = Path(__file__).with_name("golden")
ROWS = json.loads((FOLDER / "rows.json").read_text())
MESSAGES = [message for stored in golden.STEPS for message in stored.step.messages]


@pytest.mark.promise("H3")
async def test_a_file_of_sessions(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(gzip.decompress((FOLDER / "sessions.db.gz").read_bytes()))
    store = Store(path)
    try:
        opened = await store.open(golden.SESSION_ID)
        loaded = opened.loaded
        assert loaded.steps == golden.STEPS
        assert loaded.turns == (*golden.TURNS, golden.RUNNING)
        assert loaded.compactions == golden.COMPACTIONS
        assert (loaded.queue, loaded.queue_paused) == (golden.QUEUE, True)
        assert opened.draft is not None
        assert (opened.draft.turn, opened.draft.message) == (golden.RUNNING, golden.PROMPT)
        assert opened.draft.entries == golden.PIECES
        assert await store.preimages(golden.SESSION_ID, 1) == golden.PREIMAGES
    finally:
        await store.aclose()


def test_an_export() -> None:
    text = (FOLDER / "session.json").read_text()
    loaded = from_json(text)
    assert loaded.steps == golden.STEPS
    assert loaded.turns == golden.TURNS
    assert loaded.compactions == golden.COMPACTIONS
    assert loaded.queue == golden.QUEUE
    assert json.loads(to_json(golden.SESSION)) == json.loads(text)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("steps", golden.STEPS, StoredStep),
        ("turns", golden.TURNS, TurnRecord),
        ("compactions", golden.COMPACTIONS, Compaction),
        ("messages", MESSAGES, Message),
    ],
)
def test_each_kind_of_row(name: str, values: Any, kind: Any) -> None:
    assert [codec.decode(row, kind) for row in ROWS[name]] == list(values)
    assert json.loads(codec.to_text(values)) == ROWS[name]


def test_pieces_of_a_draft() -> None:
    assert codec.draft_from_text(json.dumps(ROWS["pieces"])) == golden.PIECES
    assert json.loads(codec.draft_to_text(golden.PIECES)) == ROWS["pieces"]
