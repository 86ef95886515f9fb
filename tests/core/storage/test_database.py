"""The session file: its permissions, damaged files, and the errors when it cannot be used."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.storage import database as database_module
from core.storage.database import FileDamaged, IndexDamaged, StoreError, UnusableFile, open_database
from core.storage.schema import SCHEMA, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from sqlite3 import Connection

    from core.storage.database import Database

ROOT = Path(__file__).resolve().parents[3]
ADD = "INSERT INTO sessions (id, workspace, model, created_at, updated_at) VALUES (?, x'', '', 0, 0)"


class Opener:
    """Opens the file at `path` several times and collects the messages for the user."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []
        self._open: list[Database] = []

    def open(self, *, schema: Schema = SCHEMA) -> Database:
        database = open_database(self.path, notify=self.messages.append, schema=schema)
        self._open.append(database)
        return database

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def fill(self, count: int = 200) -> None:
        database = self.open()
        for number in range(count):
            add(database, f"{number:0100}")
        self.close()

    def aside(self) -> list[Path]:
        return sorted(self.path.parent.glob("*.damaged-*[0-9]"))


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(tmp_path / "data" / "caesura.db")
    yield opener
    opener.close()


def add(database: Database, session_id: str) -> None:
    database.write(lambda connection: connection.execute(ADD, (session_id,)))


def ids(database: Database) -> list[str]:
    return database.read(
        lambda connection: [name for (name,) in connection.execute("SELECT id FROM sessions ORDER BY id")]
    )


def pragma(database: Database, name: str) -> object:
    return database.read(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_reads_it_whatever_the_umask_is(opener: Opener) -> None:
    before = os.umask(0)
    try:
        add(opener.open(), "a")
        files = list(opener.path.parent.iterdir())
        assert {file.name for file in files} >= {"caesura.db", "caesura.db-wal", "caesura.db-shm"}
        assert {mode(file) for file in files} == {0o600}
        assert mode(opener.path.parent) == 0o700
    finally:
        os.umask(before)


def test_a_file_that_others_could_read_is_closed_to_them(opener: Opener) -> None:
    opener.fill(1)
    opener.path.chmod(0o644)
    opener.open()
    assert mode(opener.path) == 0o600


def test_what_is_written_is_durable(opener: Opener) -> None:
    database = opener.open()
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "synchronous") == 2
    assert pragma(database, "foreign_keys") == 1


V1 = ("CREATE TABLE one (x)",)
V2 = ("CREATE TABLE two (y)", "INSERT INTO two SELECT x FROM one")


def test_an_older_file_is_brought_up_to_date_with_all_that_is_in_it(opener: Opener) -> None:
    older, newer = Schema((V1,), frozenset({"one"})), Schema((V1, V2), frozenset({"one", "two"}))
    opener.open(schema=older).write(lambda connection: connection.execute("INSERT INTO one VALUES (7)"))
    opener.close()
    for _ in range(2):
        database = opener.open(schema=newer)
        assert database.read(lambda connection: connection.execute("SELECT * FROM two").fetchall()) == [(7,)]
        assert pragma(database, "user_version") == 2
        opener.close()
    assert opener.messages == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(opener: Opener) -> None:
    older = Schema((V1,), frozenset({"one"}))
    opener.open(schema=older)
    opener.close()
    before = opener.path.read_bytes()
    failing = Schema((V1, ("CREATE TABLE two (y)", "INSERT INTO nowhere VALUES (1)")), frozenset())
    with pytest.raises(StoreError):
        opener.open(schema=failing)
    assert opener.path.read_bytes() == before
    opener.open(schema=older)


@pytest.mark.promise("H8")
def test_a_file_of_a_later_version_is_left_alone(opener: Opener) -> None:
    opener.open(schema=Schema((V1, V2), frozenset()))
    opener.close()
    before = opener.path.read_bytes()
    with pytest.raises(UnusableFile, match=r"later version of Caesura .format 2, this one knows 1.*Update"):
        opener.open()
    assert opener.path.read_bytes() == before
    assert opener.aside() == []


