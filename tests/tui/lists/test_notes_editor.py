"""The notes of the workspace on the screen: every key, and that nothing that was written is lost."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual import events

from core.base.file_locks import FileLock
from core.context.memory_file import BACKUP, MOST_BYTES, NAME, MemoryChanged, memory_folder
from core.context.memory_notes import MOST_CHARACTERS
from core.operations.events import Status
from tests.support.scripted_tools import WORKSPACE
from tests.support.snapshots import looks_right, pictures
from tests.tui.lists.stage import HERE, ListApp, ListStage, PlayedShelf
from tests.tui.stage import Stage, staged
from tui.lists.base.sources import WorkspaceNotes
from tui.lists.notes_editor import AGAIN_S, NotesEditor, UnsavedNotes
from tui.terminal.interrupt import InterruptKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.snapshots import SnapCompare

AGAIN = "Esc again throws the changes away, Ctrl+S saves"
OLD = "- tests: make test\n- the person is called Ada\n"


def notes_file() -> Path:
    """The notes of the workspace in which the application is started here."""
    return memory_folder(WORKSPACE.root) / NAME


def write(text: str) -> None:
    notes_file().parent.mkdir(parents=True, exist_ok=True)
    notes_file().write_text(text, encoding="utf-8")


def editor(stage: Stage) -> NotesEditor:
    return stage.app.query_one(NotesEditor)


def is_open(stage: Stage) -> bool:
    return stage.pane.lists.is_open


def shown(stage: Stage) -> str:
    """All that stands over the transcript."""
    region = stage.pane.lists.region
    rows = stage.app.screen._compositor.render_strips()[region.y : region.bottom]
    return "\n".join(row.crop(region.x, region.right).text.rstrip() for row in rows)


def said(stage: Stage) -> str:
    """The same, as one line without the frame."""
    return " ".join(shown(stage).replace("│", " ").split())


async def open_notes(stage: Stage) -> None:
    await stage.send("/memory")
    await stage.until(lambda: stage.app.query(NotesEditor) and "Reading…" not in shown(stage))
    await stage.pilot.pause()


@asynccontextmanager
async def opened(text: str = OLD, *, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    """The application with these notes open."""
    if text:
        write(text)
    async with staged(size) as stage:
        await open_notes(stage)
        yield stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as stage:
        yield stage


async def click(stage: Stage, words: str) -> None:
    region = stage.pane.lists.region
    rows = shown(stage).split("\n")
    y = next(at for at, row in enumerate(rows) if words in row)
    await stage.pilot.click(offset=(region.x + rows[y].index(words), region.y + y))
    await stage.pilot.pause()


# -- showing and saving --


async def test_notes_are_shown_with_their_path_changed_and_saved() -> None:
    async with opened(size=(140, 45)) as stage:
        assert "tests: make test" in shown(stage)
        assert f"caesura/workspaces/{notes_file().parent.name}/{NAME}" in shown(stage)
        assert stage.focused() is editor(stage).area
        await stage.press("ctrl+end", *"- new", "enter", "ctrl+s")
        await stage.until(lambda: not is_open(stage))
        assert notes_file().read_text() == OLD + "- new\n"
        assert "Notes saved." in stage.transcript
        assert stage.focused() is stage.pane.prompt


async def test_empty_notes_say_what_they_are_for_and_are_made_by_saving() -> None:
    async with opened("") as stage:
        assert "told to the model in every conversation" in said(stage)
        assert "[jobs] memory = false" in said(stage)
        await stage.press(*"- é", "ctrl+s")
        await stage.until(lambda: not is_open(stage))
        assert notes_file().read_text() == "- é"
        assert notes_file().stat().st_mode & 0o777 == 0o600


async def test_nothing_is_written_where_nothing_was_changed(stage: Stage) -> None:
    before = notes_file().stat()
    await stage.press("x", "backspace", "ctrl+s")
    assert not is_open(stage)
    assert "nothing to save" in stage.transcript
    assert notes_file().stat() == before


async def test_keys_act_in_the_order_they_were_typed_in() -> None:
    """Also what came while the notes were still being read, and behind the key that saves."""
    async with staged() as stage:
        stage.pane.commands.show_memory()
        await stage.type_at_once("- a\n- b")
        await stage.until(lambda: editor(stage).area.text == "- a\n- b")
        for key in ("c", "backspace", "d", "ctrl+s", "e"):
            stage.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await stage.until(lambda: "Saved without what you wrote since" in shown(stage))
        assert notes_file().read_text() == "- a\n- bd"
        assert editor(stage).area.text == "- a\n- bde"
        await stage.press("ctrl+s")
        await stage.until(lambda: not is_open(stage))
        assert notes_file().read_text() == "- a\n- bde"
        assert stage.pane.prompt.is_empty


async def test_it_edits_as_the_composer_does() -> None:
    async with opened("one\ntwo\n") as stage:
        area = editor(stage).area
        await stage.press("ctrl+end", "x", "ctrl+j", "y", "alt+enter", "ctrl+home", "ctrl+k", "z")
        assert area.text == "z\ntwo\nx\ny\n"
        await stage.press("ctrl+z", "ctrl+z")
        assert area.text.startswith("one\n")
        await stage.press(*["ctrl+z"] * 9)
        assert area.text == "one\ntwo\n"
        await stage.press("escape")
        assert not is_open(stage)


# -- leaving --


@pytest.mark.promise("E1")
async def test_esc_closes_unchanged_notes_at_once_and_leaves_the_draft(stage: Stage) -> None:
    stage.pane.prompt.set_text_if_empty("a draft")
    assert "Esc closes" in stage.status
    await stage.press("down", "escape", "!")
    assert not is_open(stage)
    assert stage.pane.prompt.draft == "a draft!"


@pytest.mark.promise("E1")
@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_changes_are_thrown_away_only_by_a_second_esc_that_means_it(stage: Stage, key: str) -> None:
    area = editor(stage).area
    await stage.press("x", key)
    assert AGAIN in shown(stage)
    # One that bounces, or is held down.
    await stage.press(key)
    assert is_open(stage)
    # Whoever goes on to write has not meant it.
    stage.later += 2 * AGAIN_S
    await stage.press("y")
    assert AGAIN not in shown(stage)
    await stage.press(key)
    assert AGAIN in shown(stage)
    assert area.text == f"xy{OLD}"
    stage.later += 2 * AGAIN_S
    await stage.press(key)
    await stage.until(lambda: not is_open(stage))
    assert notes_file().read_text() == OLD
    assert stage.exit_code() is None
    await open_notes(stage)
    assert editor(stage).area.text == OLD


@pytest.mark.promise("E1")
async def test_esc_does_not_overtake_what_was_typed_before_it(stage: Stage) -> None:
    for key in ("x", "escape", "y"):
        stage.app.post_message(events.Key(key, key if len(key) == 1 else None))
    await stage.pilot.pause()
    await stage.pilot.pause()
    assert is_open(stage)
    assert editor(stage).area.text == f"xy{OLD}"


@pytest.mark.promise("E1", "E2")
async def test_under_a_running_turn_esc_closes_and_ctrl_c_stops() -> None:
    write(OLD)
    async with staged() as stage:
        await stage.ask("hello")
        await open_notes(stage)
        await stage.press("x")
        assert not await stage.press_at_once(InterruptKey.ESCAPE)
        await stage.press("escape")
        assert AGAIN in shown(stage)
        assert stage.does(Status.RUNNING)
        assert await stage.press_at_once(InterruptKey.CTRL_C)
        await stage.until(lambda: stage.does(Status.IDLE))
        assert editor(stage).area.text == f"x{OLD}"
        assert stage.focused() is editor(stage).area
        # The same key as an ordinary one.
        await stage.press("tab")
        await stage.ask("again")
        await stage.press("tab", "ctrl+c")
        await stage.until(lambda: stage.does(Status.IDLE))
        assert editor(stage).area.text == f"x{OLD}"


@pytest.mark.promise("E1")
async def test_nothing_else_takes_the_place_of_notes_that_are_not_saved(stage: Stage) -> None:
    for command in ("/rewind", "/new", "/fork"):
        await stage.press("x")
        assert "Esc twice" not in said(stage)
        stage.pane.prompt.focus()
        await stage.send(command)
        await stage.until(lambda: "Esc twice throws the changes away" in said(stage))
        assert stage.focused() is editor(stage).area
        stage.pane.prompt.clear_undoable()
    with pytest.raises(UnsavedNotes):
        stage.pane.lists.open_sessions(PlayedShelf(), HERE)
    await stage.press("tab")
    await stage.send("/memory")
    assert stage.focused() is editor(stage).area
    assert editor(stage).area.text == f"xxx{OLD}"
    # Unchanged, they give way.
    await stage.press(*["backspace"] * 3)
    stage.pane.prompt.focus()
    await stage.send("/rewind")
    await stage.until(lambda: not stage.app.query(NotesEditor))
    assert "Rewind" in shown(stage)


# -- what others do to the file --


async def test_what_others_wrote_is_replaced_only_after_it_was_said_and_is_kept(stage: Stage) -> None:
    await stage.press(*"my ")
    write(OLD + "- from a job\n")
    await stage.press("ctrl+s")
    await stage.until(lambda: "changed meanwhile (1 line new)" in said(stage))
    assert notes_file().read_text() == OLD + "- from a job\n"
    assert editor(stage).area.text == f"my {OLD}"
    assert "^S overwrite" in shown(stage)
    # Once more, before the answer.
    write("- all new\n")
    await stage.press("ctrl+s")
    await stage.until(lambda: "(1 line new, 3 lines gone)" in said(stage))
    assert notes_file().read_text() == "- all new\n"
    await stage.press("ctrl+s")
    await stage.until(lambda: not is_open(stage))
    assert notes_file().read_text() == f"my {OLD}"
    assert notes_file().with_name(BACKUP).read_text() == "- all new\n"


async def test_a_file_that_was_removed_meanwhile_costs_no_copy(stage: Stage) -> None:
    kept = notes_file().with_name(BACKUP)
    kept.write_text("kept before", encoding="utf-8")
    await stage.press("x")
    notes_file().unlink()
    await stage.press("ctrl+s")
    await stage.until(lambda: "(2 lines gone)" in said(stage))
    await stage.press("ctrl+s")
    await stage.until(lambda: not is_open(stage))
    assert notes_file().read_text() == f"x{OLD}"
    assert kept.read_text() == "kept before"


async def test_a_file_that_says_the_same_already_is_saved(stage: Stage) -> None:
    await stage.press("x")
    write(f"x{OLD}")
    await stage.press("ctrl+s")
    await stage.until(lambda: not is_open(stage))
    assert "Notes saved." in stage.transcript


@pytest.mark.promise("E1")
async def test_esc_after_a_conflict_asks_as_well(stage: Stage) -> None:
    await stage.press("x")
    write("other")
    await stage.press("ctrl+s")
    await stage.until(lambda: "changed meanwhile" in said(stage))
    await stage.press("escape")
    assert AGAIN in shown(stage)
    stage.later += 2 * AGAIN_S
    await stage.press("escape")
    await stage.until(lambda: not is_open(stage))
    assert notes_file().read_text() == "other"


async def test_who_does_not_wait_for_the_saving_is_told_of_it_later(stage: Stage) -> None:
    lock = FileLock.take(notes_file().with_name(f"{NAME}.lock"))
    await stage.press("x", "ctrl+s", "escape")
    assert "Saving… Esc again closes" in shown(stage)
    await stage.press("ctrl+s")
    stage.later += 2 * AGAIN_S
    await stage.press("escape")
    await stage.until(lambda: not is_open(stage))
    assert notes_file().read_text() == OLD
    lock.release()
    await stage.until_said("Notes saved.")
    assert notes_file().read_text() == f"x{OLD}"


# -- what cannot be done --


async def test_notes_that_cannot_be_written_stay_on_the_screen(stage: Stage) -> None:
    await stage.press("x")
    lock = notes_file().with_name(f"{NAME}.lock")
    lock.symlink_to("elsewhere")
    await stage.press("ctrl+s")
    await stage.until(lambda: "is a link" in said(stage))
    assert f"{NAME} is not written: remove it." in said(stage), shown(stage)
    assert editor(stage).area.text == f"x{OLD}"
    assert notes_file().read_text() == OLD
    lock.unlink()
    await stage.press("ctrl+s")
    await stage.until(lambda: not is_open(stage))
    assert notes_file().read_text() == f"x{OLD}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"caf\xe9", "is not UTF-8 text (byte 3)"),
        (b"x" * (MOST_BYTES + 1), "is larger than 512 kB"),
        (b"x" * (MOST_CHARACTERS + 1), "too long to be edited here"),
    ],
)
async def test_notes_that_cannot_be_shown_are_left_alone(content: bytes, why: str) -> None:
    notes_file().parent.mkdir(parents=True)
    notes_file().write_bytes(content)
    async with opened("") as stage:
        assert why in said(stage)
        await stage.press("x", "enter", "ctrl+v", "ctrl+s")
        assert editor(stage).area.text == ""
        await stage.press("escape")
        assert not is_open(stage)
        assert notes_file().read_bytes() == content


async def test_characters_that_cannot_be_shown_are_replaced_and_that_is_said() -> None:
    strange = "\x1b]0;x\x07 [red]\u202e\r\nnext\u2028one"
    async with opened(strange) as stage:
        assert "Some characters cannot be shown" in shown(stage)
        assert "␛]0;x␇ [red]" in shown(stage)
        await stage.press("escape")
        assert not is_open(stage)
        assert notes_file().read_bytes() == strange.encode()


async def test_a_paste_is_text_and_has_a_limit(stage: Stage) -> None:
    area = editor(stage).area
    stage.app.post_message(events.Paste("a\x1b\nb"))
    await stage.until(lambda: area.text == f"a␛\nb{OLD}")
    stage.app.post_message(events.Paste("x" * MOST_CHARACTERS))
    await stage.until(lambda: "That is too much" in shown(stage))
    assert area.text == f"a␛\nb{OLD}"


# -- small windows, the mouse --


@pytest.mark.parametrize("size", [(20, 5), (10, 3), (200, 60)])
async def test_it_works_in_a_window_of_any_size(size: tuple[int, int]) -> None:
    async with opened(size=size) as stage:
        if size == (20, 5):
            assert shown(stage).split("\n") == ["- tests: make test", "- the person is", "^S save  Esc close"]
        await stage.press("x", "escape")
        if size == (20, 5):
            expected = ["x- tests: make", "Not saved yet", "^S save  Esc discard"]
            assert shown(stage).split("\n") == expected
        assert is_open(stage)
        write("other")
        await stage.press("ctrl+s")
        await stage.until(lambda: editor(stage)._overwrites)
        if size == (20, 5):
            assert "! memory.md was" in shown(stage)
            assert "x- tests: make" in shown(stage)
        await stage.press("ctrl+s")
        await stage.until(lambda: not is_open(stage))
        assert notes_file().read_text() == f"x{OLD}"


@pytest.mark.parametrize("size", [(80, 24), (20, 5)])
async def test_the_mouse_does_all_of_it(size: tuple[int, int]) -> None:
    async with opened(size=size) as stage:
        await click(stage, "Esc close")
        await stage.until(lambda: not is_open(stage))
        await open_notes(stage)
        await click(stage, "person")
        await stage.press("x")
        assert editor(stage).area.text == OLD.replace("person", "xperson")
        await click(stage, "Esc close")
        stage.later += 2 * AGAIN_S
        await stage.until(lambda: "discard" in shown(stage))
        await click(stage, "discard")
        await stage.until(lambda: not is_open(stage))
        assert notes_file().read_text() == OLD
        await open_notes(stage)
        await stage.press("y")
        await click(stage, "^S save")
        await stage.until(lambda: not is_open(stage))
        assert notes_file().read_text() == f"y{OLD}"


# -- pictures --


@dataclass
class PlayedNotes:
    """Notes with a path that is the same in every picture."""

    text: str = """\
