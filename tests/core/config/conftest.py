"""The person's own file, in an empty folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.base.folders import config_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(own_home: Path) -> Path:
    found = config_path()
    assert found.is_relative_to(own_home)
    return found
