"""`caesura sessions`: what is kept is listed, shown, copied and removed without screen, model or key."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from core.storage.store import Store
from tests.support.program import PROGRAM, environment
from tests.support.stored_sessions import ROOT, made
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOSTILE = "Evil \x1b[31mred\x1b]0;title\x07\x9b2J\x7f \u202e\n\tsecond line"
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]")
"""What no title may bring to a terminal, in UTF-8."""


class Home(NamedTuple):
    """A home with sessions, and a folder in it to work in."""

    path: Path

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def file(self) -> Path:
        return self.path / "data" / "caesura" / "caesura.db"

    def env(self) -> dict[str, str]:
        changes = environment(self.path, OPENAI_API_KEY=None, TZ="UTC")
        return {name: value for name, value in (os.environ | changes).items() if value is not None}

    def make(self, *replies: str, title: str = "", work: str | None = None) -> str:
        """A session in the file; its id."""

        async def make() -> str:
            store = Store(self.file)
            session_id = await made(store, *replies, workspace=work or str(self.work))
            await store.rename(session_id, title)
            await store.aclose()
            return session_id

        return asyncio.run(make())

    def run(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        with self.started(*arguments, **options) as process:
            output, errors = process.communicate(timeout=GENEROUS_S)
        assert "Traceback" not in errors
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    @contextmanager
    def started(self, *arguments: str | Path, **options: object) -> Iterator[subprocess.Popen[str]]:
        given = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            "env": self.env(),
        } | options
        command = [*PROGRAM, "sessions", *arguments]
        with subprocess.Popen(command, cwd=self.work, text=True, **given) as process:  # type: ignore[call-overload]
            try:
                yield process
            finally:
                process.kill()

    def terminal(self, *arguments: str, columns: int = 80) -> Terminal:
        return Terminal(
            [*PROGRAM, "sessions", *arguments], env=self.env(), columns=columns, emulate=False, cwd=self.work
        )

    def shown(self, *arguments: str, columns: int = 80) -> list[str]:
        """What a terminal gets, as lines, none of which it could obey."""
        with self.terminal(*arguments, columns=columns) as terminal:
            terminal.wait_exit()
            terminal.unrestored()
            output = terminal.output
        assert not CONTROL.search(output)
        return output.decode().replace("\r\n", "\n").split("\n")[:-1]

    def ids(self) -> list[str]:
        return [info["session_id"] for info in json.loads(self.run("list", "--all", "--json").stdout)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.work.mkdir()
    return made


# ---- list


def test_a_list_for_a_program_has_a_line_of_fields_for_each_session(home: Home) -> None:
    elsewhere = home.make("x", title="Elsewhere", work="/tmp/else\twhere\n")
    first, second = home.make("one", title="First"), home.make("one", "two", title=HOSTILE)
    time, evil = "1970-01-01T00:00:0{}+0000", "Evil ␛[31mred␛]0;title␇\ufffd2J␡ \ufffd second line"
    here = [
        [second, time.format(2), "2", "$1.00", "", str(home.work), evil],
        [first, time.format(1), "1", "$0.50", "", str(home.work), "First"],
    ]
    for arguments in ((), ("list",)):
        listed = home.run(*arguments)
        assert (listed.returncode, listed.stderr) == (0, "")
        assert [line.split("\t") for line in listed.stdout.splitlines()] == here
    everything = home.run("list", "--all").stdout
    assert f"{elsewhere}\t{time.format(1)}\t1\t$0.50\t\t/tmp/else where\tElsewhere\n" in everything
    assert len(home.run("list", "-n", "1").stdout.splitlines()) == 1


def test_a_list_in_json_has_all_fields(home: Home) -> None:
    session_id = home.make("one", title=HOSTILE, work=str(home.work))
    (info,) = json.loads(home.run("list", "--json").stdout)
    assert info == {
        "session_id": session_id,
        "title": HOSTILE,
        "workspace": str(home.work),
        "model": "m",
        "created_at": 1.0,
        "updated_at": 1.0,
        "steps": 1,
        "parent": None,
        "usage": {"input_tokens": 1, "output_tokens": 2, "cached_tokens": 3, "reasoning_tokens": 4},
        "cost": 0.5,
        "in_use": False,
        "crashed": False,
    }


@pytest.mark.parametrize("columns", [20, 60, 120])
def test_a_list_on_a_terminal_is_as_wide_as_that(home: Home, columns: int) -> None:
    folder = str(home.path / "deep" / ("deeper" * 10))
    ids = [
        home.make("one", title="First", work=folder),
        home.make("one", "two", title="漢字の" * 50),
        home.make("one", "two", "three", title=HOSTILE),
    ]
    head, *lines = home.shown("list", "--all", columns=columns)
    assert head.split()[0] == "ID"
    assert [line.split()[0] for line in lines] == [session_id[:8] for session_id in reversed(ids)]
    # A character of the second title takes two columns.
    assert all(len(line) + sum("漢字の".count(each) for each in line) <= columns for line in lines)
    assert ("LAST CHANGE" in head, "COST" in head, "FOLDER" in head) == (
        columns >= 60,
        columns >= 100,
        columns >= 100,
    )
    if columns >= 40:
        assert "First" in lines[2]
        assert lines[1].endswith("…")
    # What a person reads there can be given back.
    assert home.run("show", lines[2].split()[0]).returncode == 0


def test_an_empty_list_says_so(home: Home) -> None:
    assert home.run("list").stderr == "caesura: There are no sessions.\n"
    home.make("x", work="/elsewhere")
    empty = home.run("list")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert empty.stderr == (
        "caesura: There are no sessions in this folder; `caesura sessions list --all` lists those of "
        "others.\n"
    )
    assert json.loads(home.run("list", "--json").stdout) == []


@pytest.mark.promise("H8")
def test_a_session_in_use_and_one_that_died_are_marked(home: Home) -> None:
    home.make("ends well", title="Free")
    command = [sys.executable, "-m", "tests.support.store_process", "hold", str(home.file), "held0001"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"

        def states() -> dict[str, str]:
            lines = home.run("list", "--all").stdout.splitlines()
            return {line.split("\t")[0]: line.split("\t")[4] for line in lines}

        before = states()
        assert before["held0001"] == "in use"
        assert sorted(before.values()) == ["", "in use"]
        refused = home.run("delete", "held", "--yes")
        assert refused.returncode == 1
        assert f"Another Caesura (process {holder.pid}) has this session open" in refused.stderr
        holder.kill()
        holder.wait()
    assert states()["held0001"] == "crashed"
    assert any("crashed" in line for line in home.shown("list", "--all", columns=100))
    assert home.run("delete", "held", "--yes").returncode == 0
    assert "held0001" not in states()


# ---- search, show


def test_a_search_shows_where_the_words_are(home: Home) -> None:
    session_id = home.make("the quick brown\x1b[2J fox", title=HOSTILE)
    home.make("something else")
    (line,) = home.run("search", "quick", "fo").stdout.splitlines()
    fields = line.split("\t")
    assert (fields[0], fields[2], fields[3]) == (session_id, "0", str(home.work))
    assert fields[5] == "the quick brown [2J fox"
    (hit,) = json.loads(home.run("search", "quick", "--json").stdout)
    assert (hit["info"]["session_id"], hit["marks"]) == (session_id, [[4, 9]])
    head, snippet = home.shown("search", "quick", columns=40)
    assert head.startswith(session_id[:8])
    assert snippet == "    the quick brown [2J fox"
    nothing = home.run("search", "unheard-of")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "caesura: No session has all of these words.\n"
    assert json.loads(home.run("search", "unheard-of", "--json").stdout) == []


def test_a_session_is_shown_as_it_is_exported(home: Home) -> None:
    session_id = home.make("a \x1b[31mreply\x7f\x9b", title=HOSTILE)
    markdown = home.run("show", session_id).stdout
    assert markdown.startswith("# Evil")
    assert "a ␛[31mreply␡\ufffd" in markdown
    assert home.run("export", session_id, "-").stdout == markdown
    assert "\n".join(home.shown("show", session_id)) + "\n" == markdown
    text = home.run("show", session_id, "--json").stdout
    assert json.loads(text)["session"]["title"] == HOSTILE
    assert text == home.run("export", "--json", session_id, "-").stdout
    home.shown("show", session_id, "--json")
    (home.work / "in.json").write_text(text)
    assert home.run("import", "in.json").returncode == 0


# ---- export, import, rename, fork, delete


def test_a_session_is_taken_from_here_to_there(home: Home) -> None:
    session_id = home.make("one", "two", title="A title")
    assert home.run("export", session_id[:6]).stdout == "caesura-a-title.md\n"
    assert home.run("export", session_id, "--json").stdout == "caesura-a-title.json\n"
    # A name for JSON gets JSON.
    assert home.run("export", session_id, "there.json").returncode == 0
    assert (home.work / "there.json").read_text() == (home.work / "caesura-a-title.json").read_text()
    again = home.run("export", session_id, "there.json")
    assert again.returncode == 1
    assert again.stderr == "caesura: there.json is there already: choose another name, or remove it.\n"
    imported = home.run("import", "there.json").stdout.strip()
    forked = home.run("fork", imported, "--steps", "1").stdout.strip()
    assert home.ids() == [forked, imported, session_id]
    assert home.run("rename", forked, "Another ", " title").returncode == 0
    infos = {info["session_id"]: info for info in json.loads(home.run("list", "--json").stdout)}
    assert (infos[forked]["title"], infos[forked]["steps"], infos[forked]["parent"]) == (
        "Another title",
        1,
        imported,
    )
    assert infos[imported]["title"] == "A title"
    (home.work / "half.json").write_text((home.work / "there.json").read_text()[:100])
    broken = home.run("import", "half.json")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr.startswith("caesura: This file is not JSON (line ")
    assert len(home.ids()) == 3


def test_nothing_is_deleted_without_a_yes(home: Home) -> None:
    session_id = home.make("one", title=HOSTILE)
    refused = home.run("delete", session_id)
    assert refused.returncode == 2
    assert "There is no terminal to ask on: give --yes" in refused.stderr
    for answer, code in (("n\n", 1), ("\n", 1), ("yikes\n", 1), ("\x04", 1), ("\x03", 130)):
        with home.terminal("delete", session_id[:8]) as terminal:
            terminal.wait_for_output(
                b"second line\xe2\x80\x99 (" + session_id.encode() + b", 1 step) for good? [y/N] "
            )
            terminal.write(answer.encode())
            assert terminal.wait_exit() == code
            assert terminal.terminal_restored()
            assert not CONTROL.search(terminal.output)
    assert home.ids() == [session_id]
    with home.terminal("delete", session_id[:8]) as terminal:
        terminal.wait_for_output(b"[y/N] ")
        terminal.write(b"y\n")
        assert terminal.wait_exit() == 0
    assert home.ids() == []


# ---- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("show", "zz"), 1, "There is no session whose id begins with 'zz'"),
        (("show", "\x1b[2J"), 1, "There is no session whose id begins with '\\x1b[2J'"),
        (("show", ""), 1, "There is no session whose id begins with ''"),
        (("show",), 2, "the following arguments are required: ID"),
        (("fork", "a", "--steps", "-1"), 2, "'-1' is not a number"),
        (("rename", "a", " "), 2, "The title is empty"),
        (("list", "-n", "x"), 2, "'x' is not a number"),
        (("nonsense",), 2, "invalid choice: 'nonsense'"),
        (("import", "gone.json"), 1, "gone.json cannot be read (No such file or directory)"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    home: Home, arguments: Sequence[str], code: int, sentence: str
) -> None:
    failed = home.run(*arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert sentence in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("caesura")


def test_an_output_that_nobody_reads_ends_it_quietly(home: Home) -> None:
    session_id = home.make("x" * 1_000_000)
    with home.started("show", session_id) as left:
        assert left.stdout is not None
        assert left.stdout.read(10)
        left.stdout.close()
        assert left.wait(GENEROUS_S) == 141
        assert left.stderr is not None
        assert left.stderr.read() == ""


def test_an_output_that_takes_nothing_is_told(home: Home) -> None:
    session_id = home.make("x")
    with Path("/dev/full").open("w") as full:
        failed = home.run("show", session_id, stdout=full)
    assert failed.returncode == 1
    assert failed.stderr == (
        "caesura: Standard output takes nothing more (No space left on device): send it somewhere else.\n"
    )


@pytest.mark.promise("Q1")
def test_a_reader_that_never_reads_does_not_hold_up_ctrl_c(home: Home) -> None:
    session_id = home.make("x" * 1_000_000)
    with home.started("show", session_id) as stopped:
        assert stopped.stdout is not None
        assert stopped.stdout.read(1)
        stopped.send_signal(signal.SIGINT)
        assert stopped.wait(GENEROUS_S) == 130


@pytest.mark.promise("H8")
def test_a_file_of_sessions_that_is_damaged_is_told_and_set_aside(home: Home) -> None:
    home.make("x")
    damaged = b"no database" * 1_000
    for path in home.file.parent.glob("caesura.db*"):
        path.unlink()
    home.file.write_bytes(damaged)
    listed = home.run("list")
    assert "The file of sessions was damaged. It was moved to" in listed.stderr
    aside = [path for path in home.file.parent.iterdir() if ".damaged-" in path.name]
    assert [path.read_bytes() for path in aside] == [damaged]


def test_neither_screen_nor_model_is_loaded_for_it(home: Home) -> None:
    session_id = home.make("x")
    for arguments in (("list",), ("search", "x"), ("show", session_id, "--json"), ("fork", session_id)):
        told = home.run(*arguments, env=home.env() | {"PYTHONPROFILEIMPORTTIME": "1"}).stderr
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
        assert "core" in loaded
        assert not loaded & {"textual", "rich", "litellm", "keyring", "httpx", "pydantic", "mcp", "providers"}
