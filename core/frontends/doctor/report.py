"""What `/doctor` and `caesura doctor` find: checks that run at once, and what they tell.

A check never raises, never takes longer than its bound, and asks no provider for anything. What it tells may
be copied into a public report, so all of it goes through a `Redaction`: no key, no host name, no home folder.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from core.errors import CaesuraError
from core.sanitize import printable
from core.threads import run_in_thread
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

log = logging.getLogger(__name__)

WITHIN_S: Final = 3.0

_SECRET_NAMES: Final = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL")
_LEAST_SECRET: Final = 6
_LEAST_HOST: Final = 3


class State(StrEnum):
    """How a thing is. `UNKNOWN` means that nobody could say, or that there is nothing to be said yet."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"

    @property
    def glyph(self) -> str:
        match self:
            case State.GOOD:
                return "✓"
            case State.WARNING:
                return "!"
            case State.BAD:
                return "✗"
            case State.UNKNOWN:
                return "?"
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: `words` say how it is, `advice` what to do about it, if there is something."""

    title: str
    state: State
    words: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """`look` may raise and may be slow; who runs it through `examine` sees neither."""

    title: str
    look: Callable[[], Awaitable[Finding]]
    within_s: float = WITHIN_S


def blocking(title: str, look: Callable[[], Finding], *, within_s: float = WITHIN_S) -> Check:
    """A check that blocks, in a thread of its own, which is left to itself when it takes too long."""
    return Check(title, lambda: run_in_thread(look, name=f"doctor: {title}"), within_s)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What must not be told, and is replaced: the folder `home`, names of hosts, and secrets."""

    home: str = ""
    hosts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        text = printable(text)
        for secret in self.secrets:
            text = text.replace(secret, "…")
        if len(self.home) > 1:
            text = re.sub(rf"(?<![\w.-]){re.escape(self.home)}(?![\w.-])", "~", text)
        for host in self.hosts:
            text = re.sub(
                rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "this machine", text, flags=re.IGNORECASE
            )
        return text

    def finding(self, finding: Finding) -> Finding:
        return replace(finding, words=self.text(finding.words), advice=self.text(finding.advice))


NOTHING_HIDDEN: Final = Redaction()


def redaction(environment: Mapping[str, str], home: str, hosts: Iterable[str]) -> Redaction:
    """For this person on this machine: every variable that is called like a secret holds one."""
    secrets = {
        printable(value.strip())
        for name, value in environment.items()
        if _SECRET_NAMES.search(name.upper()) and len(value.strip()) >= _LEAST_SECRET
    }
    names = {part for host in hosts for part in (host, host.partition(".")[0])} - {"localhost"}
    return Redaction(
        home.rstrip("/"),
        tuple(sorted((name for name in names if len(name) >= _LEAST_HOST), key=len, reverse=True)),
        tuple(sorted(secrets, key=len, reverse=True)),
    )


async def examine(
    checks: Sequence[Check],
    redact: Redaction = NOTHING_HIDDEN,
    tell: Callable[[Finding], object] = lambda _: None,
) -> tuple[Finding, ...]:
    """Run all checks at once; `tell` hears of each finding as it comes. In the order of the checks."""

    async def run(check: Check) -> Finding:
        finding = redact.finding(await _bounded(check))
        tell(finding)
        return finding

    return tuple(await asyncio.gather(*map(run, checks)))


async def _bounded(check: Check) -> Finding:
    try:
        async with asyncio.timeout(check.within_s):
            return await check.look()
    except TimeoutError:
        return Finding(check.title, State.UNKNOWN, f"no answer within {check.within_s:g} s")
    except CaesuraError as error:
        return Finding(check.title, State.BAD, str(error))
    except Exception as error:
        log.exception("a check of the doctor failed: %s", check.title)
        return Finding(check.title, State.UNKNOWN, f"could not be looked at ({type(error).__name__})")


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.state is not State.BAD for finding in findings)


def report(findings: Iterable[Finding]) -> str:
    """All of it as text, to be printed or copied."""
    lines: list[str] = []
    for finding in findings:
        state = f"{finding.state.glyph} {finding.state:<8}"
        lines.append(f"{state} {finding.title}: {finding.words}")
        if finding.advice:
            lines.append(f"{' ' * len(state)} > {finding.advice}")
    return "".join(f"{line}\n" for line in lines)
