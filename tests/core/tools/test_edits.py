"""`write_file` and `edit_file`: all or nothing, what was shown is what is done."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from core.cancel import Cancelled, CancelToken
from core.engine.tool import ToolError
from core.operations.progress import Progress
from core.storage.records import PreImage
from core.tools.edits import EDIT_BYTES, EditFile, WriteFile
from core.tools.regular_files import Commit
from tests.core.tools.calls import USER, Call, files_below
from tests.support.waiting import until


async def edit(root: Path, **arguments: object) -> str:
    return (await Call(EditFile(), root).run(**arguments)).text


async def test_a_file_is_created_with_its_folders_and_then_replaced(tmp_path: Path) -> None:
    call = Call(WriteFile(), tmp_path)
    output = await call.run(path="a/b/new.txt", content="one\ntwo\n")
    assert output.text == "Created a/b/new.txt: 2 lines, 8 bytes."
    assert output.shown.text == "--- /dev/null\n+++ a/b/new.txt\n@@ -0,0 +1,2 @@\n+one\n+two"
    assert call.progress.changed == (tmp_path / "a/b/new.txt",)
    output = await Call(WriteFile(), tmp_path).run(path="a/b/new.txt", content="one\n")
    assert output.text == "Overwrote a/b/new.txt: 1 lines, 4 bytes."
    assert files_below(tmp_path) == {"a/b/new.txt": b"one\n"}


async def test_mode_bits_and_links_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o754)
    (tmp_path / "link").symlink_to("real")
    await Call(WriteFile(), tmp_path).run(path="link", content="new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o754


async def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    for path, words in (("file/below", "cannot be"), (".", "a folder"), ("/dev/null", "a device")):
        with pytest.raises(ToolError, match=words):
            await Call(WriteFile(), tmp_path).run(path=path, content="new")
    assert files_below(tmp_path) == {"file": b"old"}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
async def test_an_edit_keeps_line_ends_and_mark(tmp_path: Path, ending: str) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf" + ending.join(["é one", "two", "three", ""]).encode())
    text = await edit(tmp_path, path="f", old="two\nthree", new="2\n3")
    assert text == "Edited f: 1 replaced, line 2."
    assert (tmp_path / "f").read_bytes() == b"\xef\xbb\xbf" + ending.join(["é one", "2", "3", ""]).encode()


async def test_an_edit_that_does_not_match_once_says_how_often_and_where(tmp_path: Path) -> None:
    content = "def f():\n    return 1\n\ndef g():\n    return 1\n"
    (tmp_path / "f.py").write_text(content)
    with pytest.raises(ToolError, match=r"occurs 2 times in f\.py, at lines 2, 5"):
        await edit(tmp_path, path="f.py", old="    return 1", new="    return 2")
    with pytest.raises(ToolError) as caught:
        await edit(tmp_path, path="f.py", old="def g():\n  return 1\n", new="")
    assert "     4\tdef g():\n     5\t    return 1" in str(caught.value)
    assert "white space" in str(caught.value)
    with pytest.raises(ToolError, match="4\tdef g"):
        await edit(tmp_path, path="f.py", old="def gg():", new="")
    with pytest.raises(ToolError, match=r"not in f\.py; nothing was changed\.$"):
        await edit(tmp_path, path="f.py", old="%%%%", new="")
    with pytest.raises(ToolError, match="the same"):
        await edit(tmp_path, path="f.py", old="def g", new="def g")
    assert (tmp_path / "f.py").read_text() == content
    assert "2 replaced, line 2, 5" in await edit(
        tmp_path, path="f.py", old="return 1", new="return 2", replace_all=True
    )


async def test_what_cannot_be_edited_without_damage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "binary").write_bytes(b"a\0b")
    for name, words in (
        ("latin", r"not UTF-8 \(byte 3 is 0xe9"),
        ("binary", "binary"),
        ("none", "write_file"),
    ):
        with pytest.raises(ToolError, match=words):
            await edit(tmp_path, path=name, old="a", new="b")
    assert files_below(tmp_path) == {"latin": b"caf\xe9", "binary": b"a\0b"}


async def test_the_diff_that_was_shown_is_the_one_that_is_made(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(1, 101)]
    (tmp_path / "f").write_text("\n".join(lines))
    call = Call(EditFile(), tmp_path)
    change = {"path": "f", "old": "line 50\n", "new": "fifty\n"}
    shown = await call.preview(**change)
    assert shown.splitlines()[2:5] == ["@@ -47,7 +47,7 @@", " line 47", " line 48"]
    assert "-line 50\n+fifty\n line 51" in shown
    assert (tmp_path / "f").read_text() == "\n".join(lines)
    (tmp_path / "f").write_text("\n".join(["inserted", *lines]))
    with pytest.raises(ToolError, match="changed since"):
        await call.run(**change)
    assert await call.preview(**change) != shown
    assert (await call.run(**change)).text == "Edited f: 1 replaced, line 51."


async def test_a_file_that_appears_after_the_preview_is_not_overwritten(tmp_path: Path) -> None:
    call = Call(WriteFile(), tmp_path)
    await call.preview(path="new", content="mine")
    (tmp_path / "new").write_text("theirs")
    with pytest.raises(ToolError, match="changed since"):
        await call.run(path="new", content="mine")
    assert (tmp_path / "new").read_text() == "theirs"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class Held:
    """Holds a writing thread at its `fsync`, when all is written and nothing is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there = threading.Event()
        self.released = threading.Event()
        monkeypatch.setattr("os.fsync", self._sync)

    def _sync(self, _: int) -> None:
        self.there.set()
        assert self.released.wait(30)


