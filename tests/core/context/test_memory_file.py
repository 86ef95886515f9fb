"""The notes on the disk: never over what a person wrote, never through a link."""

from __future__ import annotations

import os
import stat
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import core.context.memory_file
from core.base.atomic_files import replace_whole
from core.base.folders import data_folder
from core.context.memory_file import (
    BACKUP,
    MOST_BYTES,
    NAME,
    MemoryChanged,
    MemoryFileError,
    load_memory,
    memory_folder,
    merge_memory,
    save_memory,
    shorten_memory,
)
from core.context.memory_notes import Changes
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Callable

NOTES = "# Mine\n- tests run with make\n  - slowly\n\nI like tabs.\n"


def nothing() -> None:
    """A check that lets all pass."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return memory_folder(tmp_path / "work space")


def write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text(text, encoding="utf-8")


def test_notes_are_their_owners_alone(folder: Path, tmp_path: Path) -> None:
    assert folder.is_relative_to(data_folder())
    assert load_memory(folder) == ""
    save_memory(folder, NOTES, read="")
    assert load_memory(folder) == NOTES
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    link = tmp_path / "link"
    (tmp_path / "work space").mkdir()
    link.symlink_to(tmp_path / "work space")
    assert memory_folder(link) == folder
    assert memory_folder(tmp_path / "work_space") != folder
    assert os.sep not in memory_folder(Path("/")).name


def test_what_somebody_else_wrote_is_never_overwritten(folder: Path) -> None:
    save_memory(folder, NOTES, read="")
    write(folder, "- by hand\n")
    with pytest.raises(MemoryChanged):
        save_memory(folder, "- mine\n", read=NOTES)
    with pytest.raises(MemoryChanged):
        shorten_memory(folder, "- short\n", read=NOTES, check=nothing)
    assert not (folder / BACKUP).exists()
    changes = Changes(("new",), ((2, "replaced"),))
    assert merge_memory(folder, changes, read=NOTES, check=nothing) == "- by hand\n- new\n"
    assert load_memory(folder) == "- by hand\n- new\n"


def test_an_edit_in_the_last_moment_is_merged_with(folder: Path) -> None:
    """The person saves while the new file is being written: it is looked at again before the rename."""
    save_memory(folder, NOTES, read="")
    edits = ["- by hand\n", "- by hand\n- twice\n"]

    def meanwhile(target: Path, content: bytes, claim: Callable[[], None], *, mode: int | None) -> None:
        if edits:
            write(folder, edits.pop(0))
        replace_whole(target, content, claim, mode=mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.context.memory_file, "replace_whole", meanwhile)
        text = merge_memory(folder, Changes(("new",)), read=NOTES, check=nothing)
    assert text == load_memory(folder) == "- by hand\n- twice\n- new\n"
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("where", ["file", "folder", "lock", "dangling"])
def test_nothing_goes_through_a_link(folder: Path, tmp_path: Path, where: str) -> None:
    target = tmp_path / "elsewhere"
    if where == "folder":
        target.mkdir()
        (target / NAME).write_text(NOTES)
        folder.parent.mkdir(parents=True)
        folder.symlink_to(target)
    else:
        if where != "dangling":
            target.write_text(NOTES)
        folder.mkdir(parents=True)
        (folder / (f"{NAME}.lock" if where == "lock" else NAME)).symlink_to(target)
    acts: list[Callable[[], object]] = [partial(save_memory, folder, "- mine\n", read="")]
    acts.append(partial(merge_memory, folder, Changes(("new",)), read="", check=nothing))
    if where != "lock":
        acts.append(partial(load_memory, folder))
    for act in acts:
        with pytest.raises(MemoryFileError):
            act()
    assert not target.exists() if where == "dangling" else True
    if where != "dangling":
        assert (target / NAME if where == "folder" else target).read_text() == NOTES


def test_a_copy_of_what_was_consolidated_is_kept_and_not_through_a_link(folder: Path, tmp_path: Path) -> None:
    save_memory(folder, NOTES, read="")
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (folder / BACKUP).symlink_to(target)
    shorten_memory(folder, "- short\n", read=NOTES, check=nothing)
    assert load_memory(folder) == "- short\n"
    assert (folder / BACKUP).read_text() == NOTES
    assert stat.S_IMODE((folder / BACKUP).stat().st_mode) == 0o600
    assert target.read_text() == "mine"


def test_what_cannot_be_read_is_named_and_left(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / NAME
    for content in (b"\xff\xfe", b"x" * (MOST_BYTES + 1)):
        path.write_bytes(content)
        with pytest.raises(MemoryFileError, match=NAME):
            merge_memory(folder, Changes(("new",)), read="", check=nothing)
        assert path.read_bytes() == content
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MemoryFileError, match="no ordinary file"):
        load_memory(folder)


def test_caesuras_that_note_at_once_lose_nothing(folder: Path) -> None:
    def note(number: int) -> None:
        for each in range(5):
            read = load_memory(folder)
            merge_memory(folder, Changes((f"fact {number} {each}",)), read=read, check=nothing)

    threads = [threading.Thread(target=note, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_S)
    assert len(load_memory(folder).splitlines()) == 20
