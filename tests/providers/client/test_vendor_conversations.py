"""Interrupted conversations in which vendors take turns: none of them ever refuses a request (P8, H4).

Forty conversations are played, or as many as CAESURA_TEST_CONVERSATIONS says, from the seed CAESURA_TEST_SEED
on. A failure names its seed.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.providers.vendor_conversations import (
    Conversation,
    Stage,
    vendor_conversation,
    vendors_on_stage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess

FIRST = int(os.environ.get("CAESURA_TEST_SEED", "1"))
COUNT = int(os.environ.get("CAESURA_TEST_CONVERSATIONS", "40"))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with vendors_on_stage() as stage:
        yield stage


@pytest.mark.slow
@pytest.mark.promise("H2", "H4", "P7", "P8")
@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
async def test_no_vendor_refuses_an_interrupted_conversation(
    model: ModelProcess, stage: Stage, seed: int
) -> None:
    await Conversation(model, stage).play(vendor_conversation(random.Random(seed)))
