"""The model process keeps nothing of a conversation once its request has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.model.provider import Finished
from tests.providers.conftest import linux_only
from tests.providers.harness import (
    MARKED,
    WORDS,
    Asked,
    marked_texts_in_child,
    request,
)
from tests.servers.base import ThreadedServer
from tests.servers.script import Refusal, Refuse, Script, Stall
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from providers.client.model_process import ModelProcess
    from tests.servers.registry import WireProtocol

TIMES = 3
LIMIT_S = 10 * GENEROUS_S
"""Far longer than the test takes: what waits for it to pass is still waiting."""


@linux_only
@pytest.mark.promise("P5")
async def test_no_conversation_outlives_its_request(
    model: ModelProcess, log_file: Path, protocol: WireProtocol
) -> None:
    """However it ended: by itself, by a stop, or by a refusal."""
    assert model.pid is not None
    report = log_file.with_name("report")

    def ask(script: Script) -> Asked:
        server.script = script
        return Asked(model, request(protocol, server.url, text=MARKED, timeout_s=LIMIT_S))

    async def stop(asked: Asked) -> None:
        await until(lambda: asked.shown)
        await asked.stop()

    with ThreadedServer(protocol.server()) as server:
        for _ in range(TIMES):
            assert isinstance(await ask(Script()).outcome(), Finished)
            await ask(Script(fault=Refuse(Refusal.BAD_REQUEST))).failure()
            await stop(ask(Script(text=WORDS, fault=Stall(after=3))))
        # What is kept of the latest request alone does not grow.
        server.script = Script()
        await Asked(model, request(protocol, server.url)).outcome()
    for pid in (model.pid, *model.spare_pids):
        assert marked_texts_in_child(pid, report) == 0
