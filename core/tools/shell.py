"""`shell`: a command line with its whole process tree, for as long as its call lasts.

`core.process.command` ends it at a stop; nothing here catches a cancel. A background command is requested as
such and handed over.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from core.base.threads import run_in_thread
from core.engine.tool import Access, AccessKind, Shown, Tool, ToolContext, ToolError, ToolOutput, Workspace
from core.permissions.shell_analysis import is_read_only
from core.process.command import (
    Command,
    CommandError,
    OutputRing,
    RunningCommand,
    child_environment,
    run_command,
)
from core.tools.regular_files import GivenPath  # noqa: TC001 (pydantic reads it)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from core.process.command import CommandEnd, Containment

DEADLINE_S = 120
LONGEST_S = 3_600
LONGEST_CONCURRENT = 1_024
"""The longest command line, in characters, that is examined for running at the same time as others."""
HEAD_BYTES = 16 * 1024
TAIL_BYTES = 32 * 1024
"""The model reads this much of the beginning and of the end of the output, in bytes."""


class ShellArguments(BaseModel):
    command: str = Field(min_length=1, description="The command line, for bash, or sh where bash is missing.")
    background: bool = Field(
        default=False,
        description="Start it and go on at once, without its output; for servers and watchers. It runs until "
        "it ends by itself or is stopped. Never put & at the end of a command for this.",
    )
    deadline: float = Field(
        default=DEADLINE_S,
        gt=0,
        le=LONGEST_S,
        description="Seconds after which it is stopped, up to 3600. Not for background.",
    )
    folder: GivenPath = Field(
        default=".", min_length=1, description="Where it runs; relative paths start at the workspace."
    )


class Shell(Tool[ShellArguments]):
    """Runs command lines. `launch` starts one in the background and returns the id of its operation.

    `secrets` are the names of variables that no command gets; `containment` says what holds
    the processes of a command line together, None for the best of this machine.
    """

    name = "shell"
    description = (
        "Run a command line and get its exit code and output (standard output and error together; of a long "
        "one the beginning and the end). Each call is a fresh shell: folder and variables are not kept. "
        "There is no terminal and no standard input: a command that asks something fails. "
        "When the call ends, whatever it has started is ended too, except with background."
    )
    arguments = ShellArguments
    grace_s = 5.0

    def __init__(
        self,
        launch: Callable[[Command, str], Awaitable[str]],
        *,
        secrets: Collection[str],
        containment: Callable[[str], Containment | None],
    ) -> None:
        self._launch = launch
        self._secrets = frozenset(secrets)
        self._containment = containment

    def title(self, arguments: ShellArguments, workspace: Workspace) -> str:
        return " ".join(arguments.command.split())

    def access(self, arguments: ShellArguments, workspace: Workspace) -> Access:
        return Access(AccessKind.COMMAND, arguments.command, (workspace.path(arguments.folder),))

    def concurrent(self, arguments: ShellArguments) -> bool:
        """Whether it only reads. This runs on the event loop, so a line that takes longer to parse counts as
        no."""
        is_short = len(arguments.command) <= LONGEST_CONCURRENT
        return is_short and not arguments.background and is_read_only(arguments.command)

    def deadline_s(self, arguments: ShellArguments) -> float | None:
        return None if arguments.background else arguments.deadline

    async def run(self, arguments: ShellArguments, context: ToolContext) -> ToolOutput:
        make_command = partial(self._command, arguments, context.workspace)
        command = await run_in_thread(make_command, name="shell line")
        try:
            if arguments.background:
                identifier = await self._launch(command, self.title(arguments, context.workspace))
                text = f"Started in the background as {identifier}."
                return ToolOutput(text, Shown(text))
            running = RunningCommand()
            running.output = OutputRing(HEAD_BYTES, TAIL_BYTES)
            context.progress.attach(running)
            end = await run_command(command, context.token, running)
        except CommandError as error:
            raise ToolError(str(error)) from error
        return _output(end, running.output.text())

    def _command(self, arguments: ShellArguments, workspace: Workspace) -> Command:
        """Parses the line and uses the file system, so it is for a thread."""
        shell = next((path for path in ("/bin/bash", "/usr/bin/bash") if os.access(path, os.X_OK)), "/bin/sh")
        return Command(
            argv=(shell, "-c", arguments.command),
            cwd=workspace.path(arguments.folder),
            environment=child_environment(os.environ, self._secrets),
            containment=self._containment(arguments.command),
        )


def _output(end: CommandEnd, output: str) -> ToolOutput:
    """The exit code comes first: if a long text is cut later, its beginning stays."""
    notes = []
    if end.left_behind:
        what = "1 process that was" if end.left_behind == 1 else f"{end.left_behind} processes that were"
        notes.append(f"[{what} left running ended with the call; use background to keep a command]")
    if end.alive:
        named = ", ".join(f"{survivor.name} ({survivor.pid})" for survivor in end.alive)
        notes.append(f"[still alive although killed: {named}]")
    body = "\n".join(part for part in (output.rstrip("\n"), *notes) if part)
    text = f"{_exit(end.exit_code)}\n{body}".rstrip()
    shown = body if end.exit_code == 0 else text
    return ToolOutput(text, Shown(shown), failed=end.exit_code != 0)


def _exit(code: int | None) -> str:
    if code is None:
        return "It ended; its exit code is not known."
    if code >= 0:
        return f"Exit code {code}."
    try:
        return f"Ended by signal {-code} ({signal.Signals(-code).name})."
    except ValueError:
        return f"Ended by signal {-code}."
