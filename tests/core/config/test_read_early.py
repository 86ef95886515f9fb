"""The first look costs next to nothing, and is as if nothing were set where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config.read_early import EarlyConfig, read_early
from core.config.trust import distrust, trust
from tests.support.settings_examples import FULL, loaded, written

ROOT = Path(__file__).resolve().parents[3]


def test_it_sees_what_the_full_load_sees(path: Path, tmp_path: Path) -> None:
    for text in ("", FULL, "\ufeff" + FULL.replace("\n", "\r\n")):
        for variables in ({}, {"CAESURA_MODEL": "m", "CAESURA_THEME": "t"}, {"CAESURA_MODEL": ""}):
            config = loaded(written(path, text), tmp_path, variables).config
            assert read_early(path, variables) == EarlyConfig(config.model, config.theme, config.keys)


def test_of_a_project_it_sees_what_the_trust_of_its_folder_allows(path: Path, tmp_path: Path) -> None:
    project = written(tmp_path / "work" / ".caesura.toml", FULL)
    for text in ("", 'model = "own"\ntheme = "own"\n[keys]\n"pane.history" = "f9"\n', "model = "):
        for change in (distrust, trust):
            change(path, project.parent)
            config = loaded(written(path, text), project.parent).config
            assert read_early(path, {}, project=project) == EarlyConfig(
                config.model, config.theme, config.keys
            )
            assert (config.model == "fast") == (change is trust and text != "model = ")
    path.unlink()
    assert read_early(path, {}, project=project).model == "fast"
    assert read_early(path, {"CAESURA_MODEL": "m"}, project=project).model == "m"


def test_a_projects_link_or_pipe_is_not_followed(path: Path, tmp_path: Path) -> None:
    elsewhere = written(tmp_path / "elsewhere.toml", "theme = 'x'")
    project = tmp_path / "work" / ".caesura.toml"
    project.parent.mkdir()
    project.symlink_to(elsewhere)
    assert read_early(path, {}, project=project) == EarlyConfig()
    project.unlink()
    os.mkfifo(project)
    assert read_early(path, {}, project=project) == EarlyConfig()


@pytest.mark.parametrize(
    "text",
    [
        "model = ",
        "model = 3\ntheme = ['x']\nkeys = 'x'",
        "[keys]\na = 3\n",
        "a." * 300 + "a = 1",
        "x" * 300_000,
    ],
)
def test_what_is_wrong_is_as_if_it_were_not_there(path: Path, text: str) -> None:
    assert read_early(written(path, text), {}) == EarlyConfig()


def test_what_is_no_file_is_not_waited_for(path: Path) -> None:
    assert read_early(path, {}) == EarlyConfig()
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert read_early(path, {"CAESURA_THEME": "t"}) == EarlyConfig(theme="t")
    path.unlink()
    path.write_bytes(b"model = '\xff'")
    assert read_early(path, {}) == EarlyConfig()
    path.unlink()
    path.mkdir()
    assert read_early(path, {}) == EarlyConfig()


def test_it_loads_nothing_heavy() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import core.config.read_early\n"
        "heavy = {'pydantic', 'platformdirs', 'tomli_w', 'core.permissions.policy', 'core.config.schema',"
        " 'asyncio', 'secrets', 'textual'}\nprint(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
