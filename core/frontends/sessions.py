"""`caesura sessions`: list, search, show, export and change the stored sessions without a screen.

It needs no model and no key, and must import no screen library. Results go to standard output, messages to
standard error. No control sequence of a model or a file reaches the terminal. Writing happens in threads, so
that a stopped reader cannot hold up Ctrl+C.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, TypeAlias, assert_never

from msgspec.structs import asdict

from core.base.errors import CaesuraError
from core.base.output import (
    OutputMissing,
    check_output,
    write_all,
    write_last_messages,
    write_output_in_thread,
)
from core.base.threads import run_in_thread
from core.base.values import Value
from core.frontends.headless import ExitCode, Output
from core.frontends.session_table import (
    Columns,
    hit_lines,
    hit_records,
    session_lines,
    session_records,
)
from core.session.archive import ALL, Format, id_length, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from core.session.archive import Archive
    from core.storage.records import SessionInfo

USUAL_WIDTH = 80
"""Columns of a terminal whose width is not known."""


class List(Value):
    """List the sessions of this folder, or `everywhere`; with `limit` only the newest ones."""

    everywhere: bool = False
    limit: int | None = None
    output: Output = Output.TEXT


class Search(Value):
    words: str
    output: Output = Output.TEXT


class Show(Value):
    """Print a session. `session` is an id or its beginning, here and in the other commands."""

    session: str
    form: Format = Format.MARKDOWN


class Export(Value):
    """Write a session to `path`, or to a new file in this folder."""

    session: str
    path: Path | None = None
    form: Format = Format.MARKDOWN


class Import(Value):
    path: Path


class Rename(Value):
    session: str
    title: str


class Delete(Value):
    """Delete a session. `confirmed`: without a question."""

    session: str
    confirmed: bool = False


class Fork(Value):
    """Copy the first `steps` of a session, or all."""

    session: str
    steps: int | None = None


SessionsCommand: TypeAlias = List | Search | Show | Export | Import | Rename | Delete | Fork


class _Refused(CaesuraError):
    """The command line asks for something impossible."""


async def run_sessions(command: SessionsCommand, archive: Archive) -> int:
    """Run `command`, close the archive and return the exit code."""
    messages: list[str] = []
    archive.listen(messages.append)
    code = ExitCode.COMPLETED
    try:
        check_output()
        await _run_command(command, archive, messages.append)
    except (_Refused, OutputMissing) as error:
        messages.append(str(error))
        code = ExitCode.USAGE
    except CaesuraError as error:
        messages.append(str(error))
        code = ExitCode.FAILED
    except BrokenPipeError:
        code = ExitCode.OUTPUT_CLOSED
    finally:
        await archive.aclose()
    await write_last_messages(messages)
    return code


async def _run_command(
    command: SessionsCommand, archive: Archive, add_message: Callable[[str], None]
) -> None:
    match command:
        case List():
            await _list(command, archive, add_message)
        case Search(words, output):
            await _search(words, output, archive, add_message)
        case Show(session, form):
            info = await archive.find(session)
            await write_output_in_thread(await archive.text(info.session_id, form))
        case Export(session, path, form):
            info = await archive.find(session)
            if path is None:
                await write_output_in_thread(await archive.export(info.session_id, suffix=form) + "\n")
            else:
                await archive.export_to(info.session_id, path, form)
        case Import(path):
            await write_output_in_thread(await archive.import_file(path) + "\n")
        case Rename(session, title):
            if not title.strip():
                raise _Refused("The title is empty: write the new one behind the id.")
            info = await archive.find(session)
            await archive.rename(info.session_id, " ".join(title.split()))
        case Delete(session, confirmed):
            info = await archive.find(session)
            if not (confirmed or await _ask_to_delete(info)):
                raise CaesuraError("Nothing was deleted.")
            await archive.delete(info.session_id)
        case Fork(session, steps):
            info = await archive.find(session)
            await write_output_in_thread(await archive.fork(info.session_id, steps) + "\n")
        case _:
            assert_never(command)


async def _list(command: List, archive: Archive, add_message: Callable[[str], None]) -> None:
    all_of_them = await archive.sessions(limit=ALL)
    here = str(archive.workspace)
    found = [info for info in all_of_them if command.everywhere or info.workspace == here]
    infos = found[: command.limit]
    if command.output is Output.JSON:
        await write_output_in_thread(_json([_fields(info) for info in infos]))
        return
    if not all_of_them:
        add_message("There are no sessions.")
    elif not found:
        add_message(
            "There are no sessions in this folder; `caesura sessions list --all` lists those of others."
        )
    columns = _columns(all_of_them, folders=command.everywhere)
    await _write_lines(session_records(infos) if columns is None else session_lines(infos, columns))


def _fields(info: SessionInfo) -> dict[str, object]:
    """A session for a program: the names of our fields, not those of the stored format."""
    return {**asdict(info), "usage": asdict(info.usage)}


async def _search(words: str, output: Output, archive: Archive, add_message: Callable[[str], None]) -> None:
    hits = await archive.search(words)
    if output is Output.JSON:
        await write_output_in_thread(_json([{**asdict(hit), "info": _fields(hit.info)} for hit in hits]))
        return
    if not hits:
        add_message("No session has all of these words.")
    columns = _columns(await archive.sessions(limit=ALL))
    await _write_lines(hit_records(hits) if columns is None else hit_lines(hits, columns))


async def _ask_to_delete(info: SessionInfo) -> bool:
    """Ask on the terminal whether to delete. Raises `_Refused` if there is no terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise _Refused("There is no terminal to ask on: give --yes to delete this session for good.")
    steps = "1 step" if info.steps == 1 else f"{info.steps} steps"
    question = f"Delete ‘{title_of(info)}’ ({info.session_id}, {steps}) for good? [y/N] "
    written = question.encode("utf-8", "replace")
    await run_in_thread(lambda: write_all(sys.stderr.fileno(), written), name="standard error")
    return (await _read_line()).strip().lower() in ("y", "yes")


async def _read_line() -> str:
    """The next line that is typed; empty at the end of the input. Not in a thread: that would outlive
    Ctrl+C."""
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
    await write_output_in_thread("".join(f"{line}\n" for line in lines))