# Caesura

- tests are run with `make test`, a single one with `pytest -k`
- the person wants short answers, in English, and no emoji
- `core` never imports `textual`; this is checked by tests/test_imports.py
- releases are tagged on Fridays, after the whole suite has passed twice on both interpreters
"""
    path: Path = field(
        default_factory=lambda: (
            Path.home() / ".local/share/caesura/workspaces/caesura-0f1e2d3c4b5a6978" / NAME
        )
    )

    async def load_memory(self) -> WorkspaceNotes:
        return WorkspaceNotes(self.path, self.text)

    async def save_memory(self, text: str, *, read: str) -> None:
        raise AssertionError

    async def replace_memory(self, text: str, *, read: str) -> None:
        raise AssertionError


async def _open(stage: ListStage, notes: PlayedNotes) -> None:
    stage.app.lists.open_notes(notes)
    await stage.until(lambda: stage.text.strip() and "Reading…" not in stage.text)


async def show_notes(stage: ListStage) -> None:
    await _open(stage, PlayedNotes())


async def show_empty(stage: ListStage) -> None:
    await _open(stage, PlayedNotes(""))


async def show_asking(stage: ListStage) -> None:
    await show_notes(stage)
    await stage.press("ctrl+end", *"- new", "escape")


async def show_conflict(stage: ListStage) -> None:
    class Changed(PlayedNotes):
        async def save_memory(self, text: str, *, read: str) -> None:
            self.text += "- written by a job\n"
            raise MemoryChanged("changed")

    await _open(stage, Changed())
    await stage.press("ctrl+end", *"- new", "ctrl+s")
    await stage.until(lambda: "overwrite" in stage.text)


SCENES = {"notes": show_notes, "empty": show_empty, "asking": show_asking, "conflict": show_conflict}


@pictures(SCENES, wide=("notes",))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[ListStage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, ListStage(ListApp()), show, size)