@pytest.mark.promise("H8")
@pytest.mark.parametrize("application", [0, 77])
def test_a_file_of_another_program_is_left_alone(opener: Opener, application: int) -> None:
    opener.path.parent.mkdir()
    connection = sqlite3.connect(opener.path)
    connection.executescript(f"CREATE TABLE theirs (x); PRAGMA application_id = {application}")
    connection.close()
    before = opener.path.read_bytes()
    with pytest.raises(UnusableFile, match="another program"):
        opener.open()
    assert opener.path.read_bytes() == before


def test_a_folder_in_its_place_is_left_alone(opener: Opener) -> None:
    (opener.path / "inside").mkdir(parents=True)
    with pytest.raises(UnusableFile, match="is no file"):
        opener.open()
    assert (opener.path / "inside").is_dir()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cut_in_the_header(content: bytes) -> bytes:
    return content[:60]


def noise_in_the_header(content: bytes) -> bytes:
    return bytes(range(100)) + content[100:]


def noise_in_the_schema(content: bytes) -> bytes:
    return content[:100] + b"\xa5" * 3_996 + content[4_096:]


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def no_database(content: bytes) -> bytes:
    return b"Dear diary, " * 500


DAMAGES = (cut, cut_in_the_header, noise_in_the_header, noise_in_the_schema, zeros, no_database)


@pytest.mark.promise("H8")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_set_aside_and_never_overwritten(
    opener: Opener, damage: Callable[[bytes], bytes]
) -> None:
    opener.fill()
    damaged = damage(opener.path.read_bytes())
    opener.path.write_bytes(damaged)
    database = opener.open()
    (aside,) = opener.aside()
    assert aside.read_bytes() == damaged
    assert [str(aside) in sentence for sentence in opener.messages] == [True]
    add(database, "new")
    assert ids(database) == ["new"]
    opener.close()
    assert ids(opener.open()) == ["new"]


@pytest.mark.promise("H8")
def test_damage_in_the_middle_is_found_when_it_is_read(opener: Opener) -> None:
    opener.fill(0)
    empty = opener.path.stat().st_size
    opener.fill()
    content = bytearray(opener.path.read_bytes())
    for start in range(empty, len(content), 4_096):
        content[start : start + 4_096] = os.urandom(4_096)
    opener.path.write_bytes(content)
    database = opener.open()
    with pytest.raises(FileDamaged):
        ids(database)
    database.set_aside(opener.messages.append)
    (aside,) = opener.aside()
    assert aside.read_bytes() == content
    assert str(aside) in opener.messages[0]
    assert ids(opener.open()) == []


@pytest.mark.promise("H8")
def test_who_comes_late_does_not_set_the_new_file_aside(opener: Opener) -> None:
    first, second = opener.open(), opener.open()
    first.set_aside(opener.messages.append)
    add(opener.open(), "new")
    assert not second.usable
    second.set_aside(opener.messages.append)
    assert ids(opener.open()) == ["new"]
    assert len(opener.messages) == 1


@pytest.mark.promise("H8")
def test_damaged_files_of_one_second_get_names_of_their_own(opener: Opener) -> None:
    for number in range(3):
        opener.path.parent.mkdir(exist_ok=True)
        opener.path.write_bytes(b"%d" % number * 1_000)
        opener.open()
        opener.close()
    assert sorted(file.read_bytes()[:1] for file in opener.aside()) == [b"0", b"1", b"2"]


@pytest.mark.promise("H8")
@pytest.mark.parametrize("left", ["empty", "missing"])
def test_a_log_whose_file_is_gone_is_kept(opener: Opener, left: str) -> None:
    add(opener.open(), "a")
    log = opener.path.with_name("caesura.db-wal").read_bytes()
    opener.close()
    opener.path.with_name("caesura.db-wal").write_bytes(log)
    if left == "empty":
        opener.path.write_bytes(b"")
    else:
        opener.path.unlink()
    assert ids(opener.open()) == []
    (aside,) = opener.path.parent.glob("*.damaged-*-wal")
    assert aside.read_bytes() == log
    assert len(opener.messages) == 1


