"""`caesura config`: what it prints, what it changes, and what it ends with."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from core.base.errors import CaesuraError
from core.base.folders import config_path
from core.config.schema import Config
from core.config.trust import is_trusted
from core.frontends.config import run_config
from tests.support.settings_examples import FULL, written
from tui.cli.config import check_keys, check_theme, config_command
from tui.cli.parser import parser

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(own_home: Path) -> Path:
    return config_path()


class Caesura:
    """`caesura config ...` in a folder, with its exit code and what it said."""

    def __init__(self, path: Path, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.folder = folder
        self.environment: dict[str, str] = {}
        self._capture = capture

    def config(self, *arguments: str) -> tuple[int, str, str]:
        command = config_command(parser().parse_args(["config", *arguments]))
        code = run_config(command, self.path, self.folder, check_keys, self.environment)
        return (int(code), *self._capture.readouterr())


@pytest.fixture
def caesura(path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Caesura:
    folder = tmp_path / "project"
    folder.mkdir()
    return Caesura(path, folder, capfd)


def test_all_values_are_shown_with_their_places(caesura: Caesura) -> None:
    written(caesura.path, FULL)
    caesura.environment = {"CAESURA_EFFORT": "low", "CAESURA_MODLE": "x"}
    written(caesura.folder / ".caesura.toml", 'theme = "ours"\nmodel = "evil"')
    code, out, err = caesura.config()
    assert code == 0
    lines = {line.partition(" = ")[0]: line for line in out.splitlines()}
    assert lines["model"].endswith(f"# {caesura.path}, line 2")
    assert lines["theme"].endswith(f"# {caesura.folder}/.caesura.toml, line 1")
    assert lines["effort"].endswith("# CAESURA_EFFORT")
    assert lines["tools.max_steps"].startswith("tools.max_steps = 40 ")
    assert "sesame" not in out
    assert "does not count: model" in err
    assert "did you mean CAESURA_MODEL?" in err
    assert tomllib.loads(out)["routes"]["fast"]["rotate"] == ["careful", "steady"]
    assert (code, out) == caesura.config("show")[:2]


def test_values_are_set_got_and_unset(caesura: Caesura) -> None:
    assert caesura.config("get", "tools.max_steps") == (0, "200\n", "")
    code, out, _ = caesura.config("set", "tools.max_steps", "5")
    assert (code, out) == (0, f"tools.max_steps = 5  # {caesura.path}, line 2\n")
    assert caesura.config("set", "model", "2024")[0] == 0
    assert caesura.config("set", "routes.fast.rotate", '["a", "b"]')[0] == 0
    assert caesura.config("get", "model") == (0, "2024\n", "")
    assert caesura.config("get", "routes.fast.rotate") == (0, '["a", "b"]\n', "")
    assert "fast = {" in caesura.config("get", "routes")[1]
    assert caesura.config("unset", "tools.max_steps")[:2] == (0, "tools.max_steps = 200  # default\n")
    assert caesura.config("unset", "tools.max_steps")[0] == 1
    assert caesura.config("get", "tools.deadline")[0] == 1
    assert caesura.config("get", "tools.max_stpes")[0] == 2


def test_it_says_when_another_place_goes_first(caesura: Caesura) -> None:
    caesura.environment = {"CAESURA_MODEL": "theirs"}
    code, out, err = caesura.config("set", "model", "mine")
    assert (code, out) == (0, 'model = "theirs"  # CAESURA_MODEL\n')
    assert "was changed, but CAESURA_MODEL sets model too" in err


@pytest.mark.parametrize(
    ("key", "value", "code", "says"),
    [
        ("tools.max_steps", "many", 1, "a whole number from 1 on"),
        ("tools.max_stpes", "3", 2, "did you mean 'max_steps'?"),
        ("tools", "3", 1, "is a table"),
        ("no key", "3", 1, "is no key"),
        ("providers.x.key", "sk-very-secret", 1, "put the NAME of the variable here"),
        ("keys.pane.interrupt", "f2", 1, "cannot be rebound"),
        ("keys.pane.toggle_panel", "escape", 1, "always means"),
        ("keys.pane.toggle_penal", "f2", 1, "Did you mean pane.toggle_panel?"),
    ],
)
def test_what_cannot_be_set_is_refused_with_what_can(
    caesura: Caesura, key: str, value: str, code: int, says: str
) -> None:
    assert caesura.config("set", key, value)[0] == code
    got = caesura.config("set", key, value)
    assert says in got[2]
    assert "secret" not in got[1] + got[2]
    assert not caesura.path.exists()


def test_the_comments_that_could_not_be_kept_are_told(caesura: Caesura) -> None:
    written(caesura.path, FULL)
    code, _, err = caesura.config("set", "routes.fast", '{ model = "x" }')
    assert code == 0
    assert "config.toml.bak" in err


def test_check_says_whether_all_can_be_used(caesura: Caesura) -> None:
    assert caesura.config("check") == (0, "All settings can be used.\n", "")
    written(caesura.folder / ".caesura.toml", "theme = 3")
    written(caesura.path, "[tools]\nmax_steps = 0")
    caesura.environment = {"CAESURA_EFFORT": "hihg"}
    code, out, err = caesura.config("check")
    assert (code, out) == (1, "")
    assert [
        f"{where}" in err for where in (f"{caesura.path}, line 2", ".caesura.toml, line 1", "_EFFORT")
    ] == [True] * 3
    caesura.environment = {}
    (caesura.folder / ".caesura.toml").unlink()
    written(caesura.path, '[keys]\n"pane.interrupt" = "f2"')
    code, _, err = caesura.config("check")
    assert code == 1
    assert "cannot be rebound" in err


def test_the_path_and_the_manual_are_printed(caesura: Caesura) -> None:
    assert caesura.config("path") == (0, f"{caesura.path}\n", "")
    code, out, err = caesura.config("manual")
    assert (code, err) == (0, "")
    assert "#max_steps = 200" in out
    assert not caesura.path.exists()


def test_the_editor_of_the_person_is_started_and_its_work_checked(caesura: Caesura, tmp_path: Path) -> None:
    code, _, err = caesura.config("edit")
    assert code == 1
    assert "set EDITOR" in err
    caesura.environment = {"EDITOR": "no-such-editor-of-ours"}
    code, _, err = caesura.config("edit")
    assert code == 1
    assert "'no-such-editor-of-ours' could not be started: No such file or directory. Set EDITOR" in err
    editor = tmp_path / "an editor"
    editor.write_text('#!/bin/sh\nprintf %s "$1" > "$2"\n')
    editor.chmod(0o700)
    caesura.environment = {"EDITOR": "false", "VISUAL": f"'{editor}' 'theme = \"dusk\"'"}
    assert caesura.config("edit")[0] == 0
    assert caesura.path.read_text() == 'theme = "dusk"'
    caesura.environment["VISUAL"] = f"'{editor}' 'theme = 3'"
    code, _, err = caesura.config("edit")
    assert code == 1
    assert "line 1: theme: it must be text" in err


def test_a_folder_is_trusted_once(caesura: Caesura) -> None:
    written(caesura.folder / ".caesura.toml", 'model = "ours"\n')
    inner = caesura.folder / "src"
    inner.mkdir()
    (caesura.folder / ".git").mkdir()
    top, caesura.folder = caesura.folder, inner
    assert caesura.config("get", "model")[1] == "\n"
    code, out, _ = caesura.config("trust")
    assert code == 0
    assert out == f"{top} is trusted from now on.\nWhat counts now: model.\n"
    assert is_trusted(caesura.path, top)
    assert caesura.config("get", "model")[1] == "ours\n"
    assert "already" in caesura.config("trust")[1]
    assert "no longer" in caesura.config("trust", "--remove")[1]
    assert caesura.config("get", "model")[1] == "\n"
    assert "not trusted" in caesura.config("trust", "--remove")[1]


def test_a_strangers_text_is_no_control_sequence(caesura: Caesura) -> None:
    written(caesura.folder / ".caesura.toml", 'theme = "\\u001b[2Jx"\n"keys" = { "\\u001b[3J" = "x" }')
    for arguments in ((), ("get", "theme"), ("trust",), ("check",), ("get", "keys")):
        _, out, err = caesura.config(*arguments)
        assert "\x1b" not in out + err


def test_nobody_who_reads_is_no_fault(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert run_config(config_command(parser().parse_args(["config", "manual"])), path, tmp_path) == 141
    monkeypatch.setattr("sys.stdout", None)
    assert run_config(config_command(parser().parse_args(["config", "path"])), path, tmp_path) == 2


def test_a_theme_that_there_is_not_is_told_with_the_nearest(path: Path, tmp_path: Path) -> None:
    for name in ("auto", "noon"):
        check_theme(Config(theme=name), tmp_path)
    with pytest.raises(CaesuraError, match=r"There is no theme 'nonn'.*noon"):
        check_theme(Config(theme="nonn"), tmp_path)
