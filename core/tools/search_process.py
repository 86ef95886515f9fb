"""The search of `list_files` and `grep`, in a process of its own; see `core.tools.child_process`.

It has no time limit, because it can be killed. Results are written at once, up to the limit of the request.
It must never follow a symbolic link, open what is no regular file, or show what is in
a file that may hold secrets, unless it was given that very file.

Files that git ignores are passed over; with ripgrep, though, a glob that matches such a file finds it. If the
request makes no sense, it fails, and the last line says why.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from core.base.regular_file import open_regular
from core.base.secrets import is_secret_path

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_CHARACTERS = 400
"""What is shown of one line."""
BEFORE_MATCH = 80
PIECE_BYTES = 1024 * 1024
"""Longer lines are searched in pieces."""
_PROBE_BYTES = 8 * 1024


class SearchError(Exception):
    """The request makes no sense; the text is for the model."""


class _NotUnderstoodError(Exception):
    """ripgrep does not understand the pattern. Python may, or explains better why not."""


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for. `root` is a folder or a file, `name` what its results are called in front.

    `text` is a regular expression to find in the files, None to list the files. `files` is a glob in the
    manner of .gitignore, empty for all. `limit` counts lines of the answer. `ripgrep` is the program, empty
    for none.
    """

    root: str
    name: str
    files: str
    text: str | None
    limit: int
    context: int = 0
    ignore_case: bool = False
    ripgrep: str = ""

    def named(self, path: str) -> str:
        """The name of a path below the root."""
        return str(Path(self.name) / Path(path).relative_to(self.root))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file that was found, or one beside it. `at` is where in it the match begins."""

    path: str
    number: int
    text: str
    matches: bool = True
    at: int = 0


def main(request: str) -> None:
    """Run the search that `request` describes in JSON, and print the results."""
    search = Search(**json.loads(request))
    try:
        list_files(search) if search.text is None else find_lines(search)
    except SearchError as error:
        sys.exit(str(error))


def list_files(search: Search) -> None:
    wanted = _spec(search.files)
    found = (path for path in walk(search.root) if _wanted(wanted, path, search.root))
    for count, path in enumerate(found):
        if count == search.limit:
            print(
                f"[… more than {search.limit:,} files: the rest is left out; use a narrower pattern or path]"
            )
            return
        print(search.named(path), flush=True)


def find_lines(search: Search) -> None:
    """Print the lines, each file's name above its own."""
    passed_over: dict[str, None] = {}
    given = not Path(search.root).is_dir()
    shown, current = 0, ""
    for line in _lines(search):
        if not given and is_secret_path(Path(line.path)):
            passed_over[search.named(line.path)] = None
            continue
        if shown == search.limit:
            print(
                f"[… more than {shown:,} lines: the rest is left out; use a narrower pattern, path or glob]"
            )
            break
        if line.path != current:
            print(search.named(line.path))
            current = line.path
        print(f"{line.number}{':' if line.matches else '-'}{_cut(line)}", flush=True)
        shown += 1
    if passed_over:
        names = ", ".join(itertools.islice(passed_over, 5))
        print(f"[matches in files that may hold secrets are not shown: {names}]")


def _cut(line: Line) -> str:
    """As much of the line as is shown, the match in it."""
    if len(line.text) <= LINE_CHARACTERS:
        return line.text
    start = max(0, min(line.at - BEFORE_MATCH, len(line.text) - LINE_CHARACTERS))
    piece = line.text[start : start + LINE_CHARACTERS]
    return f"{'… ' if start else ''}{piece} [… {len(line.text) - LINE_CHARACTERS:,} characters left out]"


def _lines(search: Search) -> Iterator[Line]:
    if search.ripgrep:
        found = False
        try:
            for line in _ripgrep(search):
                found = True
                yield line
        except _NotUnderstoodError:
            if found:
                return  # it was not the expression, but a file that cannot be read
        else:
            return
    yield from _search_files(search)


