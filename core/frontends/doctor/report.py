"""Findings of `/doctor` and `caesura doctor`, and the checks that run at the same time to get them.

A check never raises, never takes longer than its bound, and sends no request to a provider. Findings may be
copied into a public report, so all go through a `Redaction`: no key, no host name, no home folder.
"""

from __future__ import annotations

import asyncio
import logging
import re
from enum import StrEnum
from functools import partial, wraps
from typing import TYPE_CHECKING, Final, ParamSpec

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.base.sanitize import printable
from core.base.secrets import is_secret_variable
from core.base.threads import run_in_thread
from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

log = logging.getLogger(__name__)

P = ParamSpec("P")

WITHIN_S: Final = 3.0

_LEAST_SECRET: Final = 6
_LEAST_HOST: Final = 3


class State(StrEnum):
    """The state of a finding. `UNKNOWN`: it could not be found out, or there is no data yet."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"

    @property
    def glyph(self) -> str:
        return _GLYPHS[self]


_GLYPHS: Final = {State.GOOD: "✓", State.WARNING: "!", State.BAD: "✗", State.UNKNOWN: "?"}


class Finding(Value):
    """The finding of a check: `words` describe the state, `advice` what to do, if anything."""

    title: str
    state: State
    words: str
    advice: str = ""


class Check(Value):
    """A check. `look` may raise and may be slow; `examine` bounds it and catches errors."""

    title: str
    look: Callable[[], Awaitable[Finding]]
    within_s: float = WITHIN_S


def blocking(title: str, look: Callable[[], Finding], *, within_s: float = WITHIN_S) -> Check:
    """A check that blocks, in a thread of its own, which is abandoned if it takes too long."""
    return Check(title, lambda: run_in_thread(look, name=f"doctor: {title}"), within_s)


def check(
    title: str, *, within_s: float = WITHIN_S
) -> Callable[[Callable[P, Awaitable[Finding]]], Callable[P, Check]]:
    """Have a function that looks return the check that looks later, with the same arguments."""

    def checked(look: Callable[P, Awaitable[Finding]]) -> Callable[P, Check]:
        return wraps(look)(lambda *args, **kwargs: Check(title, partial(look, *args, **kwargs), within_s))

    return checked


def blocking_check(
    title: str, *, within_s: float = WITHIN_S
) -> Callable[[Callable[P, Finding]], Callable[P, Check]]:
    """`check` for a function that blocks."""

    def checked(look: Callable[P, Finding]) -> Callable[P, Check]:
        return wraps(look)(
            lambda *args, **kwargs: blocking(title, partial(look, *args, **kwargs), within_s=within_s)
        )

    return checked


class Redaction(Value):
    """Replaces what must not be published: the folder `home`, host names and secrets."""

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
    """The redaction for this user; every variable with the name of a secret holds one."""
    secrets = {
        printable(value.strip())
        for name, value in environment.items()
        if is_secret_variable(name) and len(value.strip()) >= _LEAST_SECRET
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
    """Run all checks at once; return findings in their order. `tell` gets each as soon as it is known."""

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
    """The findings as text."""
    lines: list[str] = []
    for finding in findings:
        state = f"{finding.state.glyph} {finding.state:<8}"
        lines.append(f"{state} {finding.title}: {finding.words}")
        if finding.advice:
            lines.append(f"{' ' * len(state)} > {finding.advice}")
    return "".join(f"{line}\n" for line in lines)
