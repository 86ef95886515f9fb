"""A session in the place of another: what was typed is kept, nothing of the old pane stays alive."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

from textual import events
from textual.selection import SELECT_ALL
from textual.widget import Widget

from core.base.errors import CaesuraError
from core.model.messages import UserMessage
from core.storage.store import Store
from tests.support.stored_sessions import made, opened_store
from tests.tui.pane.test_sessions import KeptStage, kept, kept_by
from tui.composer.chips import PASTE_CHARACTERS

if TYPE_CHECKING:
    from pathlib import Path

    from core.storage.journal import OpenedSession
    from core.storage.records import PreImage
    from tui.pane.pane import Pane


def said_in(pane: Pane) -> str:
    text, _ = pane.transcript.get_selection(SELECT_ALL) or ("", "")
    return text


async def until_replaced(stage: KeptStage, pane: weakref.ref[Pane]) -> None:
    await stage.until(lambda: stage.pane is not pane())
    await stage.pilot.pause()


# -- memory --


async def test_nothing_of_a_replaced_pane_stays_alive(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
    async with kept(tmp_path) as stage:
        first = stage.session.session_id
        gone: list[weakref.ref[object]] = []

        async def replace(command: str) -> None:
            pane = weakref.ref(stage.pane)
            for widget in (stage.pane, *stage.pane.walk_children(Widget)):
                # And the lines that were drawn for it.
                gone.extend((weakref.ref(widget), weakref.ref(widget._styles_cache)))
            del widget
            await stage.send(command)
            await until_replaced(stage, pane)

        await stage.reply("hello", "I am here.")
        for command in ("/fork", f"/resume {other}", "/new", f"/resume {first}"):
            await replace(command)
        await stage.until_said("I am here.")
        await replace("/clear")

        def all_are_gone() -> bool:
            gc.collect()
            return not any(ref() for ref in gone)

        await stage.until(all_are_gone)


# -- what is sent meanwhile --


class SlowStore(Store):
    """Opens a session, and finds what `/undo` needs, only when `may_open` is set. Sessions called `broken`
    cannot be opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_open = asyncio.Event()

    async def open(self, session_id: str) -> OpenedSession:
        await self.may_open.wait()
        if session_id.startswith("broken"):
            raise CaesuraError(f"{session_id} cannot be read.")
        return await super().open(session_id)

    async def preimages(self, session_id: str, turn: int) -> tuple[PreImage, ...]:
        await self.may_open.wait()
        return await super().preimages(session_id, turn)


class SlowStage(KeptStage):
    def make_store(self, path: Path) -> SlowStore:
        self.slow = SlowStore(path)
        return self.slow


async def test_a_second_opening_that_fails_loses_no_prompt(tmp_path: Path) -> None:
    async with kept_by(SlowStage, tmp_path) as stage:
        session = stage.session
        files = stage.pane.commands.session_files
        files.open("broken-1")
        files.open("broken-2")
        await stage.send("sent meanwhile")
        stage.slow.may_open.set()
        await stage.until_said("broken-2 cannot be read.")
        await stage.model.asked()
        assert stage.session is session
        assert stage.model.requests[-1].messages == (UserMessage("sent meanwhile"),)
        stage.model.finish()
        await stage.until(lambda: "idle" in stage.status)
        await stage.ask("sent afterwards")