def test_an_empty_file_becomes_ours(opener: Opener) -> None:
    opener.path.parent.mkdir()
    opener.path.touch()
    assert ids(opener.open()) == []
    assert opener.messages == []


def test_a_file_without_its_tables_is_damaged(opener: Opener) -> None:
    opener.fill(1)
    connection = sqlite3.connect(opener.path)
    connection.execute("DROP TABLE preimages")
    connection.close()
    opener.open()
    assert len(opener.aside()) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE search_data SET block = x'ff' WHERE id > 10",
        "UPDATE search_data SET block = x'ffffffffffffffffffff' WHERE id = 10",
        "DELETE FROM search_data",
    ],
)
def test_a_damaged_index_of_the_search_is_made_anew(opener: Opener, damage: str) -> None:
    database = opener.open()

    def words(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO search (rowid, text) VALUES (1, 'needle')")

    def found(connection: sqlite3.Connection) -> list[tuple[int]]:
        return connection.execute("SELECT rowid FROM search WHERE search MATCH 'needle'").fetchall()

    database.write(words)
    database.write(lambda connection: connection.execute(damage))
    opener.close()
    database = opener.open()
    with pytest.raises(IndexDamaged):
        database.read(found)
    database.rebuild_index()
    assert database.read(found) == [(1,)]


def test_a_full_disk_is_said_and_what_comes_after_it_is_whole(opener: Opener) -> None:
    database = opener.open()
    pages = int(str(pragma(database, "page_count")))
    database.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 2}"))

    def fill() -> None:
        for number in range(1_000):
            add(database, f"{number:0100}")

    with pytest.raises(StoreError, match=r"no space left for .*caesura.db. Free some"):
        fill()
    saved = ids(database)
    database.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
    add(database, "z")
    assert ids(database) == [*saved, "z"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from core.storage.database import open_database, StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
database = open_database(Path(sys.argv[1]), notify=print)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
done = 0
try:
    while True:
        database.write(lambda c: c.execute(sys.argv[2], (f"{done:04}" + "x" * 3_000,)))
        done += 1
except StoreError as error:
    print(done, error)
"""


@pytest.mark.promise("H3")
def test_a_write_that_the_system_refuses_loses_nothing_before_it(opener: Opener) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(opener.path), ADD],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count, _, sentence = done.stdout.partition(" ")
    assert "caesura.db" in sentence
    assert [name[:4] for name in ids(opener.open())] == [f"{number:04}" for number in range(int(count))]
    assert int(count) > 5


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EROFS, "Allow writing"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_the_error_of_a_failing_disk_says_what_can_be_done(opener: Opener, number: int, words: str) -> None:
    def fail(_: Connection) -> None:
        raise OSError(number, os.strerror(number))

    database = opener.open()
    with pytest.raises(StoreError, match=words):
        database.write(fail)
    add(database, "b")
    assert ids(database) == ["b"]


@pytest.mark.skipif(not Path("/proc/version").is_file(), reason="there is no folder that nobody can write")
def test_a_folder_that_cannot_be_made_is_said() -> None:
    with pytest.raises(StoreError, match=r"/proc/caesura/caesura.db cannot be .*"):
        open_database(Path("/proc/caesura/caesura.db"), notify=print)


def test_a_file_that_stays_locked_is_said(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    opener.fill(1)
    other = sqlite3.connect(opener.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database_module, "BUSY_S", 0.05)
    database = opener.open()
    with pytest.raises(StoreError, match=r"Another program has kept .*caesura.db locked"):
        add(database, "a")
    other.execute("ROLLBACK")
    other.close()
    add(database, "b")


def test_opening_leaves_no_lock_behind(opener: Opener) -> None:
    opener.fill(1)
    assert [file.name for file in opener.path.parent.iterdir()] == ["caesura.db"]
