"""Panes over sessions in a real file: one in the place of another, what is typed meanwhile, and a crash."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest
from msgspec.structs import replace

from core.model.messages import UserMessage
from core.model.provider import ModelChoice
from core.operations.events import Outcome
from core.session.archive import Sessions
from core.session.session import Session
from core.storage.journal import BegunTurn, EndedTurn, NewTitle
from core.storage.records import TurnRecord
from core.storage.store import Store
from tests.support.scripted_tools import equipped
from tests.support.stored_sessions import made, opened_store
from tests.tui.stage import MODEL, Stage
from tui.app.app import CaesuraApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from core.storage.journal import Journal, OpenedSession

CRASHED = "3f2a91bc77d0a1e2"
PROMPT = "How does a stop travel through Caesura?"


class KeptStage(Stage):
    """A stage whose sessions are in a file in `folder`, which is their workspace too."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.workspace = folder
        self.store = self.make_store(folder / "caesura.db")
        self.sessions = Sessions(self.store, self._make, folder)
        self.make_app(self.sessions.new)

    def make_store(self, path: Path) -> Store:
        return Store(path)

    def make_app(self, make_session: Callable[[], Session]) -> None:
        self.app = CaesuraApp(make_session, self.sessions, clock=self._clock)

    def _make(self, opened: OpenedSession | None) -> Session:
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


AnyStage = TypeVar("AnyStage", bound=KeptStage)


@asynccontextmanager
async def kept_by(make: type[AnyStage], folder: Path, *, first: str | None = None) -> AsyncIterator[AnyStage]:
    """The application over sessions in `folder`; it begins with the session `first`, or a new one."""
    stage = make(folder)
    if first is not None:
        session = await stage.sessions.open(first)
        stage.make_app(lambda: session)
    async with stage.running():
        yield stage
    await stage.sessions.aclose()


def kept(folder: Path, *, first: str | None = None) -> AbstractAsyncContextManager[KeptStage]:
    """`kept_by` with the usual stage."""
    return kept_by(KeptStage, folder, first=first)


async def crash(folder: Path, session_id: str = CRASHED, title: str = "") -> None:
    """Leave a session in the file in which the program has died."""
    async with opened_store(folder / "caesura.db") as store:
        journal = store.create(session_id, str(folder), MODEL)
        journal.add(BegunTurn(TurnRecord(1, PROMPT, 1.0), UserMessage(PROMPT)))
        if title:
            journal.add(NewTitle(title))
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
        assert len(before.record.steps) == 1
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
        stage.pane.commands.session_files.open(other)
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
        await stage.pane.commands.session_files.offer_crashed()
        assert "died" not in stage.transcript


async def test_only_the_last_session_of_this_workspace_is_offered(tmp_path: Path) -> None:
    await crash(tmp_path)
    async with opened_store(tmp_path / "caesura.db") as store:
        journal = store.create("later", str(tmp_path), MODEL)
        journal.add(BegunTurn(TurnRecord(1, "p", 9e9), UserMessage("p")))
        journal.add(EndedTurn(TurnRecord(1, "p", 9e9, outcome=Outcome.CANCELLED)))
        await journal.flush()
    async with kept(tmp_path) as stage:
        await stage.pane.commands.session_files.offer_crashed()
        assert "died" not in stage.transcript


async def test_a_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "caesura.db").mkdir()
    async with kept(tmp_path) as stage:
        await stage.until_said("caesura.db")
        await stage.ask("hello")