async def test_what_is_sent_between_two_openings_follows_to_the_session_that_opens(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
    async with kept_by(SlowStage, tmp_path) as stage:
        before = stage.session
        files = stage.pane.commands.session_files
        files.open(other)
        await stage.send("the first")
        files.open("broken")
        await stage.send("the second")
        stage.slow.may_open.set()
        await stage.until_said("broken cannot be read.")
        await stage.model.asked()
        assert stage.session.session_id == other
        assert stage.model.requests[-1].messages[-1] == UserMessage("the first")
        assert stage.session.queue.texts == ("the second",)
        assert not before.record.steps


async def test_an_enter_that_the_old_composer_has_not_seen_yet_is_not_lost(tmp_path: Path) -> None:
    async with kept(tmp_path) as stage:
        old, first = stage.pane.prompt, stage.session
        is_busy = asyncio.Event()
        old.call_later(is_busy.wait)
        old.insert("sent in time")
        old.post_message(events.Key("enter", "\r"))
        stage.pane.commands.session_files.open(None)
        async with asyncio.timeout(30):
            # Not with the pilot, which waits for every widget.
            while stage.focused() is old:  # noqa: ASYNC110
                await asyncio.sleep(0)
        is_busy.set()
        await stage.model.asked()
        assert stage.session is not first
        assert stage.model.requests[-1].messages == (UserMessage("sent in time"),)


async def test_a_session_that_is_asked_for_twice_is_opened_once(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
    async with kept_by(SlowStage, tmp_path) as stage:
        files = stage.pane.commands.session_files
        files.open(other)
        files.open(other)
        stage.slow.may_open.set()
        await stage.send("go on")
        await stage.model.asked()
        assert stage.session.session_id == other
        assert not stage.session.read_only


async def test_no_pane_is_replaced_while_files_are_put_back_for_it(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
    async with kept_by(SlowStage, tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        pane = stage.pane
        await stage.send("/undo")
        pane.commands.open_listed(other)
        await stage.until_said("Files are being put back or a session is being copied: wait for that.")
        await stage.press("ctrl+p", *"new", "enter")
        assert stage.pane is pane
        stage.slow.may_open.set()
        await stage.until(lambda: stage.pane is not pane)
        assert "There is nothing to put back" in said_in(pane), "before the new session took its place"


async def test_esc_twice_while_files_are_put_back_says_so(tmp_path: Path) -> None:
    async with kept_by(SlowStage, tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        pane = stage.pane
        await stage.send("/undo")
        # Long after the end of the turn.
        stage.later += 10
        await stage.press("escape", "escape")
        await stage.until_said("Files are being put back or a session is being copied: wait for that.")
        stage.slow.may_open.set()
        await stage.until_said("There is nothing to put back")
        assert stage.pane is pane


async def test_files_are_not_put_back_in_a_pane_that_is_about_to_go(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
    async with kept_by(SlowStage, tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        files = stage.pane.commands.session_files
        files.open(other)
        stage.pane.commands.do_first(files.rewind(1, put_files_back=True))
        await stage.until_said("Another session is being opened: wait for that.")
        stage.slow.may_open.set()
        await stage.until(lambda: stage.session.session_id == other)


# -- what is written, and what Up recalls --


async def test_a_large_paste_goes_along_as_the_chip_that_it_was(tmp_path: Path) -> None:
    pasted = "0123456789" * PASTE_CHARACTERS
    async with kept(tmp_path) as stage:
        stage.pane.prompt.insert("see ")
        stage.pane.prompt.insert_paste(pasted)
        shown = stage.pane.prompt.text
        pane = weakref.ref(stage.pane)
        stage.pane.commands.session_files.open(None)
        await until_replaced(stage, pane)
        await stage.until(lambda: stage.pane.prompt.text == shown)
        assert len(shown) < 100
        assert stage.pane.prompt.draft == f"see {pasted}"
        await stage.press("enter")
        await stage.model.asked()
        assert stage.model.requests[-1].messages == (UserMessage(f"see {pasted}"),)


async def test_up_finds_what_was_sent_before_another_session_was_opened(tmp_path: Path) -> None:
    async with opened_store(tmp_path / "caesura.db") as store:
        other = await made(store, "It was said.", workspace=str(tmp_path))
        turns = (await store.load(other)).turns
    async with kept(tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        pane = weakref.ref(stage.pane)
        await stage.send("/new")
        await until_replaced(stage, pane)
        await stage.press("up")
        assert stage.pane.prompt.draft == "/new"
        await stage.press("up")
        assert stage.pane.prompt.draft == "hello"
        await stage.press("down", "down")
        assert stage.pane.prompt.is_empty
        pane = weakref.ref(stage.pane)
        await stage.send(f"/resume {other}")
        await until_replaced(stage, pane)
        await stage.until_said("It was said.")
        await stage.press("up")
        assert stage.pane.prompt.draft == turns[-1].prompt


async def test_up_finds_the_prompts_of_the_session_that_the_program_goes_on_with(tmp_path: Path) -> None:
    async with kept(tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        session_id = stage.session.session_id
    async with kept(tmp_path, first=session_id) as stage:
        await stage.until_said("I am here.")
        await stage.press("up")
        assert stage.pane.prompt.draft == "hello"


async def test_a_draft_that_an_old_prompt_hides_goes_along(tmp_path: Path) -> None:
    async with kept(tmp_path) as stage:
        await stage.reply("hello", "I am here.")
        await stage.press(*"draft", "up")
        assert stage.pane.prompt.draft == "hello"
        pane = weakref.ref(stage.pane)
        stage.pane.commands.session_files.open(None)
        await until_replaced(stage, pane)
        await stage.until(lambda: stage.pane.prompt.draft == "hello")
        await stage.press("down")
        assert stage.pane.prompt.draft == "draft"
