"""Files are restored exactly, or left exactly as somebody else has changed them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, assert_never

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import core.storage.file_history
from core.cancel import Cancelled, CancelReason, CancelToken, Cause
from core.permissions.access import Workspace
from core.storage.file_history import (
    DESPITE,
    KEPT_BYTES,
    ConflictKind,
    FileRestore,
    Restored,
    RestoreStatus,
    keep_in_time,
    plan,
    put_back,
    restore,
)
from core.storage.journal import NotSaved
from core.storage.records import PreImage
from core.tools.edits import EditFile, WriteFile
from tests.core.tools.calls import USER, Call, files_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

NONE: frozenset[str] = frozenset()


def token() -> CancelToken:
    return CancelToken("turn")


@dataclass
class Folder:
    """A workspace in which our tools and somebody else change files. `kept` are all pre-images so far."""

    root: Path
    kept: list[PreImage] = field(default_factory=list)

    async def write(self, name: str, content: str, *, stopped: bool = False) -> None:
        """With our tool; a stopped one is stopped when the pre-image has been kept."""
        call = Call(WriteFile(), self.root, kept=self.kept)
        if not stopped:
            await call.run(path=name, content=content)
            return
        call.on_keep = lambda _: call.token.cancel(USER)
        with pytest.raises(Cancelled):
            await call.run(path=name, content=content)

    def plan(self) -> dict[str, FileRestore]:
        return {each.name: each for each in plan(self.kept, Workspace(self.root))}

    def put_back(self, *despite: str) -> dict[str, Restored]:
        chosen = {str(self.root / name) for name in despite}
        done = restore(plan(self.kept, Workspace(self.root)), chosen, token())
        return {str(Path(each.path).relative_to(self.root)): each for each in done}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_files_go_back_to_before_the_first_edit(folder: Folder) -> None:
    root = folder.root
    (root / "script").write_bytes(b"caf\xe9\0")
    (root / "script").chmod(0o751)
    for content in ("one", "two"):
        await folder.write("script", content)
        await folder.write("deep/er/new", content)
    await Call(EditFile(), root, kept=folder.kept).run(path="script", old="tw", new="zer")
    assert (root / "script").read_text() == "zero"
    planned = folder.plan()
    assert [(each.before is None, each.conflict) for each in planned.values()] == [
        (False, None),
        (True, None),
    ]
    done = folder.put_back()
    assert done["script"].status is RestoreStatus.PUT_BACK
    assert done["deep/er/new"].status is RestoreStatus.REMOVED
    assert files_below(root) == {"script": b"caf\xe9\0"}
    assert mode_of(root / "script") == 0o751
    assert (root / "deep/er").is_dir()
    assert folder.plan() == {}


async def test_a_link_stays_and_its_file_goes_back(folder: Folder) -> None:
    root = folder.root
    (root / "real").write_text("old")
    (root / "link").symlink_to("real")
    await folder.write("link", "new")
    folder.put_back()
    assert (root / "link").is_symlink()
    assert (root / "real").read_text() == "old"


async def test_bits_that_somebody_changed_stay_changed(folder: Folder) -> None:
    file = folder.root / "file"
    file.write_text("old")
    await folder.write("file", "new")
    file.chmod(0o600)
    folder.put_back()
    assert (file.read_text(), mode_of(file)) == ("old", 0o600)


async def test_a_stopped_edit_was_none(folder: Folder) -> None:
    file = folder.root / "file"
    file.write_text("old")
    await folder.write("file", "new", stopped=True)
    assert folder.plan() == {}
    await folder.write("file", "new")
    await folder.write("file", "newer", stopped=True)
    assert file.read_text() == "new"
    assert folder.put_back()["file"].status is RestoreStatus.PUT_BACK
    assert file.read_text() == "old"


async def make_conflict(folder: Folder, kind: ConflictKind) -> None:
    """A file `f` that was `old` with the bits 0o640, and was changed by our tool and then by somebody."""
    file, away = folder.root / "f", folder.root / "away"
    file.write_text("old")
    file.chmod(0o640)
    await folder.write("f", "ours")
    match kind:
        case ConflictKind.CHANGED:
            file.write_bytes(b"\xff theirs")
        case ConflictKind.CHANGED_BETWEEN:
            file.write_text("theirs")
            await folder.write("f", "ours again")
        case ConflictKind.VANISHED:
            file.unlink()
        case ConflictKind.NOT_A_FILE:
            file.unlink()
            file.mkdir()
            (file / "inside").write_text("theirs")
        case ConflictKind.LEADS_ELSEWHERE:
            file.rename(away)
            file.symlink_to("away")
        case ConflictKind.TOO_LARGE:
            with file.open("wb") as large:
                large.truncate(KEPT_BYTES + 1)
        case ConflictKind.UNREADABLE:
            raise AssertionError("see `test_what_permissions_forbid_is_said_and_left`")
        case _:
            assert_never(kind)


READABLE = [kind for kind in ConflictKind if kind is not ConflictKind.UNREADABLE]


@pytest.mark.parametrize("kind", READABLE)
async def test_a_conflict_is_shown_and_left_unless_it_is_chosen(folder: Folder, kind: ConflictKind) -> None:
    await make_conflict(folder, kind)
    planned = folder.plan()["f"]
    assert planned.conflict is kind
    before = [(path, path.lstat()) for path in sorted(folder.root.rglob("*"))]
    done = folder.put_back()["f"]
    assert (done.status, done.sentence) == (RestoreStatus.LEFT, f"Left as it is: {planned.why}")
    assert [(path, path.lstat()) for path in sorted(folder.root.rglob("*"))] == before
    chosen = folder.put_back("f")["f"]
    if kind not in DESPITE:
        assert chosen == done
        assert [(path, path.lstat()) for path in sorted(folder.root.rglob("*"))] == before
    else:
        assert chosen.status is RestoreStatus.PUT_BACK
        assert (folder.root / "f").read_text() == "old"
        assert mode_of(folder.root / "f") == 0o640


async def test_a_folder_that_became_a_link_is_not_written_through(folder: Folder) -> None:
    await folder.write("sub/f", "ours")
    (folder.root / "sub").rename(folder.root / "moved")
    (folder.root / "sub").symlink_to("moved")
    assert folder.plan()["sub/f"].conflict is ConflictKind.LEADS_ELSEWHERE
    folder.put_back("sub/f")
    assert (folder.root / "moved/f").read_text() == "ours"


async def test_after_a_failure_the_rest_goes_on(folder: Folder) -> None:
    root = folder.root
    for name in ("a", "b", "c"):
        (root / name).mkdir()
        (root / name / "f").write_text("old")
        await folder.write(f"{name}/f", "new")
    planned = plan(folder.kept, Workspace(root))
    # In the moment between the plan and the put-back.
    shutil.rmtree(root / "b")
    (root / "b").write_text("theirs")
    done = restore(planned, NONE, token())
    assert [each.status for each in done] == [
        RestoreStatus.PUT_BACK,
        RestoreStatus.FAILED,
        RestoreStatus.PUT_BACK,
    ]
    assert files_below(root) == {"a/f": b"old", "b": b"theirs", "c/f": b"old"}


NOBODY = 65_534


def without_rights(work: Callable[[], T]) -> T:
    """`work`, for which permissions count even if the tests run as root: in a thread of its own."""

    def run() -> T:
        if os.geteuid() == 0:
            # Other than `seteuid`, of this thread alone.
            ctypes.CDLL(None).setfsuid(NOBODY)
        return work()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run).result()


@pytest.fixture
def open_folder() -> Iterator[Folder]:
    """One that everybody gets into."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve()
        root.chmod(0o755)
        yield Folder(root)


