"""Which model new sessions begin with, when the project may name one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.base.errors import CaesuraError
from core.base.folders import config_path
from core.config.settings import Settings
from core.frontends.doctor.report import NOTHING_HIDDEN
from core.model.provider import ModelChoice
from tests.support.settings_examples import written
from tui.pane.preferences import Preferences

if TYPE_CHECKING:
    from pathlib import Path

    from core.model.directory import ServerModels
    from core.model.provider import ModelInfo, Offer

MINE, THEIRS, PICKED = (ModelChoice(name) for name in ("mine", "theirs", "picked"))


class Nothing:
    """A catalogue that knows no model."""

    async def offers(self) -> tuple[Offer, ...]:
        return ()

    async def describe(self, model: str) -> ModelInfo:
        raise NotImplementedError

    async def server_models(self, now: ModelChoice) -> ServerModels:
        raise NotImplementedError

    async def choose(self, name: str, now: ModelChoice) -> ModelChoice:
        raise NotImplementedError

    async def hosts(self, choice: ModelChoice) -> tuple[str, ...]:
        raise NotImplementedError

    async def addresses(self, choice: ModelChoice) -> tuple[str, ...]:
        raise NotImplementedError


@pytest.fixture
def folder(own_home: Path, tmp_path: Path) -> Path:
    written(config_path(), "model = 'mine'")
    return written(tmp_path / "work" / ".caesura.toml", "model = 'theirs'").parent


def preferences(folder: Path, choice: ModelChoice, *, is_chosen: bool = False) -> Preferences:
    return Preferences(
        Settings(folder, frozenset),
        Nothing(),
        choice,
        is_chosen=is_chosen,
        checks=lambda *_: (),
        redaction=lambda: NOTHING_HIDDEN,
    )


async def test_what_is_trusted_counts_in_the_next_session_and_no_longer_when_it_is_not(folder: Path) -> None:
    own = preferences(folder, MINE)
    assert "trusted" in await own.trust("")
    assert own.choice == THEIRS
    await own.trust("off")
    assert own.choice == MINE


async def test_what_was_chosen_for_this_run_goes_before_the_project(folder: Path) -> None:
    demo = ModelChoice("openai/demo", "http://127.0.0.1:1")
    given = preferences(folder, demo, is_chosen=True)
    await given.trust("")
    assert given.choice == demo
    picked = preferences(folder, MINE)
    picked.choice = PICKED
    await picked.trust("off")
    await picked.trust("")
    assert picked.choice == PICKED


async def test_other_words_are_an_error_that_says_which_there_are(folder: Path) -> None:
    with pytest.raises(CaesuraError, match="/trust off"):
        await preferences(folder, MINE).trust("maybe")


async def test_the_status_says_what_of_a_project_counts(folder: Path) -> None:
    own, project = preferences(folder, MINE), folder / ".caesura.toml"

    async def told() -> str:
        await own.read()
        return own.files.splitlines()[1]

    assert "its folder is not trusted" in await told()
    await own.trust("")
    assert await told() == f"{project} counts"
    project.write_text("")
    own.settings.save(("theme",), "noon")
    assert await told() == f"{project} sets nothing that counts"
