"""A turn, and a call in it."""

from __future__ import annotations

import pytest

from core.cancel import CancelToken


@pytest.fixture
def turn() -> CancelToken:
    return CancelToken("turn")


@pytest.fixture
def call(turn: CancelToken) -> CancelToken:
    return turn.child("call")
