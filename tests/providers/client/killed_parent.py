"""A parent that a test kills: `python -m tests.providers.client.killed_parent URL...`.

Prints the ids of its model processes once they are warm, then asks for each URL, one after the other as soon
as the one before it has shown something.
"""

from __future__ import annotations

import asyncio
import sys

from tests.providers.harness import Asked, plant_for_good, request, start
from tests.servers.registry import PROTOCOLS
from tests.support.waiting import until


async def ask(urls: list[str]) -> None:
    for url in urls:
        asked = Asked(process, request(PROTOCOLS["openai"], url))
        await until(lambda asked=asked: asked.shown)  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    plant_for_good()
    process = start()
    process.prepare()
    asyncio.run(until(lambda: process.spare_pids))
    print(process.pid, *process.spare_pids, flush=True)
    asyncio.run(ask(sys.argv[1:]))
