"""A parent that a test kills: `python -m tests.providers.doomed_parent URL...`.

Prints its model process's id once that is warm, then asks for each URL, one after the other as soon as the
one before it has shown something.
"""

from __future__ import annotations

import asyncio
import sys

from tests.providers.harness import Asked, request, start, until
from tests.servers.registry import PROTOCOLS


async def ask(urls: list[str]) -> None:
    for url in urls:
        asked = Asked(process, request(PROTOCOLS["openai"], url))
        await until(lambda asked=asked: asked.shown)  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    process = start()
    print(process.pid, flush=True)
    asyncio.run(ask(sys.argv[1:]))
