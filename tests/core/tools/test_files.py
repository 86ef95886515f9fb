"""`read_file`: whatever the file is, it takes bounded time and says what is missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

from core.engine.tool import ToolError
from core.tools import files
from core.tools.files import ReadFile
from tests.core.tools.calls import Call
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


async def read(root: Path, **arguments: object) -> str:
    return (await Call(ReadFile(), root).run(**arguments)).text


async def test_lines_come_with_their_numbers_and_the_rest_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {number}\n" for number in range(1, 6)))
    assert await read(tmp_path, path="a.txt", offset=4) == "     4\tline 4\n     5\tline 5"
    text = await read(tmp_path, path="a.txt", offset=2, limit=2)
    assert text.splitlines()[:2] == ["     2\tline 2", "     3\tline 3"]
    assert "lines 2 to 3" in text
    assert "offset 4" in text
    with pytest.raises(ToolError, match="no line 6"):
        await read(tmp_path, path="a.txt", offset=6)
    (tmp_path / "empty").touch()
    assert await read(tmp_path, path="empty") == "(the file is empty)"


async def test_windows_lines_and_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\r\ncaf\xe9\r\n")
    text = await read(tmp_path, path="a")
    assert "\r" not in text
    assert "     2\tcaf\ufffd" in text
    assert "CR LF" in text
    assert "not all of it is UTF-8" in text


async def test_output_and_each_line_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 1_000_000 + "\nnext\n")
    assert "998,001 bytes left out" in (text := await read(tmp_path, path="long"))
    assert "     2\tnext" in text
    (tmp_path / "wide").write_text(("y" * 1_000 + "\n") * 1_000)
    text = await read(tmp_path, path="wide")
    assert len(text) < files.OUTPUT_BYTES + files.LINE_BYTES
    assert "it goes on at offset 67" in text


async def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.write(b"one\ntwo\n" + b"a\n" * 4096)
        file.truncate(5 * 2**30)
    assert (await read(tmp_path, path="huge", limit=2)).startswith("     1\tone\n     2\ttwo\n")
    with pytest.raises(ToolError, match="too far to count"):
        await read(tmp_path, path="huge", offset=1_000_000)


async def test_what_is_no_text_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "picture").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "wide").write_text("text", encoding="utf-16")
    for name, words in (
        ("pipe", "named pipe"), ("folder", "a folder"), ("/dev/tty", "a device"), ("/dev/zero", "a device"),
        ("picture", "binary"), ("wide", "UTF-16"),
    ):  # fmt: skip
        with pytest.raises(ToolError, match=words):
            await read(tmp_path, path=name)


async def test_a_name_that_is_nearly_right_is_told_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Settings.py").touch()
    with pytest.raises(ToolError, match=r"Near it there is: src/Settings\.py"):
        await read(tmp_path, path="src/setings.py")
    with pytest.raises(ToolError, match="nearest folder"):
        await read(tmp_path, path="source/deep/settings.py")
    with pytest.raises(ValueError, match="NUL"):
        await read(tmp_path, path="a\0b")


@pytest.mark.promise("X3", "X4")
async def test_a_stop_ends_the_count_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.write(b"a" * 8192)
        file.truncate(2**40)
    monkeypatch.setattr(files, "SCAN_BYTES", 2**60)
    monkeypatch.setattr(files, "_CHUNK_BYTES", 4096)

    def is_open() -> bool:
        return any(handle.path == str(tmp_path / "huge") for handle in psutil.Process().open_files())

    call = Call(ReadFile(), tmp_path)
    task = call.start(path="huge", offset=2)
    await until(is_open)
    await call.stop(task)
    assert not is_open()