async def test_what_permissions_forbid_is_said_and_left(open_folder: Folder) -> None:
    for name in ("sub/changed", "sub/new", "unreadable"):
        if name != "sub/new":
            (open_folder.root / name).parent.mkdir(exist_ok=True)
            (open_folder.root / name).write_text("old")
        await open_folder.write(name, "ours")
    (open_folder.root / "unreadable").chmod(0)
    (open_folder.root / "sub").chmod(0o555)
    before = tree(open_folder.root)
    planned = without_rights(open_folder.plan)
    done = without_rights(open_folder.put_back)
    assert tree(open_folder.root) == before
    (open_folder.root / "sub").chmod(0o755)
    assert planned["unreadable"].conflict is ConflictKind.UNREADABLE
    assert done["unreadable"].status is RestoreStatus.LEFT
    for name in ("sub/changed", "sub/new"):
        assert planned[name].conflict is None
        assert done[name].status is RestoreStatus.FAILED
        assert done[name].sentence == f"{name} was left as it is: it cannot be written (Permission denied)."


@pytest.mark.parametrize("created", [True, False])
async def test_a_change_in_the_last_moment_is_left(folder: Folder, *, created: bool) -> None:
    file = folder.root / "f"
    if not created:
        file.write_text("old")
    await folder.write("f", "ours")
    planned = plan(folder.kept, Workspace(folder.root))
    file.write_text("theirs")
    (done,) = restore(planned, NONE, token())
    assert (done.status, file.read_text()) == (RestoreStatus.FAILED, "theirs")
    assert files_below(folder.root) == {"f": b"theirs"}


