"""The front end without a screen for the doctor: `caesura doctor`.

It must import no screen library, and asks no provider for anything. Findings are printed in their order, each
as soon as it and those before it have come.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.doctor import NOTHING_HIDDEN, Finding, Redaction, examine, is_well, report
from core.errors import CaesuraError
from core.frontends.headless import ExitCode, Output
from core.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.doctor import Check


async def run_doctor(
    checks: Sequence[Check], redact: Redaction = NOTHING_HIDDEN, output: Output = Output.TEXT
) -> int:
    """Run the checks and print what they find; the exit code, 1 if something is bad. Raises `CaesuraError`
    when that cannot be printed."""
    if sys.stdout is None:
        raise CaesuraError("Standard output is closed: send it to a file, a pipe or a terminal.")
    running = [asyncio.create_task(examine((check,), redact), name=check.title) for check in checks]
    findings: list[Finding] = []
    try:
        for task in running:
            findings += await task
            if output is Output.TEXT:
                await _write(report(findings[-1:]))
        if output is Output.JSON:
            await _write(_json(findings))
    except BrokenPipeError:
        return ExitCode.OUTPUT_CLOSED
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return ExitCode.COMPLETED if is_well(findings) else ExitCode.FAILED


def _json(findings: Sequence[Finding]) -> str:
    told = {"well": is_well(findings), "findings": [asdict(finding) for finding in findings]}
    return json.dumps(told, indent=2) + "\n"


async def _write(text: str) -> None:
    """In a thread, so that a reader who is stopped cannot hold up Ctrl+C. Raises `BrokenPipeError` when
    nobody reads it, and `CaesuraError`."""
    fd = sys.stdout.fileno()
    encoding = sys.stdout.encoding or "utf-8"

    def write() -> None:
        rest = memoryview(text.encode(encoding, "replace"))
        while rest:
            rest = rest[os.write(fd, rest) :]

    try:
        await run_in_thread(write, name="standard output")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CaesuraError(
            f"Standard output takes nothing more ({error.strerror}): send it somewhere else."
        ) from error
