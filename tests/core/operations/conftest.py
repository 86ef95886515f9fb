"""A registry of operations."""

from __future__ import annotations

import pytest

from core.operations.registry import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()
