"""A model process for the tests that stop replies of the demo model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.providers.harness import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess


@pytest.fixture(scope="module")
def model() -> Iterator[ModelProcess]:
    process = start()
    yield process
    process.close()
