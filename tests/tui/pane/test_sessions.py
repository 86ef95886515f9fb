"""Panes over sessions in a real file: one in the place of another, what is typed meanwhile, and a crash."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.events import Outcome
from core.messages import UserMessage
from core.model import ModelChoice
from core.records import TurnRecord
from core.session import Session
from core.sessions import Sessions
from core.store import Store
from tests.core.stored import made, opened_store
from tests.core.tools_played import equipped
from tests.tui.scripted import MODEL, Stage
from tui.app import CaesuraApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from core.journal import Journal, Opened

CRASHED = "3f2a91bc77d0a1e2"
PROMPT = "How does a stop travel through Caesura?"


class KeptStage(Stage):
    """A stage whose sessions are in a file in `folder`, which is their workspace too."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.workspace = folder
        self.store = Store(folder / "caesura.db")
        self.sessions = Sessions(self.store, self._make, folder)
        self.app = CaesuraApp(self.sessions.new, self.sessions, clock=self._clock)

    def _make(self, opened: Opened | None) -> Session:
        tools = replace(equipped(), make_journal=self._journal)
        self.session = Session(self.model, self.registry, ModelChoice(MODEL), tools, opened)
        return self.session

    def _journal(self, session_id: str) -> Journal:
        return self.store.create(session_id, str(self.workspace), MODEL)

    async def reply(self, prompt: str, text: str) -> None:
        """A whole turn."""
        await self.ask(prompt)
        self.model.say(text)
        self.model.finish()
        await self.until_said(text)
        await self.until(lambda: "idle" in self.status)


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[KeptStage]:
    stage = KeptStage(folder)
    async with stage.app.run_test() as stage.pilot:
        await stage.pilot.pause()
        yield stage
    await stage.sessions.aclose()


async def crash(folder: Path, session_id: str = CRASHED, title: str = "") -> None:
    """Leave a session in the file in which the program has died."""
    async with opened_store(folder / "caesura.db") as store:
        journal = store.create(session_id, str(folder), MODEL)
        journal.begin(TurnRecord(1, PROMPT, 1.0), UserMessage(PROMPT))
        if title:
            journal.keep_title(title)
        await journal.flush()


# -- what is typed while another session opens --


@pytest.mark.promise("U1")
async def test_what_is_sent_right_behind_new_goes_to_the_new_session(tmp_path: Path) -> None:
    async with kept(tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        before = stage.session
        await stage.type_at_once("/new\nsecond\nthird")
        await stage.model.asked()
        assert stage.session is not before
        assert stage.model.requests[-1].messages == (UserMessage("second"),)
        assert "I am here." not in stage.transcript
        await stage.until(lambda: stage.pane.prompt.draft == "third")
        assert len(before.history) == 1
        assert before.closed


async def test_what_is_sent_behind_an_id_that_is_none_stays_here(tmp_path: Path) -> None:
    async with kept(tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        before = stage.session
        await stage.type_at_once("/resume nothing\nsecond\n")
        await stage.until_said("There is no session whose id begins with 'nothing'")
        await stage.model.asked()
        assert stage.session is before
        await stage.until_said("second")


async def test_a_draft_goes_along_to_the_session_that_is_opened(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
    async with kept(tmp_path) as stage:
        stage.pane.prompt.insert("half a prompt")
        stage.pane.keeping.open(other)
        await stage.until_said("It was said.")
        assert stage.pane.prompt.draft == "half a prompt"
        assert stage.focused() is stage.pane.prompt
        # One pane only, and its turn can be stopped.
        assert len(stage.app.query("Pane")) == 1
        await stage.press("enter")
        await stage.model.asked()
        assert stage.is_armed()


# -- a crash --


@pytest.mark.promise("H8")
async def test_a_session_that_died_is_offered_until_somebody_has_taken_it_up(tmp_path: Path) -> None:
    await crash(tmp_path, title="Stops\x1b[31m in\nCaesura")
    async with kept(tmp_path) as stage:
        await stage.until_said("The last session here, ‘Stops")
        await stage.until_said("/resume 3f2a91bc goes on with it")
        assert "\x1b" not in stage.transcript
        await stage.send("/resume 3f2a91bc")
        await stage.until_said("How this turn ended is unknown: Caesura died in it.")
        # Nothing of the reply had come: the prompt is given back (H1).
        assert stage.pane.prompt.draft == PROMPT
    async with kept(tmp_path) as stage:
        assert len(await stage.sessions.recent()) == 1
        await stage.pane.keeping.offer_crashed()
        assert "died" not in stage.transcript


async def test_only_the_last_session_of_this_workspace_is_offered(tmp_path: Path) -> None:
    await crash(tmp_path)
    async with opened_store(tmp_path / "caesura.db") as store:
        journal = store.create("later", str(tmp_path), MODEL)
        journal.begin(TurnRecord(1, "p", 9e9), UserMessage("p"))
        journal.end(TurnRecord(1, "p", 9e9, outcome=Outcome.CANCELLED))
        await journal.flush()
    async with kept(tmp_path) as stage:
        await stage.pane.keeping.offer_crashed()
        assert "died" not in stage.transcript


async def test_a_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "caesura.db").mkdir()
    async with kept(tmp_path) as stage:
        await stage.until_said("caesura.db")
        await stage.ask("hello")
