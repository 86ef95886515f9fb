"""The front end without a screen for the sessions that are kept: `caesura sessions list` and the like.

It needs no model and no key, and must import no screen library. What was asked for goes to standard output,
all else to standard error. Nothing that a model or a stranger's file has written reaches a terminal as a
control sequence. Writing happens in threads, so that a reader who is stopped cannot hold up Ctrl+C.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeAlias, assert_never

from core.errors import CaesuraError
from core.frontends.headless import LAST_WORDS_S, ExitCode, Output
from core.frontends.session_table import (
    Columns,
    hit_lines,
    hit_records,
    session_lines,
    session_records,
)
from core.sanitize import printable
from core.sessions import ALL, Format, id_length, title_of
from core.threads import run_in_thread, start_in_thread
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from core.records import SessionInfo
    from core.sessions import Archive

USUAL_WIDTH = 80
"""Columns of a terminal that does not tell how wide it is."""


@dataclass(frozen=True, slots=True)
class List:
    """The sessions of this folder, or `everywhere`; with `limit` only so many, the newest."""

    everywhere: bool = False
    limit: int | None = None
    output: Output = Output.TEXT


@dataclass(frozen=True, slots=True)
class Search:
    words: str
    output: Output = Output.TEXT


@dataclass(frozen=True, slots=True)
class Show:
    """In all of these `session` is an id or its beginning."""

    session: str
    form: Format = Format.MARKDOWN


@dataclass(frozen=True, slots=True)
class Export:
    """To `path`, or to a file with a name of its own in this folder."""

    session: str
    path: Path | None = None
    form: Format = Format.MARKDOWN


@dataclass(frozen=True, slots=True)
class Import:
    path: Path


@dataclass(frozen=True, slots=True)
class Rename:
    session: str
    title: str


@dataclass(frozen=True, slots=True)
class Delete:
    """`confirmed` means that nobody is asked."""

    session: str
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Fork:
    """The first `steps` of it, or all."""

    session: str
    steps: int | None = None


SessionsCommand: TypeAlias = List | Search | Show | Export | Import | Rename | Delete | Fork


class _Refused(CaesuraError):
    """The command line asks for what cannot be done like this."""


async def run_sessions(command: SessionsCommand, archive: Archive) -> int:
    """Do what `command` says and close the archive; the exit code."""
    said: list[str] = []
    archive.listen(said.append)
    code = ExitCode.COMPLETED
    try:
        if sys.stdout is None:
            raise _Refused("Standard output is closed: send it to a file, a pipe or a terminal.")
        await _do(command, archive, said.append)
    except _Refused as error:
        said.append(str(error))
        code = ExitCode.USAGE
    except CaesuraError as error:
        said.append(str(error))
        code = ExitCode.FAILED
    except BrokenPipeError:
        code = ExitCode.OUTPUT_CLOSED
    finally:
        await archive.aclose()
    await _say(said)
    return code


async def _do(command: SessionsCommand, archive: Archive, tell: Callable[[str], None]) -> None:
    match command:
        case List():
            await _list(command, archive, tell)
        case Search(words, output):
            await _search(words, output, archive, tell)
        case Show(session, form):
            info = await archive.find(session)
            await _write(await archive.text(info.session_id, form))
        case Export(session, path, form):
            info = await archive.find(session)
            if path is None:
                await _write(await archive.export(info.session_id, suffix=form) + "\n")
            else:
                await archive.export_to(info.session_id, path, form)
        case Import(path):
            await _write(await archive.import_file(path) + "\n")
        case Rename(session, title):
            if not title.strip():
                raise _Refused("The title is empty: write the new one behind the id.")
            info = await archive.find(session)
            await archive.rename(info.session_id, " ".join(title.split()))
        case Delete():
            await _delete(command, archive)
        case Fork(session, steps):
            info = await archive.find(session)
            await _write(await archive.fork(info.session_id, steps) + "\n")
        case _:
            assert_never(command)


async def _list(command: List, archive: Archive, tell: Callable[[str], None]) -> None:
    all_of_them = await archive.sessions(limit=ALL)
    here = str(archive.workspace)
    found = [info for info in all_of_them if command.everywhere or info.workspace == here]
    infos = found[: command.limit]
    if command.output is Output.JSON:
        await _write(_json([asdict(info) for info in infos]))
        return
    if not all_of_them:
        tell("There are no sessions.")
    elif not found:
        tell("There are no sessions in this folder; `caesura sessions list --all` lists those of others.")
    columns = _columns(all_of_them, folders=command.everywhere)
    await _write_lines(session_records(infos) if columns is None else session_lines(infos, columns))


async def _search(words: str, output: Output, archive: Archive, tell: Callable[[str], None]) -> None:
    hits = await archive.search(words)
    if output is Output.JSON:
        await _write(_json([asdict(hit) for hit in hits]))
        return
    if not hits:
        tell("No session has all of these words.")
    columns = _columns(await archive.sessions(limit=ALL))
    await _write_lines(hit_records(hits) if columns is None else hit_lines(hits, columns))


async def _delete(command: Delete, archive: Archive) -> None:
    info = await archive.find(command.session)
    if not (command.confirmed or await _is_confirmed(info)):
        raise CaesuraError("Nothing was deleted.")
    await archive.delete(info.session_id)


async def _is_confirmed(info: SessionInfo) -> bool:
    """Ask on the terminal. Raises `_Refused` where there is none."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise _Refused("There is no terminal to ask on: give --yes to delete this session for good.")
    steps = "1 step" if info.steps == 1 else f"{info.steps} steps"
    question = f"Delete ‘{title_of(info)}’ ({info.session_id}, {steps}) for good? [y/N] "
    await run_in_thread(lambda: _write_all(sys.stderr.fileno(), question), name="standard error")
    return (await _read_line()).strip().lower() in ("y", "yes")


