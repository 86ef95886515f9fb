"""`caesura doctor`: run the checks and print their findings, without a screen.

It must import no screen library and sends no request to a provider. Findings are printed in the order of the
checks, as soon as each is known.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import msgspec

from core.base.output import check_output, write_output_in_thread
from core.frontends.doctor.report import NOTHING_HIDDEN, Finding, Redaction, examine, is_well, report
from core.frontends.headless import ExitCode, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.frontends.doctor.report import Check


async def run_doctor(
    checks: Sequence[Check], redact: Redaction = NOTHING_HIDDEN, output: Output = Output.TEXT
) -> int:
    """Run the checks, print their findings and return the exit code, 1 if something is bad.

    Raises `CaesuraError` if standard output cannot be written.
    """
    check_output()
    running = [asyncio.create_task(examine((check,), redact), name=check.title) for check in checks]
    findings: list[Finding] = []
    try:
        for task in running:
            findings += await task
            if output is Output.TEXT:
                await _write(report(findings[-1:]))
        if output is Output.JSON:
            told = {"well": is_well(findings), "findings": msgspec.to_builtins(findings)}
            await _write(json.dumps(told, indent=2) + "\n")
    except BrokenPipeError:
        return ExitCode.OUTPUT_CLOSED
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return ExitCode.COMPLETED if is_well(findings) else ExitCode.FAILED


async def _write(text: str) -> None:
    await write_output_in_thread(text, sys.stdout.encoding or "utf-8")
