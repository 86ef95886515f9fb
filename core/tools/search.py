"""`list_files` and `grep`: both search in a process that a stop ends at once, wherever it is (X4).

Nothing here reads the file system itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field

from core.tools.base import Access, AccessKind, Shown, ToolContext, ToolError, ToolOutput, Workspace
from core.tools.python_process import run_module
from core.tools.regular_files import GivenPath, describe_missing, in_thread
from core.tools.search_process import Search

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from core.processes import Containment

FILES_LIMIT = 1_000
LINES_LIMIT = 300
OUTPUT_BYTES = 64 * 1024
DEADLINE_S = 120.0

_FOLDER = "Where to look; relative paths start at the workspace."


class ListFilesArguments(BaseModel):
    pattern: str = Field(
        default="**",
        description="Which files, as in .gitignore: *.py in any folder, src/**/*.py below src, ** all.",
    )
    path: GivenPath = Field(default=".", min_length=1, description=_FOLDER)


class GrepArguments(BaseModel):
    pattern: str = Field(
        min_length=1, max_length=10_000, description="Regular expression, matched line by line."
    )
    path: GivenPath = Field(default=".", min_length=1, description=f"A folder or one file. {_FOLDER}")
    glob: str = Field(
        default="", description="Only files like this, as in .gitignore: *.py or src/**. Empty: all."
    )
    context: int = Field(default=0, ge=0, le=20, description="Lines to show before and after each match.")
    ignore_case: bool = Field(default=False, description="Whether upper and lower case are the same.")


ArgumentsT = TypeVar("ArgumentsT", ListFilesArguments, GrepArguments)


class _Searching:
    """What both tools have in common. `secrets` and `containment` as for `Shell`."""

    grace_s = 5.0

    def __init__(self, *, secrets: Collection[str], containment: Containment | None) -> None:
        self._secrets = frozenset(secrets)
        self._containment = containment

    def access(self, arguments: ListFilesArguments | GrepArguments, workspace: Workspace) -> Access:
        path = workspace.path(arguments.path)
        return Access(AccessKind.READ, workspace.name(path), (path,))

    def concurrent(self, arguments: ListFilesArguments | GrepArguments) -> bool:
        return True

    def deadline_s(self, arguments: ListFilesArguments | GrepArguments) -> float | None:
        return DEADLINE_S

    async def preview(
        self, arguments: ListFilesArguments | GrepArguments, context: ToolContext
    ) -> Shown | None:
        return None

    async def _search(self, search: Search, path: Path, context: ToolContext) -> str:
        await in_thread(lambda: _demand_existing(path, search.name))
        return await run_module(
            "core.tools.search_process",
            search.to_json(),
            cwd=context.workspace.root,
            context=context,
            secrets=self._secrets,
            containment=self._containment,
            output_bytes=OUTPUT_BYTES,
        )


def _demand_existing(path: Path, name: str) -> None:
    try:
        path.stat()
    except FileNotFoundError as error:
        raise ToolError(describe_missing(path, name)) from error
    except OSError as error:
        raise ToolError(f"{name} cannot be searched: {error.strerror}.") from error


class ListFiles(_Searching):
    """Names of files."""

    name = "list_files"
    description = (
        "List files by name, in all folders below a path. Links are not followed, and what git ignores is "
        f"left out. At most {FILES_LIMIT:,} names; if there are more, that is said."
    )
    arguments = ListFilesArguments

    def title(self, arguments: ListFilesArguments, workspace: Workspace) -> str:
        return f"{arguments.pattern} in {workspace.name(workspace.path(arguments.path))}"

    async def run(self, arguments: ListFilesArguments, context: ToolContext) -> ToolOutput:
        path = context.workspace.path(arguments.path)
        name = context.workspace.name(path)
        search = Search(str(path), name, arguments.pattern, None, FILES_LIMIT)
        text = await self._search(search, path, context) or f"No file in {name} is like {arguments.pattern}."
        return ToolOutput(text, Shown(text))


class Grep(_Searching):
    """Lines of files. `ripgrep` is the path of the program, empty where there is none."""

    name = "grep"
    description = (
        "Find lines by a regular expression in all files below a path, or in one file. Shows each file's "
        "name and its lines as NUMBER:LINE, and NUMBER-LINE for context. Binary files, links and what git "
        f"ignores are left out. At most {LINES_LIMIT} lines; if there are more, that is said."
    )
    arguments = GrepArguments

    def __init__(self, *, secrets: Collection[str], containment: Containment | None, ripgrep: str) -> None:
        super().__init__(secrets=secrets, containment=containment)
        self._ripgrep = ripgrep

    def title(self, arguments: GrepArguments, workspace: Workspace) -> str:
        where = workspace.name(workspace.path(arguments.path))
        return f"{arguments.pattern} in {where}" + (f", {arguments.glob}" if arguments.glob else "")

    async def run(self, arguments: GrepArguments, context: ToolContext) -> ToolOutput:
        path = context.workspace.path(arguments.path)
        name = context.workspace.name(path)
        search = Search(
            root=str(path),
            name=name,
            files=arguments.glob,
            text=arguments.pattern,
            limit=LINES_LIMIT,
            context=arguments.context,
            ignore_case=arguments.ignore_case,
            ripgrep=self._ripgrep,
        )
        text = await self._search(search, path, context) or f"No line in {name} matches {arguments.pattern}."
        return ToolOutput(text, Shown(text))
