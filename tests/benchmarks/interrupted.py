"""Random interrupted conversations over a real connection: `python -m tests.benchmarks.interrupted 500`.

Each is drawn from its own seed, which is printed when it fails; `--seed` plays that one again. The server is
strict (`tests.servers.strict`): a history that a provider would refuse is a 400, counted as a complaint.

Figures (Python 3.11.7, 2 processors, Linux, 21 November 2026): seeds 1 to 500, 199 s: 2,271 turns, 3,192
requests, 779 stops, 192 compactions and 233 in vain, 252 requests found too long, 432 times closed and opened
again, 125 rewinds; no complaint.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
import traceback
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from providers.client.model_process import ModelProcess
from tests.benchmarks.measure import progress, show_machine
from tests.providers.harness import plant_for_good
from tests.providers.played_conversations import Figures, Line, play
from tests.providers.random_conversations import RandomConversation, random_conversation
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script


def play_one(process: ModelProcess, chosen: RandomConversation, total: Figures) -> list[str]:
    """Play one conversation and count it; the server's complaints about it. Raises what does not hold."""
    with (
        TemporaryDirectory(prefix="caesura-interrupted-") as folder,
        ThreadedServer(PROTOCOLS["openai"].server(Script())) as server,
    ):
        add(total, asyncio.run(play(Line(process, server, server.url), Path(folder), chosen)))
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
            chosen = random_conversation(random.Random(seed))
            try:
                complaints = play_one(process, chosen, figures)
            except Exception:  # noqa: BLE001 - a failure of one; the others are played all the same
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
    plant_for_good()
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
