"""The settings of all sessions: read once, shown once, and trusted when the person says so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from core.base.errors import CaesuraError
from core.base.folders import config_path
from core.config.load import LISTED
from core.config.settings import Settings
from core.config.trust import is_trusted
from tests.support.settings_examples import written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(own_home: Path, tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def settings(folder: Path) -> Settings:
    return Settings(folder, frozenset)


def test_a_sentence_is_new_only_once(folder: Path) -> None:
    written(folder / ".caesura.toml", "model = 'theirs'")
    read = settings(folder)
    [notice] = read.news(read.load().notices)
    assert "model" in notice
    assert read.news((*read.load().notices, "another", "another")) == ("another",)


def test_settings_are_read_again_at_once_when_one_is_saved(folder: Path) -> None:
    read = settings(folder)
    read.load()
    read.save(("theme",), "noon")
    written(config_path(), "theme = 'ember'")
    assert read.config.theme == "noon"


def test_trust_says_what_counts_and_is_given_once(folder: Path) -> None:
    keys = "".join(f'"id.{n}" = "f2"\n' for n in range(LISTED))
    written(folder / ".caesura.toml", f"model = 'theirs'\n[keys]\n{keys}")
    read = settings(folder)
    assert read.config.model == ""
    told = read.trust()
    assert "(model, " in told
    assert ", ...) counts from the next session on" in told
    assert is_trusted(config_path(), folder)
    assert read.config.model == "theirs"
    assert read.trust().endswith("is trusted already.")
    assert "no longer trusted" in read.distrust()
    assert read.config.model == ""
    assert read.distrust().endswith("is not trusted.")


def test_trusting_a_file_that_cannot_be_used_says_so(folder: Path) -> None:
    os.mkfifo(folder / ".caesura.toml")
    told = settings(folder).trust()
    assert f"nothing of {folder}/.caesura.toml counts" in told
    assert "is no regular file" in told


def test_a_file_that_has_come_since_the_start_can_be_trusted(folder: Path) -> None:
    read = settings(folder)
    assert read.load().project is None
    written(folder / ".caesura.toml", "model = 'theirs'")
    assert "(model) counts" in read.trust()


def test_there_must_be_a_file_to_trust(folder: Path) -> None:
    for change in (settings(folder).trust, settings(folder).distrust):
        with pytest.raises(CaesuraError, match="nothing to trust"):
            change()
