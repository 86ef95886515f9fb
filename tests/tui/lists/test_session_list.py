"""The list of sessions: what is found, what each key and click does, and that nothing is lost on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from textual import events

from core.base.sanitize import printable
from core.storage.records import SearchMatch
from tests.support.snapshots import looks_right, pictures
from tests.tui.lists.stage import (
    HERE,
    NOW,
    SHELVED,
    ListApp,
    ListStage,
    PlayedShelf,
    SessionInUse,
    info,
    listed,
)
from tui.base.format import AGE_CELLS, format_age
from tui.lists.sessions.actions import Deleting, Renaming, Searching
from tui.lists.sessions.rows import RowContext, SessionRow, SnippetRow, session_rows
from tui.lists.sessions.session_list import SessionList

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.snapshots import SnapCompare


@pytest.fixture
async def stage() -> AsyncIterator[ListStage]:
    """The list of sessions, opened."""
    async with listed() as stage:
        await stage.open_sessions()
        yield stage


def titles(stage: ListStage) -> list[str]:
    """The ids of the sessions that are listed."""
    return list(stage.sessions.rows.keys)


def opened(stage: ListStage) -> list[str]:
    return [one.session_id for one in stage.app.posted if isinstance(one, SessionList.Opened)]


# -- rows --


@given(
    title=st.text(max_size=60),
    snippet=st.text(max_size=90),
    start=st.integers(0, 90),
    workspace=st.text(max_size=40),
    cost=st.none() | st.floats(0, 1e4),
    steps=st.integers(0, 10**5),
    at=st.floats(-1e18, 1e18),
    width=st.integers(8, 200),
)
def test_a_row_is_as_wide_as_the_list_whatever_somebody_called_it(
    title: str,
    snippet: str,
    start: int,
    workspace: str,
    cost: float | None,
    steps: int,
    at: float,
    width: int,
) -> None:
    one = replace(info(1, title), workspace=workspace, cost=cost, steps=steps, updated_at=at)
    hit = SearchMatch(one, 0, snippet, ((start, start + 3), (start + 5, start + 9)))
    context = RowContext(HERE, NOW, "/home/ada")
    everywhere = replace(context, everywhere=True)
    for row in (SessionRow(one, context), SessionRow(one, everywhere), SnippetRow(hit)):
        text = "".join(piece.text for piece in row.line(width, selected=True))
        assert cell_len(text) == width
        assert printable(text) == text
        assert "\n" not in text


@given(st.floats(0, 1e10))
def test_an_age_fits_into_its_column(seconds: float) -> None:
    assert len(format_age(seconds, NOW - seconds)) <= AGE_CELLS


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (60, "1 min ago"),
        (3 * 3600, "3 h ago"),
        (86_400, "1 day ago"),
        (29 * 86_400, "29 days ago"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    assert format_age(seconds, NOW - seconds) == words


def test_the_newest_is_first_and_this_workspace_before_others() -> None:
    here = RowContext(HERE, NOW)
    assert [one.session_id for one in here.listed(reversed(SHELVED))] == ["s1", "s2", "s3", "s4", "s5", "s6"]
    everywhere = replace(here, everywhere=True).listed(reversed(SHELVED))
    assert [one.session_id for one in everywhere][-2:] == ["s7", "s8"]


def test_what_was_found_stands_behind_titles_and_repeats_none() -> None:
    named, other = info(1, "About the keeper"), info(2, "Something else")
    hits = [
        SearchMatch(other, 1, "and the keeper said", ((8, 14),)),
        SearchMatch(named, 0, "About the keeper", ((10, 16),)),
        SearchMatch(info(9, "gone"), 0, "the keeper", ()),
    ]
    context = RowContext(HERE, NOW)
    rows = session_rows([other, named], "KEEPER", hits, context)
    assert rows == [
        SessionRow(named, context, key="s1"),
        SessionRow(other, context, key="s2"),
        SnippetRow(hits[0], key="s2"),
    ]


# -- what is seen --


async def test_what_a_row_says() -> None:
    async with listed((140, 45)) as stage:
        await stage.open_sessions()
        rows = stage.text.split("\n")
        first = next(row for row in rows if "How a stop travels" in row)
        assert all(words in first for words in ("●", "current", "3 min ago", "3 steps", "$0.04"))
        assert "in use" in next(row for row in rows if "Retry" in row)
        assert "$ ?" in next(row for row in rows if "Read the log" in row)
        assert "untitled" in stage.text
        assert "Translate the invoice" not in stage.text
        await stage.press("ctrl+a")
        assert "…/ada/letters/2026" in next(
            row for row in stage.text.split("\n") if "invoice" in row
        ).replace("/home/ada", "…/ada")


async def test_an_empty_shelf_and_one_of_others() -> None:
    async with listed(shelf=PlayedShelf(())) as stage:
        await stage.open_sessions()
        assert "No session is kept yet." in stage.text
        await stage.press("enter", "ctrl+d", "ctrl+r", "up", "pagedown", "ctrl+end")
        assert stage.app.posted == []
        stage.shelf.kept = SHELVED[6:]
        await stage.press("escape")
        await stage.open_sessions()
        assert "^A shows 2 of others" in stage.text
        await stage.press("ctrl+a")
        assert titles(stage) == ["s7", "s8"]


@pytest.mark.parametrize("size", [(20, 5), (10, 3), (80, 24)])
async def test_it_works_in_a_window_of_any_size(size: tuple[int, int]) -> None:
    async with listed(size) as stage:
        await stage.open_sessions()
        await stage.press("down")
        assert stage.chosen.startswith("› ○") or size[0] < 20
        await stage.press("ctrl+d")
        assert isinstance(stage.sessions.use, Deleting)
        if size[0] >= 20:
            assert "Delete? y/n" in stage.text
        await stage.press("n", "enter")
        assert opened(stage) == ["s2"]


# -- keys --


async def test_keys_select_and_enter_opens_once(stage: ListStage) -> None:
    for key, session_id in (
        ("down", "s2"),
        ("ctrl+end", "s6"),
        ("down", "s6"),
        ("up", "s5"),
        ("ctrl+home", "s1"),
        ("pagedown", "s6"),
        ("pageup", "s1"),
        ("down", "s2"),
    ):
        await stage.press(key)
        assert stage.sessions.rows.selected == session_id
    await stage.press("enter", "enter")
    assert opened(stage) == ["s2"]
    # It stays until it is closed, or told why it cannot be.
    stage.app.lists.fail("Session s2 is locked by another program: close that one.")
    await stage.pilot.pause()
    assert "! Session s2 is locked by another program" in stage.text
    await stage.press("enter")
    assert opened(stage) == ["s2", "s2"]


async def test_the_session_on_the_screen_is_only_gone_back_to(stage: ListStage) -> None:
    await stage.press("ctrl+d")
    assert "This session is on the screen" in stage.text
    await stage.press("enter")
    assert not stage.app.lists.is_open
    assert opened(stage) == []
    assert stage.app.screen.focused is stage.app.prompt


@pytest.mark.promise("E1")
async def test_one_esc_closes_it_and_leaves_the_draft() -> None:
    async with listed() as stage:
        stage.app.prompt.set_text_if_empty("a draft")
        await stage.open_sessions()
        await stage.press(*"retry", "escape", *"!")
        assert not stage.app.lists.is_open
        assert "a draft" in stage.app.prompt.draft
        assert "retry" not in stage.app.prompt.draft
        assert "!" in stage.app.prompt.draft


# -- searching --


async def test_typing_finds_titles_at_once_and_texts_when_they_come() -> None:
    shelf = PlayedShelf(texts={"s3": "it said that the keeper had died"})
    shelf.hold("search", "keeper")
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        await stage.press("down", *"keeper")
        assert titles(stage) == ["s6"]
        shelf.release("search", "keeper")
        await stage.until(lambda: titles(stage) == ["s6", "s3"])
        await stage.pilot.pause()
        assert "│ it said that the keeper had died" in stage.text
        assert stage.sessions.rows.selected == "s6"
        await stage.press(*["backspace"] * 6)
        assert len(titles(stage)) == 6


async def test_a_late_answer_is_dropped_and_only_the_latest_words_are_asked_for() -> None:
    shelf = PlayedShelf(texts={"s3": "keel", "s4": "keeper"})
    shelf.hold("search", "k")
    shelf.hold("search", "keeper")
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        await stage.press("k", *"eeper")
        shelf.release("search", "k")
        await stage.until(lambda: ("search", "keeper") in shelf.calls)
        assert titles(stage) == ["s6"]
        shelf.release("search", "keeper")
        await stage.until(lambda: stage.sessions._lookup.is_answered)
        assert [call[1] for call in shelf.calls if call[0] == "search"] == ["k", "keeper"]
        assert titles(stage) == ["s6", "s4"]


async def test_no_hit_is_said_and_so_is_that_there_may_be_one_elsewhere(stage: ListStage) -> None:
    await stage.press(*"invoice")
    await stage.until(lambda: "Nothing found; ^A searches all workspaces." in stage.text)
    await stage.press("enter", "ctrl+f")
    assert stage.app.posted == []
    await stage.press("ctrl+a")
    assert titles(stage) == ["s7"]


async def test_enter_acts_on_what_was_typed_before_it(stage: ListStage) -> None:
    await stage.type_at_once(*"rebase", "enter")
    assert opened(stage) == ["s3"]


async def test_a_search_that_fails_is_told_and_titles_are_found() -> None:
    shelf = PlayedShelf(failure={"search": SessionInUse("The file is being repaired: search again later.")})
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        await stage.press(*"keeper")
        await stage.until(lambda: "! The file is being repaired" in stage.text)
        assert titles(stage) == ["s6"]
        assert shelf.calls.count(("search", "keeper")) == 1


# -- naming --


@pytest.mark.parametrize("key", ["ctrl+r", "f2"])
async def test_a_new_title_is_typed_in_place(stage: ListStage, key: str) -> None:
    await stage.press(*"retry", key)
    assert "New title Retry with a countdown" in stage.text
    # KeyHints edit while a title is typed.
    await stage.press("ctrl+a", "ctrl+k", *"Back-off", "enter")
    await stage.until(lambda: "Renamed." in stage.text)
    assert ("rename", "s2", "Back-off") in stage.shelf.calls
    assert stage.sessions.line.value == "retry"
    assert isinstance(stage.sessions.use, Searching)


@pytest.mark.promise("E1")
async def test_esc_keeps_the_title_and_the_list(stage: ListStage) -> None:
    await stage.press("ctrl+r", *"zzz", "escape")
    assert stage.app.lists.is_open
    await stage.press("ctrl+r", "ctrl+u", "enter")
    assert [call for call in stage.shelf.calls if call[0] == "rename"] == []


async def test_a_strange_title_is_text() -> None:
    strange = "[red]\x1b[31mred\x1b[0m \u202eabc\n' \"$(x)"
    shelf = PlayedShelf((info(1, "first"), info(2, strange)))
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        assert printable(stage.text.replace("\n", "")) == stage.text.replace("\n", "")
        await stage.press("down", "ctrl+r")
        stage.app.post_message(events.Paste("\x1b]0;x\x07[b]é語👍[/b]\nsecond line"))
        await stage.press("enter")
        await stage.until(lambda: "Renamed." in stage.text)
        title = next(call[2] for call in shelf.calls if call[0] == "rename")
        assert printable(title) == title
        assert "[b]é語👍[/b]" in title
        assert "second line" not in title
        await stage.press("ctrl+d")
        assert "Delete ‘[red]" in stage.text


async def test_a_title_that_could_not_be_saved_is_there_again() -> None:
    shelf = PlayedShelf(failure={"rename": SessionInUse("Another Caesura has it open: rename it there.")})
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        await stage.press("ctrl+r", "ctrl+u", *"precious", "enter")
        await stage.until(lambda: "! Another Caesura has it open" in stage.text)
        shelf.failure.clear()
        await stage.press("ctrl+r")
        assert stage.sessions.line.value == "precious"
        await stage.press("enter")
        await stage.until(lambda: "Renamed." in stage.text)


async def test_what_was_asked_for_is_done_though_the_list_has_closed() -> None:
    shelf = PlayedShelf(failure={"rename": SessionInUse("Not renamed: the disk is full.")})
    async with listed(shelf=shelf) as stage:
        shelf.hold("rename", "s1", "x")
        await stage.open_sessions()
        await stage.press("ctrl+r", "ctrl+u", "x", "enter", "escape")
        assert not stage.app.lists.is_open
        shelf.release("rename", "s1", "x")
        await stage.until(lambda: stage.app.told)
        assert stage.app.told == ["Not renamed: the disk is full."]


# -- deleting --


@pytest.mark.parametrize("key", ["ctrl+d", "delete"])
async def test_deleting_is_asked_about_by_name(stage: ListStage, key: str) -> None:
    await stage.press("down", key)
    assert "Delete ‘Retry with a countdown" in stage.text
    await stage.press("a", "enter", "space", "down", key)
    assert isinstance(stage.sessions.use, Deleting)
    await stage.press("y")
    await stage.until(lambda: "Deleted ‘Retry" in stage.text)
    assert [call for call in stage.shelf.calls if call[0] == "delete"] == [("delete", "s2")]
    # The next one is selected, and nothing happens to it.
    assert stage.sessions.rows.selected == "s3"
    await stage.press("y")
    assert stage.sessions.line.value == "y"


@pytest.mark.promise("E1")
@pytest.mark.parametrize("key", ["n", "escape"])
async def test_no_and_esc_keep_it(stage: ListStage, key: str) -> None:
    await stage.press(*"retry", "ctrl+d", key)
    assert stage.app.lists.is_open
    assert stage.sessions.line.value == "retry"
    assert "delete" not in {call[0] for call in stage.shelf.calls}


async def test_the_delete_key_edits_where_there_is_something_to_edit(stage: ListStage) -> None:
    await stage.press("down", *"xretry", "home", "delete")
    assert stage.sessions.line.value == "retry"
    assert isinstance(stage.sessions.use, Searching)


async def test_the_question_is_about_the_session_that_was_selected_then(stage: ListStage) -> None:
    await stage.press("down", "ctrl+d")
    stage.shelf.kept = tuple(one for one in SHELVED if one.session_id != "s1")
    stage.sessions._lookup.load(select="s4")
    await stage.until(lambda: stage.sessions.rows.selected == "s4")
    await stage.press("y")
    await stage.until(lambda: "Deleted ‘Retry" in stage.text)


# -- forks and exports --


async def test_a_fork_is_selected_and_an_export_named(stage: ListStage) -> None:
    await stage.press("down", "ctrl+f")
    await stage.until(lambda: stage.sessions.rows.selected == "copy")
    await stage.press("ctrl+e")
    await stage.until(lambda: "Exported to /home/ada/exports/copy.md" in stage.text)
    await stage.press("enter")
    assert opened(stage) == ["copy"]


@pytest.mark.parametrize(
    ("call", "keys"), [("delete", ("ctrl+d", "y")), ("fork", ("ctrl+f",)), ("export", ("ctrl+e",))]
)
async def test_what_fails_is_told_in_the_list(call: str, keys: tuple[str, ...]) -> None:
    shelf = PlayedShelf(failure={call: SessionInUse("Process 4711 has it open: close it there.")})
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        await stage.press("down", *keys)
        await stage.until(lambda: "! Process 4711 has it open" in stage.text)
        assert titles(stage) == ["s1", "s2", "s3", "s4", "s5", "s6"]
        assert stage.sessions.rows.selected == "s2"


async def test_sessions_that_cannot_be_read_are_no_end() -> None:
    shelf = PlayedShelf(failure={"sessions": SessionInUse("The file of sessions is damaged.")})
    async with listed(shelf=shelf) as stage:
        await stage.open_sessions()
        assert "! The file of sessions is damaged." in stage.text
        await stage.press("escape")
        assert not stage.app.lists.is_open


# -- the mouse --


async def test_a_click_selects_and_a_second_opens(stage: ListStage) -> None:
    await stage.click("Read the log")
    assert opened(stage) == []
    assert stage.sessions.rows.selected == "s4"
    assert stage.app.screen.focused is stage.sessions.line
    await stage.click("Read the log")
    assert opened(stage) == ["s4"]


async def test_the_foot_can_be_clicked(stage: ListStage) -> None:
    await stage.click("Retry")
    await stage.click("^R rename")
    assert isinstance(stage.sessions.use, Renaming)
    await stage.click("keep the title")
    await stage.click("^D delete")
    await stage.click("delete for good")
    await stage.until(lambda: "Deleted" in stage.text)


async def test_a_list_that_moves_under_the_mouse_opens_nothing(stage: ListStage) -> None:
    rows = stage.sessions.rows
    await stage.pilot.mouse_down(rows, offset=(5, 0))
    stage.shelf.kept = SHELVED[1:]
    stage.sessions._lookup.load()
    await stage.until(lambda: titles(stage)[0] == "s2")
    await stage.pilot._post_mouse_events([events.MouseUp, events.Click], rows, offset=(5, 0), button=1)
    assert opened(stage) == []


# -- many --


async def test_a_thousand_sessions_are_one_widget_and_only_rows_in_sight_are_made() -> None:
    many = tuple(info(number, f"Session number {number}", ago=number) for number in range(1, 1001))
    async with listed(shelf=PlayedShelf(many)) as stage:
        await stage.open_sessions()
        rows = stage.sessions.rows
        assert len(titles(stage)) == 1000
        assert len(rows._strips) <= 2 * rows.size.height
        assert list(rows.children) == []
        await stage.press("pagedown", "pagedown", "ctrl+end")
        assert "Session number 1000" in stage.chosen
        await stage.pilot._post_mouse_events([events.MouseScrollUp] * 3, rows, offset=(5, 5), button=0)
        await stage.until(lambda: "› " not in stage.text)
        await stage.press(*"999")
        assert titles(stage) == ["s999"]


# -- pictures --


async def show_list(stage: ListStage) -> None:
    await stage.open_sessions()
    await stage.press("ctrl+a", "down")


async def show_search(stage: ListStage) -> None:
    stage.shelf.texts = {
        "s3": "so the server sees its socket close, and the keeper ends what is left of the command",
        "s6": "… each test of the keeper starts nineteen processes, and waits for the end of each one …",
    }
    await stage.open_sessions()
    await stage.press(*"the keeper")
    await stage.until(lambda: stage.sessions._lookup.is_answered)
    await stage.press("down")


async def show_question(stage: ListStage) -> None:
    await stage.open_sessions()
    await stage.press("down", "down", "ctrl+d")


async def show_rename(stage: ListStage) -> None:
    await stage.open_sessions()
    await stage.press("down", "ctrl+r")


async def show_failure(stage: ListStage) -> None:
    stage.shelf.failure["delete"] = SessionInUse(
        "Another Caesura (process 4711) has this session open: close it there, then delete it here."
    )
    await stage.open_sessions()
    await stage.press("down", "ctrl+d", "y")
    await stage.until(lambda: "4711" in stage.text)


SCENES = {
    "list": show_list,
    "search": show_search,
    "question": show_question,
    "rename": show_rename,
    "failure": show_failure,
}


@pictures(SCENES, wide=("list",))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[ListStage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, ListStage(ListApp()), show, size)