async def _read_line() -> str:
    """What is typed next; empty at the end of the input. Not in a thread, which would outlive Ctrl+C."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()
    fd = sys.stdin.fileno()

    def read() -> None:
        loop.remove_reader(fd)
        try:
            typed.set_result(os.read(fd, 4_096))
        except OSError:
            # The terminal is gone.
            typed.set_result(b"")

    loop.add_reader(fd, read)
    try:
        return (await typed).decode("utf-8", "replace")
    finally:
        loop.remove_reader(fd)


def _columns(infos: Iterable[SessionInfo], *, folders: bool = False) -> Columns | None:
    """How lines are fitted to the terminal; None where standard output is none."""
    fd = sys.stdout.fileno()
    if not os.isatty(fd):
        return None
    return Columns(os.get_terminal_size(fd).columns or USUAL_WIDTH, id_length(infos), folders)


def _json(values: list[dict[str, object]]) -> str:
    """In ASCII, which has an escape for whatever a terminal would obey."""
    return json.dumps(values, indent=2) + "\n"


async def _write_lines(lines: Iterable[str]) -> None:
    await _write("".join(f"{line}\n" for line in lines))


async def _write(text: str) -> None:
    """Write it all to standard output. Raises `BrokenPipeError` when nobody reads it."""
    fd = sys.stdout.fileno()
    try:
        await run_in_thread(lambda: _write_all(fd, text), name="standard output")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CaesuraError(
            f"Standard output takes nothing more ({error.strerror}): send it somewhere else."
        ) from error


async def _say(sentences: Iterable[str]) -> None:
    """To standard error, unless its reader takes nothing."""
    text = "".join(f"caesura: {printable(sentence)}\n" for sentence in sentences)
    written = start_in_thread(lambda: _write_all(sys.stderr.fileno(), text), name="standard error")
    done, _ = await asyncio.wait({written}, timeout=LAST_WORDS_S)
    if done:
        # Where nobody listens, the exit code still tells.
        written.exception()


def _write_all(fd: int, text: str) -> None:
    """Blocking."""
    rest = memoryview(text.encode("utf-8", "replace"))
    while rest:
        rest = rest[os.write(fd, rest) :]
