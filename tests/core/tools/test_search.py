"""`list_files` and `grep`: what they find and pass over, and that a stop ends them wherever they are."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import psutil
import pytest

from core.engine.tool import ToolError
from core.process.containment import Containment
from core.tools import search
from core.tools.child_process import ModuleRunner
from core.tools.search import Grep, ListFiles
from tests.core.tools.calls import Call
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

LISTING = ListFiles(ModuleRunner((), Containment.GROUP))


@pytest.fixture(params=["", "rg"])
def grep(request: pytest.FixtureRequest) -> Grep:
    program = shutil.which(request.param) if request.param else ""
    if program is None:
        pytest.skip("ripgrep is not installed")
    return Grep(ModuleRunner((), Containment.GROUP), program)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in {
        "a.py": "import os\nx = 1\ny = 2\nz = 3\n",
        "src/b.py": "X = 1\n",
        "src/deep/c.txt": "x = 1\n",
        "src/skipped.log": "x = 1\n",
        "out/d.py": "x = 1\n",
        "src/out/kept.py": "no\n",
        ".gitignore": "*.log\n/out/\n",
        "src/.gitignore": "!deep.log\n",
        "src/deep.log": "x = 1\n",
        ".git/config": "x = 1\n",
        ".github/ci.yml": "x = 1\n",
        ".env": "x = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "binary").write_bytes(b"\0x = 1\n")
    (tmp_path / "link").symlink_to("a.py")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


async def found(tool: ListFiles | Grep, root: Path, **arguments: object) -> list[str]:
    return (await Call(tool, root).run(**arguments)).text.splitlines()


async def test_files_are_listed_but_for_links_and_what_git_ignores(tree: Path) -> None:
    assert await found(LISTING, tree) == [
        ".env", ".github/ci.yml", ".gitignore", "a.py", "binary", "src/.gitignore", "src/b.py",
        "src/deep/c.txt", "src/deep.log", "src/out/kept.py",
    ]  # fmt: skip
    assert await found(LISTING, tree, pattern="*.py") == ["a.py", "src/b.py", "src/out/kept.py"]
    assert await found(LISTING, tree, pattern="src/**/*.txt") == ["src/deep/c.txt"]
    assert await found(LISTING, tree, path="src", pattern="./*.py") == ["src/b.py", "src/out/kept.py"]
    assert await found(LISTING, tree, pattern="*.rs") == ["No file in . is like *.rs."]
    (tree / ".git/HEAD").touch()
    (tree / "src/more.log").touch()
    assert "src/more.log" not in await found(LISTING, tree, path="src")


async def test_a_gitignore_that_is_a_pipe_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "src/deep/.gitignore")
    assert await found(LISTING, tree, pattern="*.txt") == ["src/deep/c.txt"]


async def test_lines_are_found_and_named_once_per_file(tree: Path, grep: Grep) -> None:
    assert await found(grep, tree, pattern=r"^x = \d", glob="*.py") == ["a.py", "2:x = 1"]
    assert await found(grep, tree, pattern="x = 1", path="src", ignore_case=True) == [
        "src/b.py", "1:X = 1", "src/deep/c.txt", "1:x = 1", "src/deep.log", "1:x = 1",
    ]  # fmt: skip
    assert await found(grep, tree, pattern="y", path="a.py", context=1) == [
        "a.py",
        "2-x = 1",
        "3:y = 2",
        "4-z = 3",
    ]
    assert await found(grep, tree, pattern="nowhere") == ["No line in . matches nowhere."]
    assert await found(grep, tree, pattern="(?<=y = )2") == ["a.py", "3:y = 2"]


async def test_secrets_are_not_shown_unless_their_file_is_named(tree: Path, grep: Grep) -> None:
    lines = await found(grep, tree, pattern="x = 1")
    assert lines[-1] == "[matches in files that may hold secrets are not shown: .env]"
    assert ".env" not in lines
    assert await found(grep, tree, pattern="x = 1", path=".env") == [".env", "1:x = 1"]


async def test_what_is_left_out_is_said(tmp_path: Path, grep: Grep) -> None:
    for number in range(search.FILES_LIMIT + 1):
        (tmp_path / f"{number:04}").write_text("hit\n" if number else f"{'-' * 5_000}hit{'-' * 5_000}\n")
    listed = await found(LISTING, tmp_path)
    assert len(listed) == search.FILES_LIMIT + 1
    assert "more than 1,000 files" in listed[-1]
    lines = await found(grep, tmp_path, pattern="hit")
    assert "hit" in lines[1]
    assert "characters left out" in lines[1]
    assert len(lines[1]) < 500
    assert "more than 300 lines" in lines[-1]


async def test_what_makes_no_sense_is_an_error_for_the_model(tree: Path, grep: Grep) -> None:
    with pytest.raises(ToolError, match="no regular expression"):
        await found(grep, tree, pattern="a(b")
    with pytest.raises(ToolError, match="too long"):
        await found(grep, tree, pattern="a", path="x" * 300)
    with pytest.raises(ToolError, match=r"Near it there is: src"):
        await found(grep, tree, pattern="a", path="srcc")


@pytest.mark.promise("X3", "X4")
@pytest.mark.parametrize("containment", list(Containment))
async def test_a_stop_ends_an_expression_that_never_ends(tmp_path: Path, containment: Containment) -> None:
    (tmp_path / "a").write_text("first\n" + "a" * 100 + "!\n")
    call = Call(Grep(ModuleRunner((), containment), ""), tmp_path)
    task = call.start(pattern="first|(a+)+$(?=)")
    await until(lambda: "1:first" in call.progress.text())
    await call.stop(task)
    assert "1:first" in call.progress.text()


@pytest.mark.promise("X3")
async def test_a_stop_ends_a_walk(tmp_path: Path) -> None:
    call = Call(LISTING, tmp_path)
    task = call.start()
    await until(lambda: call.progress.processes)
    # Held fast, so that it is certain to be in the middle.
    for process in call.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if not process.children():
                process.suspend()
    await call.stop(task)