async def test_a_failed_write_leaves_no_half_of_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.root / "f").write_text("old")
    await folder.write("f", "ours")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    done = folder.put_back()["f"]
    assert (done.status, "No space left" in done.sentence) == (RestoreStatus.FAILED, True)
    assert files_below(folder.root) == {"f": b"ours"}


async def test_a_put_back_is_kept_first_and_can_be_undone(folder: Folder) -> None:
    root = folder.root
    (root / "f").write_text("old")
    await folder.write("f", "ours")
    await folder.write("new", "ours")
    (root / "new").chmod(0o711)
    await folder.write("theirs", "ours")
    (root / "theirs").write_text("theirs")
    now = files_below(root)
    undo: list[PreImage] = []

    async def keep(preimage: PreImage) -> None:
        assert files_below(root) == now
        undo.append(preimage)

    planned = plan(folder.kept, Workspace(root))
    done = await put_back(planned, NONE, keep, 7, token())
    assert [each.status for each in done] == [
        RestoreStatus.PUT_BACK,
        RestoreStatus.REMOVED,
        RestoreStatus.LEFT,
    ]
    assert files_below(root) == {"f": b"old", "theirs": b"theirs"}
    assert {(each.turn, Path(each.path).name) for each in undo} == {(7, "f"), (7, "new")}
    # A later edit of the same file does not make of the put-back a stranger's.
    folder.kept.extend(undo)
    assert folder.plan().keys() == {"theirs"}
    restore(plan(undo, Workspace(root)), NONE, token())
    assert files_below(root) == now
    assert mode_of(root / "new") == 0o711


@pytest.mark.parametrize("slow", [True, False])
async def test_what_cannot_be_kept_is_not_replaced(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, *, slow: bool
) -> None:
    monkeypatch.setattr(core.storage.file_history, "KEEP_ALL_S", 0.01)
    await folder.write("f", "ours")
    await folder.write("g", "ours")
    (folder.root / "g").write_text("theirs")

    async def refuse(_: PreImage) -> None:
        if slow:
            await asyncio.Event().wait()
        raise NotSaved("The disk is full.")

    done = await put_back(plan(folder.kept, Workspace(folder.root)), NONE, refuse, 1, token())
    assert [each.status for each in done] == [RestoreStatus.FAILED, RestoreStatus.LEFT]
    assert ("more than" if slow else "The disk is full.") in done[0].sentence
    assert files_below(folder.root) == {"f": b"ours", "g": b"theirs"}


async def test_a_stop_leaves_the_rest(folder: Folder) -> None:
    await folder.write("f", "ours")
    stopped = token()

    async def stop(_: PreImage) -> None:
        stopped.cancel(CancelReason(Cause.USER, "Esc"))

    (done,) = await put_back(plan(folder.kept, Workspace(folder.root)), NONE, stop, 1, stopped)
    assert (done.status, "stopped before it" in done.sentence) == (RestoreStatus.LEFT, True)
    assert files_below(folder.root) == {"f": b"ours"}


async def test_an_edit_goes_on_if_the_file_cannot_be_kept_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core.storage.file_history, "KEEP_S", 0.01)
    preimage, messages = PreImage(1, "/w/f", b"old", "00"), list[str]()

    async def forever(_: PreImage) -> None:
        await asyncio.Event().wait()

    async def refuse(_: PreImage) -> None:
        raise NotSaved("The disk is full.")

    async def keep(_: PreImage) -> None:
        return None

    await keep_in_time(preimage, keep, messages.append)
    assert messages == []
    await keep_in_time(preimage, forever, messages.append)
    await keep_in_time(preimage, refuse, messages.append)
    start = "/w/f may not be put back later to how it was before this edit: "
    assert messages == [f"{start}it could not be saved within 0.01 s.", f"{start}The disk is full."]


