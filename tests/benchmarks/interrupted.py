"""Random conversations, interrupted in every way, over a real connection: `python -m tests.benchmarks.interrupted 500`.

Each is drawn from its own seed, which is printed when it fails; `--seed` plays that one again. The server is
strict (`tests.servers.strict`): a history that a provider would refuse is a 400.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time
import traceback
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from providers.process import ModelProcess
from tests.benchmarks.measure import progress, show_machine
from tests.providers.conversations import Figures, Player
from tests.providers.courses import Course, course
from tests.providers.harness import ENVIRONMENT
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script

MODEL = "openai/gpt-4o"


async def play(process: ModelProcess, folder: Path, chosen: Course, figures: Figures) -> list[str]:
    """Play one course; the server's complaints about it. Raises what does not hold."""
    with ThreadedServer(PROTOCOLS["openai"].server(Script())) as server:
        player = Player(process, server, server.url, folder / "caesura.db", chosen, MODEL)
        try:
            await player.play()
        finally:
            add(figures, player.figures)
        return server.complaints


def add(total: Figures, one: Figures) -> None:
    for each in fields(Figures):
        setattr(total, each.name, getattr(total, each.name) + getattr(one, each.name))


def run_all(count: int, first: int) -> tuple[Figures, list[int]]:
    """`count` conversations of the seeds from `first` on; the seeds of those that failed."""
    figures, failed = Figures(), list[int]()
    process = ModelProcess()
    process.start()
    try:
        for seed in range(first, first + count):
            with TemporaryDirectory(prefix="caesura-interrupted-") as folder:
                chosen = course(random.Random(seed))
                try:
                    complaints = asyncio.run(play(process, Path(folder), chosen, figures))
                except Exception:  # noqa: BLE001 - one that breaks off is a failure; the others are played all the same
                    traceback.print_exc()
                    complaints = ["it broke off"]
            if complaints:
                failed.append(seed)
                progress(f"seed {seed}: {complaints}\n{chosen}")
            elif (seed - first + 1) % 50 == 0:
                progress(f"{seed - first + 1} of {count}")
    finally:
        process.close()
    return figures, failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.interrupted", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=500, help="how many conversations")
    parser.add_argument("--seed", type=int, default=1, help="of the first one")
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    # Failures are what is played here: the log would be all of the output.
    logging.disable(logging.CRITICAL)
    show_machine()
    begun = time.monotonic()
    figures, failed = run_all(options.count, options.seed)
    print(f"seeds {options.seed} to {options.seed + options.count - 1}, {time.monotonic() - begun:.0f} s")
    for each in fields(Figures):
        print(f"  {each.name.replace('_', ' '):22} {getattr(figures, each.name)}")
    print(f"  failed seeds           {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
