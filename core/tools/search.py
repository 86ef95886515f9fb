"""`list_files` and `grep`: both search in a process that a stop ends at once, wherever it is (X4).

Nothing here reads the file system itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field

from core.engine.tool import Access, AccessKind, Shown, Tool, ToolContext, ToolError, ToolOutput, Workspace
from core.tools.regular_files import GivenPath, describe_missing, in_thread
from core.tools.search_process import Search

if TYPE_CHECKING:
    from pathlib import Path

    from core.tools.child_process import ModuleRunner

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


class _Searching(Tool[ArgumentsT]):
    """The common part of both tools."""

    grace_s = 5.0

    def __init__(self, modules: ModuleRunner) -> None:
        self._modules = modules

    def access(self, arguments: ArgumentsT, workspace: Workspace) -> Access:
        path = workspace.path(arguments.path)
        return Access(AccessKind.READ, workspace.name(path), (path,))

    def concurrent(self, arguments: ArgumentsT) -> bool:
        return True

    def deadline_s(self, arguments: ArgumentsT) -> float | None:
        return DEADLINE_S

    async def _search(self, search: Search, path: Path, context: ToolContext, *, none: str) -> ToolOutput:
        """The results, or `none` where there are none."""
        await in_thread(lambda: _demand_existing(path, search.name))
        module = "core.tools.search_process"
        text = await self._modules.run(module, search, context, output_bytes=OUTPUT_BYTES) or none
        return ToolOutput(text, Shown(text))


def _demand_existing(path: Path, name: str) -> None:
    try:
        path.stat()
    except FileNotFoundError as error:
        raise ToolError(describe_missing(path, name)) from error
    except OSError as error:
        raise ToolError(f"{name} cannot be searched: {error.strerror}.") from error


class ListFiles(_Searching[ListFilesArguments]):
    """Lists files by name."""

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
        none = f"No file in {name} is like {arguments.pattern}."
        return await self._search(search, path, context, none=none)


class Grep(_Searching[GrepArguments]):
    """Finds lines in files. `ripgrep` is the path of the program, empty if it is not installed."""

    name = "grep"
    description = (
        "Find lines by a regular expression in all files below a path, or in one file. Shows each file's "
        "name and its lines as NUMBER:LINE, and NUMBER-LINE for context. Binary files, links and what git "
        f"ignores are left out. At most {LINES_LIMIT} lines; if there are more, that is said."
    )
    arguments = GrepArguments

    def __init__(self, modules: ModuleRunner, ripgrep: str) -> None:
        super().__init__(modules)
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
        none = f"No line in {name} matches {arguments.pattern}."
        return await self._search(search, path, context, none=none)