def _ripgrep(search: Search) -> Iterator[Line]:
    """The program ends with the iteration. Raises `_NotUnderstoodError`, such as for a lookahead."""
    options = ["--null", "--line-number", "--with-filename", "--no-heading", "--color=never", "--sort=path"]
    options += ["--no-config", "--hidden", "--no-require-git", "--glob=!.git", f"--context={search.context}"]
    options += ["--ignore-case"] if search.ignore_case else []
    options += [f"--glob={search.files}"] if search.files.strip("*/") else []
    argv = [search.ripgrep, *options, "-e", search.text or "", "--", search.root]
    folder = search.root if Path(search.root).is_dir() else None
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            for raw in process.stdout:
                path, separator, rest = raw.rstrip(b"\r\n").partition(b"\0")
                found = re.match(rb"(\d+)([:-])", rest)
                if separator and found is not None:
                    text = rest[found.end() :].decode("utf-8", "replace")
                    at = _first_match(search, text) if len(text) > LINE_CHARACTERS else 0
                    yield Line(os.fsdecode(path), int(found[1]), text, found[2] == b":", at)
            if process.wait() == 2:
                raise _NotUnderstoodError
        finally:
            process.kill()


def _first_match(search: Search, text: str) -> int:
    try:
        found = _compiled(search).search(text)
    except SearchError:
        return 0
    return found.start() if found else 0


def _compiled(search: Search) -> re.Pattern[str]:
    try:
        return re.compile(search.text or "", re.IGNORECASE if search.ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise SearchError(
            f"The pattern is no regular expression: {error}. Escape what is meant literally."
        ) from error


def _search_files(search: Search) -> Iterator[Line]:
    pattern, wanted = _compiled(search), _spec(search.files)
    for path in walk(search.root):
        if _wanted(wanted, path, search.root):
            yield from _search_file(path, pattern, search.context)


def _search_file(path: str, pattern: re.Pattern[str], context: int) -> Iterator[Line]:
    try:
        file = open_regular(path)
    except OSError:
        return
    with file:
        if b"\0" in file.peek(_PROBE_BYTES)[:_PROBE_BYTES]:
            return
        before: deque[Line] = deque(maxlen=context)
        after, number = 0, 1
        while raw := file.readline(PIECE_BYTES):
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            found = pattern.search(text)
            if found is not None:
                yield from before
                before.clear()
                yield Line(path, number, text, at=found.start())
                after = context
            elif after:
                yield Line(path, number, text, matches=False)
                after -= 1
            else:
                before.append(Line(path, number, text, matches=False))
            number += raw.endswith(b"\n")


def walk(root: str) -> Iterator[str]:
    """The regular files below a folder that git does not ignore, sorted by name; or the file itself."""
    if not Path(root).is_dir():
        yield root
        return
    ignores = tuple(itertools.chain.from_iterable(map(_ignores, _outer_folders(Path(root)))))
    yield from _walk(root, ignores)


def _outer_folders(root: Path) -> list[Path]:
    """The folders above that belong to the same repository, outermost first."""
    for count, folder in enumerate((root, *root.parents)):
        if (folder / ".git").exists():
            return list(reversed(root.parents[:count]))
    return []


_Ignores = tuple[tuple[str, GitIgnoreSpec], ...]
"""Folders with a .gitignore, outermost first."""


def _ignores(folder: Path) -> _Ignores:
    try:
        raw = open_regular(folder / ".gitignore")
        with io.TextIOWrapper(raw, encoding="utf-8", errors="replace") as file:
            return ((str(folder), GitIgnoreSpec.from_lines(file)),)
    except (OSError, ValueError):
        return ()


def _walk(folder: str, ignores: _Ignores) -> Iterator[str]:
    ignores += _ignores(Path(folder))
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != ".git" and not _ignored(f"{entry.path}/", ignores):
                yield from _walk(entry.path, ignores)
        elif entry.is_file(follow_symlinks=False) and not _ignored(entry.path, ignores):
            yield entry.path


def _ignored(path: str, ignores: _Ignores) -> bool:
    """The innermost .gitignore that says anything decides."""
    for folder, spec in reversed(ignores):
        if (verdict := spec.check_file(path[len(folder) :].lstrip("/")).include) is not None:
            return verdict
    return False


def _spec(pattern: str) -> GitIgnoreSpec | None:
    pattern = pattern.removeprefix("./")
    if not pattern.strip("*/"):
        return None
    try:
        return GitIgnoreSpec.from_lines([f"\\{pattern}" if pattern[0] in "!#" else pattern])
    except ValueError as error:
        raise SearchError(f"{pattern!r} is no pattern of file names: {error}.") from error


def _wanted(spec: GitIgnoreSpec | None, path: str, root: str) -> bool:
    name = Path(path).name if path == root else path[len(root) :].lstrip("/")
    return spec is None or spec.match_file(name)
