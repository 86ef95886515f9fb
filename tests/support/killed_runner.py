"""A program that runs commands as Caesura does and says who they are, until somebody ends it by SIGKILL.

Arguments: the kind of containment (see `tests.core.commands`) and a mark for `tests.e2e.zoo`. It prints
`READY` once every animal is up.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from core.cancel import CancelToken
from core.processes import Command, RunningCommand, run_command
from tests.core.commands import Kind
from tests.e2e.zoo import READY, ZOO


async def main(kind: Kind, mark: str) -> None:
    token = CancelToken("doomed")
    views = [RunningCommand() for _ in ZOO]
    with token.bind():
        async with asyncio.TaskGroup() as group:
            for animal, view in zip(ZOO, views, strict=True):
                command = Command(animal.argv, Path.cwd(), animal.environment(mark), kind.containment)
                group.create_task(run_command(command, token, view))
            for view in views:
                while READY not in view.output.text():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            print(READY, flush=True)


if __name__ == "__main__":
    Kind(sys.argv[1]).install()
    asyncio.run(main(Kind(sys.argv[1]), sys.argv[2]))