# -- any sequence of edits, ours and others' --

NAMES = ("a", "b", "sub/c")
OURS = ("write", "stopped")
FOREIGN = ("change", "remove", "folder", "link", "chmod")


@dataclass
class Model:
    """What a person knows of one file: how it was, who touched it last, whether ours went over theirs."""

    origin: tuple[bytes, int] | None = None
    ours: bool = False
    theirs_now: bool = False
    theirs_since: bool = False
    lost: bool = False
    bits: bool = False


def state(path: Path) -> tuple[bytes, int] | None:
    return (path.read_bytes(), mode_of(path)) if path.is_file() and not path.is_symlink() else None


def tree(root: Path) -> dict[str, object]:
    """Everything there is, links as links."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        found[name] = str(path.readlink()) if path.is_symlink() else (path.is_dir() or state(path))
    return found


def act_as_somebody_else(path: Path, action: str, unique: str) -> bool:
    """Whether that changed what the file says."""
    path.parent.mkdir(exist_ok=True)
    if action == "chmod":
        if state(path) is not None:
            path.chmod(0o700 if mode_of(path) != 0o700 else 0o604)
        return False
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.rmdir()
    elif action == "remove":
        return False
    match action:
        case "change":
            path.write_bytes(b"\xff" + unique.encode())
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(unique)
    return True


async def play(folder: Folder, steps: list[tuple[str, str]]) -> dict[str, Model]:
    models = {name: Model() for name in NAMES}
    for number, (name, action) in enumerate(steps):
        path, model = folder.root / name, models[name]
        if action in FOREIGN:
            changed = act_as_somebody_else(path, action, f"theirs {number}")
            model.theirs_now |= changed
            model.theirs_since |= changed and model.ours
            model.bits |= action == "chmod" and model.ours
        elif not path.is_dir() and not path.is_symlink():
            if not model.ours:
                model.origin, model.theirs_now, model.ours = state(path), False, True
            theirs, before = model.theirs_now, state(path)
            await folder.write(name, f"ours {number}", stopped=action == "stopped")
            if action == "write":
                model.lost |= theirs and before != model.origin
                model.theirs_now = False
    return models


def check(root: Path, name: str, model: Model, planned: FileRestore | None) -> None:
    """After a put-back in which nothing was chosen; `planned` is None where there was nothing to do."""
    path, now = root / name, state(root / name)
    if not model.ours:
        assert planned is None
        return
    left = planned is not None and planned.conflict is not None
    if not model.theirs_since:
        assert not left, "nobody but us has touched it"
    if left:
        return
    assert (now and now[0]) == (model.origin and model.origin[0])
    if now is not None and model.origin is not None and not model.theirs_since and not model.bits:
        assert now == model.origin
    if planned is not None:
        assert not model.lost, "somebody else's work was lost silently"
        assert not model.theirs_now, "somebody else's work was lost silently"
    assert not path.is_symlink()


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((*OURS, "write", *FOREIGN))), max_size=14))
def test_any_edits_are_put_back_or_left(steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve()
        (root / "a").write_bytes(b"caf\xe9")
        (root / "a").chmod(0o751)
        folder = Folder(root)
        models = asyncio.run(play(folder, steps))
        before, planned = tree(root), plan(folder.kept, Workspace(root))
        undo: list[PreImage] = []

        async def keep(preimage: PreImage) -> None:
            undo.append(preimage)

        done = asyncio.run(put_back(planned, NONE, keep, 1, token()))
        after, by_name = tree(root), {each.name: each for each in planned}
        for name, model in models.items():
            check(root, name, model, by_name.get(name))
        changed = {each.path for each in done if each.status is not RestoreStatus.LEFT}
        assert changed == {each.path for each in undo}
        assert not [each for each in done if each.status is RestoreStatus.FAILED]
        untouched = before.keys() - {str(Path(path).relative_to(root)) for path in changed}
        assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
        event(f"{sum(each.conflict is not None for each in planned)} conflicts, {len(undo)} put back")
        restore(plan(undo, Workspace(root)), NONE, token())
        assert tree(root) == before
