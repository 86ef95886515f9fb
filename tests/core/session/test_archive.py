"""The archive of sessions, with real files: what it finds, copies, writes and reads."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from core.base.errors import CaesuraError
from core.model.provider import ModelChoice
from core.operations.registry import Registry
from core.session.archive import LEAST_ID, Archive, Format, NotOneSession, Sessions, id_length
from core.session.session import Session
from core.storage.journal import NewTitle
from core.storage.records import Compaction
from tests.support.no_tools import no_tools
from tests.support.scripted_models import ScriptedProvider
from tests.support.stored_sessions import ROOT, converse, made, opened_store, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.storage.journal import OpenedSession
    from core.storage.store import Store
    from tui.lists.base.sources import SessionSource

HOSTILE = (
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".hidden",
    "-rf *",
    "a\x00b\nc\x1b[2J",
    "half \ud800 of a pair \udcff",
    "\u202eexe.dm",
    "漢" * 300,
    "x" * 5_000,
    "´`$(touch gone)`",
    "",
    "   ",
)


class Kept(NamedTuple):
    store: Store
    archive: Archive

    async def new(self, *texts: str, title: str = "") -> str:
        session_id = await made(self.store, *(texts or ("a reply",)), workspace=str(self.archive.workspace))
        await self.archive.rename(session_id, title)
        return session_id

    def files(self) -> set[str]:
        return {path.name for path in self.archive.workspace.iterdir()}


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    folder = tmp_path / "work"
    folder.mkdir()
    async with opened_store(tmp_path / "data" / "caesura.db") as store:
        yield Kept(store, Archive(store, folder))


def takes_shelf(archive: Archive, sessions: Sessions) -> tuple[SessionSource, ...]:
    """For the type checker: both are what the lists of the screen want."""
    return archive, sessions


# ---- which session


async def test_a_session_is_found_by_the_beginning_of_its_id(kept: Kept) -> None:
    for session_id in ("abcd0001", "abcd0002", "abcd0002ff", "beef"):
        journal = kept.store.create(session_id, "/w", "m")
        await converse(journal, "a")
        journal.add(NewTitle(f"Title\nof \x1b[1m{session_id}"))
        await journal.aclose()
    for beginning, found in (("b", "beef"), ("abcd0001", "abcd0001"), ("abcd0002", "abcd0002")):
        assert (await kept.archive.find(beginning)).session_id == found
    with pytest.raises(NotOneSession, match=r"3 sessions .* begins with 'a'") as caught:
        await kept.archive.find("a")
    assert "abcd0001 ‘Title of ␛[1mabcd0001’" in str(caught.value)
    # Candidates are told apart.
    assert {"abcd0002 ", "abcd0002f "} <= set(re.findall(r"abcd0002\w* ", str(caught.value)))
    for nothing in ("", "c", "abcd0003", "ABCD", "../x", "\ud800", "%", "*"):
        with pytest.raises(NotOneSession, match="`caesura sessions list --all`"):
            await kept.archive.find(nothing)


async def test_many_candidates_are_not_all_named(kept: Kept) -> None:
    for number in range(7):
        await converse(kept.store.create(f"aa{number}", "/w", "m"), "a")
    with pytest.raises(NotOneSession, match=r"7 sessions .* and 3 more\. Give more of the id\."):
        await kept.archive.find("aa")


async def test_what_is_shown_of_an_id_tells_all_apart(kept: Kept) -> None:
    assert id_length(()) == LEAST_ID
    one, other = "0123456789ab", "0123456789cd"
    for session_id in (one, other, "fedcba9876543210"):
        await converse(kept.store.create(session_id, "/w", "m"), "a")
    infos = await kept.archive.sessions()
    length = id_length(infos)
    assert len({info.session_id[:length] for info in infos}) == 3
    assert length == 11


# ---- copies


async def test_a_fork_has_no_more_steps_than_there_are(kept: Kept) -> None:
    session_id = await kept.new("a", "b")
    for asked, steps in ((None, 2), (2, 2), (1, 1), (0, 0)):
        assert len((await kept.archive.load(await kept.archive.fork(session_id, asked))).steps) == steps
    before = await kept.archive.sessions()
    for wrong in (3, -1):
        with pytest.raises(CaesuraError, match=f"has 2 steps: .* not {wrong}"):
            await kept.archive.fork(session_id, wrong)
    assert await kept.archive.sessions() == before


# ---- exports


@pytest.mark.parametrize("title", HOSTILE)
async def test_a_title_makes_no_path(kept: Kept, title: str) -> None:
    names = [await kept.archive.export(await kept.new(title=title), suffix=form) for form in Format]
    assert kept.files() == set(names)
    for name in names:
        assert re.fullmatch(r"caesura-[\w-]+\.(md|json)", name)
        assert len(os.fsencode(name)) < 200
        assert (kept.archive.workspace / name).read_text(encoding="utf-8")
    assert {path.name for path in kept.archive.workspace.parent.iterdir()} == {"work", "data"}


async def test_an_export_is_never_written_over_what_is_there(kept: Kept, tmp_path: Path) -> None:
    session_id = await kept.new(title="Name")
    folder = kept.archive.workspace
    outside = tmp_path / "outside"
    (folder / "caesura-name.md").write_text("mine")
    (folder / "caesura-name-2.md").mkdir()
    (folder / "caesura-name-3.md").symlink_to(outside)
    assert await kept.archive.export(session_id) == "caesura-name-4.md"
    assert await kept.archive.export(session_id) == "caesura-name-5.md"
    for taken in ("caesura-name.md", "caesura-name-2.md", "caesura-name-3.md"):
        with pytest.raises(CaesuraError, match="is there already"):
            await kept.archive.export_to(session_id, folder / taken)
    assert (folder / "caesura-name.md").read_text() == "mine"
    assert not outside.exists()


async def test_a_place_that_takes_no_file_is_told(kept: Kept, tmp_path: Path) -> None:
    session_id = await kept.new()
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path / "gone" / "x.md", file / "x.md", tmp_path / ("x" * 300), Path("nul\x00")):
        with pytest.raises(CaesuraError, match=r"cannot be written \(.+\): choose another place"):
            await kept.archive.export_to(session_id, path)
    kept.archive.workspace.rmdir()
    with pytest.raises(CaesuraError, match="cannot be written"):
        await kept.archive.export(session_id)


def test_a_disk_that_is_full_keeps_no_half_of_an_export(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from core.session.archive import _write_new; "
        "_write_new(Path(sys.argv[1]), 'x' * 100_000)"
    )
    most = 50_000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "export.md"],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CaesuraError" in done.stderr
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


# ---- imports


async def test_what_was_exported_comes_back_here(kept: Kept) -> None:
    session_id = await kept.new("a\x1b[1m", "b\ud800", title="Title \x07")
    path = kept.archive.workspace / await kept.archive.export(session_id, suffix=Format.JSON)
    elsewhere = Archive(kept.store, kept.archive.workspace / "\udcff")
    new_id = await elsewhere.import_file(path)
    old, new = await kept.archive.load(session_id), await kept.archive.load(new_id)
    assert new_id != session_id
    assert (new.steps, new.turns, new.info.title) == (old.steps, old.turns, old.info.title)
    assert new.info.workspace == str(elsewhere.workspace)


async def test_an_editor_may_have_put_a_byte_order_mark_before_it(kept: Kept, tmp_path: Path) -> None:
    text = await kept.archive.text(await kept.new(), Format.JSON)
    (tmp_path / "marked.json").write_text(text, encoding="utf-8-sig")
    assert await kept.archive.import_file(tmp_path / "marked.json")


def _truncated(text: str) -> bytes:
    return text.encode()[: len(text) // 2]


BROKEN: dict[str, Callable[[str], bytes]] = {
    "empty": lambda _: b"",
    "truncated": _truncated,
    "binary": lambda _: bytes(range(256)),
    "markdown": lambda _: b"# Conversation\n",
    "other JSON": lambda _: b"[1, 2]",
    "newer": lambda text: text.replace('"version":1', '"version":99').encode(),
    "no steps": lambda text: text.replace('"steps":[', '"steppes":[').encode(),
    "a huge number": lambda text: text.replace('"created_at":', '"created_at":1e999,"x":').encode(),
    "nested": lambda _: b"[" * 100_000,
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_file_leaves_nothing(kept: Kept, broken: str) -> None:
    text = await kept.archive.text(await kept.new(), Format.JSON)
    path = kept.archive.workspace / "broken.json"
    path.write_bytes(BROKEN[broken](text))
    before = await kept.archive.sessions()
    with pytest.raises(CaesuraError, match=r"[.:] ?"):
        await kept.archive.import_file(path)
    assert await kept.archive.sessions() == before


async def test_what_is_no_file_is_not_imported(kept: Kept, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone", Path("nul\x00")):
        with pytest.raises(CaesuraError, match=r"cannot be read \(.+\): choose another file"):
            await kept.archive.import_file(path)
    assert await kept.archive.sessions() == ()


async def test_an_import_is_whole_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    writes_left = 1_000

    def fail_at_the_end() -> None:
        nonlocal writes_left
        writes_left -= 1
        if writes_left < 0:
            raise OSError(28, "No space left on device")

    async with opened_store(tmp_path / "caesura.db", fail_at_the_end) as store:
        archive = Archive(store, tmp_path)
        session_id = await made(store, "a", "b")
        path.write_text(await archive.text(session_id, Format.JSON))
        writes_left = 0
        with pytest.raises(CaesuraError, match="no space left"):
            await archive.import_file(path)
        writes_left = 1_000
        assert [info.session_id for info in await archive.sessions()] == [session_id]
        assert await archive.import_file(path)


async def test_a_fork_of_a_compacted_session_can_be_imported(kept: Kept) -> None:
    journal = kept.store.create("s1", "/w", "m")
    await converse(journal, "a", "b", "c")
    journal.add(Compaction(1, 1, "so far", 3.0, trimmed=2, made_after=3))
    await journal.aclose()
    copy = await kept.archive.fork("s1", 1)
    path = kept.archive.workspace / await kept.archive.export(copy, suffix=Format.JSON)
    loaded = await kept.archive.load(await kept.archive.import_file(path))
    assert loaded.steps == (step(0, "a"),)


# ---- sessions that are opened


async def test_a_session_that_another_has_open_is_opened_to_be_read(kept: Kept) -> None:
    def make(opened: OpenedSession | None) -> Session:
        return Session(ScriptedProvider(), Registry(), ModelChoice("m"), no_tools(), opened)

    sessions = Sessions(kept.store, make, kept.archive.workspace)
    assert await sessions.recent() == ()
    older = await kept.new("a", title="older")
    await kept.new("a", "b", title="newer")
    newest, _ = await sessions.recent()
    assert newest.title == "newer"
    first, second = await sessions.open(newest.session_id), await sessions.open(newest.session_id)
    assert first.read_only == ""
    assert "/fork makes a copy" in second.read_only
    found = [(info.session_id, info.in_use) for info in await sessions.recent()]
    assert found == [(newest.session_id, True), (older, False)]