@pytest.mark.promise("X3", "X4")
@pytest.mark.parametrize("existing", [True, False])
async def test_a_stopped_write_has_not_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, existing: bool
) -> None:
    if existing:
        (tmp_path / "f").write_text("old")
    held = Held(monkeypatch)
    call = Call(WriteFile(), tmp_path)
    path = "f" if existing else "deep/er/f"
    task = call.start(path=path, content="new")
    await until(held.there.is_set)
    call.token.cancel(USER)
    await asyncio.sleep(0)
    held.released.set()
    with pytest.raises(Cancelled):
        await task
    assert files_below(tmp_path) == ({"f": b"old"} if existing else {})
    assert names_in(tmp_path) == (["f"] if existing else [])
    assert call.progress.changed == ()


@pytest.mark.promise("T5", "X4")
async def test_a_write_that_nobody_waits_for_any_more_does_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    task = Call(WriteFile(), tmp_path).start(path="f", content="new")
    await until(held.there.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.released.set()
    await until(lambda: not files_below(tmp_path))
    assert not (tmp_path / "f").exists()


async def test_somebody_elses_write_in_the_last_moment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_text("old")
    held = Held(monkeypatch)
    task = Call(WriteFile(), tmp_path).start(path="f", content="new")
    await until(held.there.is_set)
    (tmp_path / "f").write_text("theirs")
    held.released.set()
    with pytest.raises(ToolError, match="somebody else"):
        await task
    assert files_below(tmp_path) == {"f": b"theirs"}


def test_exactly_one_of_thread_and_caller_decides() -> None:
    commit = Commit(CancelToken("call"), progress := Progress())
    commit.give_up()
    with pytest.raises(ToolError):
        commit.claim(Path("f"))
    assert progress.changed == ()


async def test_a_file_is_kept_as_it_is_before_it_is_changed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"caf\xc3\xa9")
    (tmp_path / "real").chmod(0o754)
    (tmp_path / "link").symlink_to("real")
    call = Call(WriteFile(), tmp_path)
    seen: list[dict[str, bytes]] = []
    call.on_keep = lambda _: seen.append(files_below(tmp_path))
    await call.run(path="link", content="new")
    await call.run(path="sub/new", content="")
    await Call(EditFile(), tmp_path, kept=call.kept).run(path="real", old="ne", new="e")
    assert seen[0]["real"] == b"caf\xc3\xa9"
    assert "sub/new" not in seen[1]
    assert call.kept == [
        PreImage(1, str(tmp_path / "real"), b"caf\xc3\xa9", sha256(b"new").hexdigest(), 0o754),
        PreImage(1, str(tmp_path / "sub/new"), None, sha256(b"").hexdigest()),
        PreImage(1, str(tmp_path / "real"), b"new", sha256(b"ew").hexdigest(), 0o754),
    ]
    assert call.told == []


async def test_a_refused_change_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    call = Call(EditFile(), tmp_path)
    with pytest.raises(ToolError):
        await call.run(path="f", old="none", new="")
    assert call.kept == []


@pytest.mark.promise("X3")
async def test_a_stop_while_a_file_is_being_kept_ends_the_edit(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    call = Call(WriteFile(), tmp_path)
    call.on_keep = lambda _: call.token.cancel(USER)
    with pytest.raises(Cancelled):
        await call.run(path="f", content="new")
    assert files_below(tmp_path) == {"f": b"old"}
    assert call.progress.changed == ()


async def test_what_changes_while_a_file_is_being_kept_is_left(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    call = Call(WriteFile(), tmp_path)
    call.on_keep = lambda _: (tmp_path / "f").write_text("theirs")
    with pytest.raises(ToolError, match="somebody else"):
        await call.run(path="f", content="new")
    assert files_below(tmp_path) == {"f": b"theirs"}


async def test_a_change_that_cannot_be_put_back_is_said(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(EDIT_BYTES + 1)
    call = Call(WriteFile(), tmp_path)
    await call.run(path="large", content="small")
    assert call.told == ["large is larger than 10 MiB: this change cannot be put back later."]
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    strange.write_text("old")
    (tmp_path / "link").symlink_to(strange)
    await call.run(path="link", content="new")
    assert call.told[1:] == ["The name of link is not UTF-8: this change cannot be put back later."]
    assert call.kept == []
    assert strange.read_text() == "new"
