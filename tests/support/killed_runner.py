"""A program that runs commands as Caesura does and says who they are, until somebody ends it by SIGKILL.

Arguments: the kind of containment (see `tests.support.commands`) and a mark for
`tests.support.stubborn_processes`. It prints
`READY` once every tree is up.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from core.cancel import CancelToken
from core.process.command import Command, RunningCommand, run_command
from tests.support.commands import Kind
from tests.support.stubborn_processes import READY, STUBBORN_TREES


async def main(kind: Kind, mark: str) -> None:
    token = CancelToken("doomed")
    views = [RunningCommand() for _ in STUBBORN_TREES]
    with token.bind():
        async with asyncio.TaskGroup() as group:
            for tree, view in zip(STUBBORN_TREES, views, strict=True):
                command = Command(tree.argv, Path.cwd(), tree.environment(mark), kind.containment)
                group.create_task(run_command(command, token, view))
            for view in views:
                while READY not in view.output.text():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            print(READY, flush=True)


if __name__ == "__main__":
    Kind(sys.argv[1]).install()
    asyncio.run(main(Kind(sys.argv[1]), sys.argv[2]))
