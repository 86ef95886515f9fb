"""How long from the start to a program that listens: `python -m tests.benchmarks.startup`.

From the start of the process until the prompt is on the screen, and until the first key, pressed at that
moment, is echoed. The file cache is warm and the model process starts at the same time, as it does for a
user. Between two runs every process of the last one is gone.

Each run is made twice, in turn first: with no settings, and with many, which are ten routes, twelve models,
three servers, keys of one's own, rules and twenty themes, of which one is used. Many settings are to take
20 ms more than none at most.

Figures (Python 3.11.7, 2 processors, 24 GB, Linux, 21 November 2026, load average below 1.0), 20 runs, in ms:

    prompt on the screen              median 333   p95 378   p99 397
    first key echoed                  median 373   p95 405   p99 439
    with many settings: prompt        median 337   p95 353   p99 366
    with many settings: first key     median 384   p95 407   p99 420, 10.8 more

On 2 slow processors, 1 December 2026, load average 1.6, 12 runs: prompt median 602, first key 637; within the
same minutes 757 to 864 with a stream process started beside the program, 766 before there were any.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks.measure import (
    PLACEHOLDER,
    ROOT,
    Figure,
    Goal,
    Measure,
    Program,
    Server,
    Unit,
    progress,
    read_options,
    show,
    show_machine,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "ж"
"""A letter that no text of the program has."""
GOALS = (Goal(Measure.MEDIAN, 400),)


MORE = (Goal(Measure.MEDIAN, 20),)


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from the start of the process."""

    prompt: float
    echo: float


@dataclass(frozen=True, slots=True)
class Settings:
    """A config.toml, and texts beside it by their paths."""

    config: str = ""
    files: dict[str, str] = field(default_factory=dict)


GENERAL = """
model = "sure"
theme = "own-7"
effort = "medium"
favourites = ["openai/gpt-4o", "model-3"]

[keys]
"pane.models" = "f3"
"pane.retry_now" = "f6"

[permissions]
allow = ["shell(git status *)", "shell(make *)"]
deny = ["read_file(secrets/**)"]

[routes.sure]
fallback = ["route-1", "route-2"]
cooldown = 30
"""
SERVER = """
[providers.server-{number}]
api_base = "https://llm.example.com/v1"
key = "A_KEY"
"""
MODEL = """
[models.model-{number}]
model = "server-{server}/gpt-{number}"
temperature = 0.2
"""
ROUTE = """
[routes.route-{number}]
rotate = ["model-{number}", "model-{next}"]
retries = 2
"""


def many_settings() -> Settings:
    servers = [SERVER.format(number=number) for number in range(3)]
    models = [MODEL.format(number=number, server=number % 3) for number in range(12)]
    routes = [ROUTE.format(number=number, next=number + 1) for number in range(9)]
    theme = (ROOT / "themes" / "caesura-dark.toml").read_text().replace('name = "caesura-dark"', "")
    themes = {f"themes/own-{number}.toml": theme for number in range(20)}
    return Settings("".join((GENERAL, *servers, *models, *routes)), themes)


def start_once(program: Program, server: Server, settings: Settings) -> Start:
    with program.run(server, config=settings.config, files=settings.files) as terminal:
        prompt = terminal.wait_for_output(PLACEHOLDER)
        seen = len(terminal.raw)
        terminal.press(KEY)
        echo = terminal.wait_for_output(KEY.encode(), after=seen)
        return Start((prompt - terminal.started_at) * 1000, (echo - terminal.started_at) * 1000)


def figures_of(bare: Sequence[Start], full: Sequence[Start]) -> list[Figure]:
    """The difference is between medians: single runs differ by more for other reasons."""
    more = statistics.median(one.echo for one in full) - statistics.median(one.echo for one in bare)
    return [
        Figure("prompt on the screen", Unit.MS, [start.prompt for start in bare]),
        Figure("first key echoed", Unit.MS, [start.echo for start in bare], GOALS),
        Figure("from key to echo", Unit.MS, [start.echo - start.prompt for start in bare]),
        Figure("many settings: prompt", Unit.MS, [start.prompt for start in full]),
        Figure("many settings: first key", Unit.MS, [start.echo for start in full]),
        Figure("many settings: more, of medians", Unit.MS, [more], MORE),
    ]


def main() -> None:
    options = read_options("startup", __doc__, runs=20)
    show_machine()
    kinds = (Settings(), many_settings())
    starts: tuple[list[Start], list[Start]] = ([], [])
    with Server("hello") as server:
        start_once(options.program, server, kinds[1])  # fills the file cache, not counted
        for number in range(options.runs):
            for kind in (0, 1) if number % 2 else (1, 0):
                starts[kind].append(start_once(options.program, server, kinds[kind]))
            bare, full = (those[-1] for those in starts)
            progress(f"run {number + 1}: bare {bare.echo:.0f} ms, with many settings {full.echo:.0f} ms")
    show(figures_of(*starts))
    show_machine()


if __name__ == "__main__":
    main()
