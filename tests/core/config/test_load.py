"""What is set is read or complained about with its place; what is answered with "always" is kept."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config.errors import ConfigError
from core.config.kept_rules import KEPT, add_allow_rule
from core.config.load import load_config
from core.config.schema import Config, ContainmentChoice
from core.permissions.rules import Rule, RuleError
from core.process.containment import Containment
from tests.support.settings_examples import FULL, written

ROOT = Path(__file__).resolve().parents[3]


def test_containment_is_a_setting_per_rule(path: Path) -> None:
    tools = load_config(written(path, FULL), ROOT).config.tools
    plain, inner = (("ls",),), (("cd", "x"), ("sudo", "id"))
    assert tools.containment_of("ls", plain) is ContainmentChoice.NAMESPACE
    assert tools.containment_of("cd x && sudo id", inner) is ContainmentChoice.GROUP
    assert [choice.containment for choice in ContainmentChoice] == [None, *Containment]
    assert tools.containment_of("for i in $x; do sudo id; done", None) is ContainmentChoice.GROUP


def test_without_a_file_all_is_default(path: Path) -> None:
    assert load_config(path, ROOT).config == Config()
    assert load_config(path, ROOT).error is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('mode = "edits"', 'mdoe = "edits"', ["'permissions.mdoe'", "did you mean 'mode'"]),
        ('mode = "edits"', 'mode = "edit"', ["permissions.mode", "Did you mean 'edits'?"]),
        ("max_steps = 40", "max_steps = 0", ["tools.max_steps"]),
        ("max_steps = 40", "max_steps = true", ["tools.max_steps"]),
        ("deadline = 600", "deadline = nan", ["tools.deadline"]),
        ("deadline = 600", "colour = 600", ["'tools.colour'", "there are containment,"]),
        ('"web_fetch"', '"shell(git"', ["permissions.ask", "is no rule"]),
        ('containment = "group"', 'contain = "group"', ["did you mean 'containment'"]),
        ("grace = 1.5", 'graze = "1"', ["'mcp.servers.docs.graze'", "did you mean 'grace'"]),
        ("[mcp.servers.far]", '[mcp.servers.far]\ncommand = ["x"]', ["either a command or a url"]),
        ("[tools]", "[tool]", ["did you mean 'tools'"]),
        ("[tools]", "[tools", ["no valid TOML"]),
        ("[permissions]", "[[permissions]]", ["permissions"]),
    ],
)
def test_a_fault_is_named_with_its_place_and_the_nearest_that_is_right(
    path: Path, old: str, new: str, says: list[str]
) -> None:
    text = FULL.replace(old, new, 1)
    line = FULL[: FULL.index(old)].count("\n") + 1
    loaded = load_config(written(path, text), ROOT)
    assert loaded.config == Config()
    assert loaded.error is not None
    for words in [str(path), f"line {line}", *says]:
        assert words in loaded.error
    assert "sesame" not in loaded.error
    assert path.read_text() == text


def test_what_is_no_text_no_file_or_not_readable_is_named_too(path: Path) -> None:
    written(path, "")
    path.write_bytes(b"mode = \xff")
    assert "not UTF-8" in str(load_config(path, ROOT).error)
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in str(load_config(path, ROOT).error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_broken_file_raises_or_is_changed(path: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FULL) - 1))
    until = data.draw(st.integers(at, min(len(FULL), at + 30)))
    junk = data.draw(st.text(alphabet='[]{}"=.#x1\n\\', max_size=6))
    text = FULL[:at] + junk + FULL[until:]
    loaded = load_config(written(path, text), ROOT)
    if loaded.error is not None:
        assert str(path) in loaded.error
        assert loaded.config == Config()
    assert path.read_text() == text


def test_a_kept_rule_counts_where_it_was_given_and_nowhere_else(path: Path, tmp_path: Path) -> None:
    written(path, FULL)
    here, there = tmp_path / "here", tmp_path / "there"
    rules = [Rule("shell", "make test"), Rule("edit_file", "src/**"), Rule("shell", "make test")]
    for rule in rules:
        add_allow_rule(path, here, rule)
    own = load_config(path, there).config.permissions.allow
    assert load_config(path, here).config.permissions.allow == (*own, *rules[:2])
    assert path.read_text() == FULL


def test_the_file_of_kept_rules_is_made_for_its_owner_alone_and_keeps_its_mode(path: Path) -> None:
    add_allow_rule(path, ROOT, Rule("shell", "ls *"))
    kept = path.with_name(KEPT)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    kept.chmod(0o640)
    add_allow_rule(path, ROOT, Rule("shell", "pwd"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == [KEPT]


@pytest.mark.parametrize("broken", ["[workspaces", "workspaces = 3", '[workspaces."/x"]\nallow = ["(("]'])
def test_a_broken_file_of_kept_rules_is_named_and_left_alone(path: Path, broken: str) -> None:
    written(path, FULL)
    kept = written(path.with_name(KEPT), broken)
    with pytest.raises(ConfigError, match=KEPT):
        add_allow_rule(path, ROOT, Rule("shell", "ls"))
    assert kept.read_text() == broken
    loaded = load_config(path, ROOT)
    assert loaded.config.permissions.deny  # the person's own rules count nevertheless
    assert KEPT in str(loaded.error)


def test_kept_rules_do_not_count_while_the_rules_that_deny_are_unknown(path: Path) -> None:
    add_allow_rule(path, ROOT, Rule("shell", "ls"))
    assert load_config(path, ROOT).config.permissions.allow
    written(path, "deny = ")
    assert load_config(path, ROOT).config == Config()


def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="for this session only"):
        add_allow_rule(path, ROOT, Rule("shell", "ls"))


def test_a_link_to_a_file_elsewhere_stays_a_link(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles.toml"
    elsewhere.write_text("")
    path.parent.mkdir(parents=True)
    path.with_name(KEPT).symlink_to(elsewhere)
    add_allow_rule(path, ROOT, Rule("shell", "ls"))
    assert path.with_name(KEPT).is_symlink()
    assert "shell(ls)" in elsewhere.read_text()


def test_caesuras_that_keep_rules_at_once_lose_none(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from core.config.kept_rules import add_allow_rule\n"
        "from core.permissions.rules import Rule\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for i in range(10): add_allow_rule(path, Path('/w'), Rule('shell', f'{name} {i}'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], env=environment) for name in "abc"
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    kept = {rule.pattern for rule in load_config(path, Path("/w")).config.permissions.allow}
    assert kept == {f"{name} {i}" for name in "abc" for i in range(10)}


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z_][\w*-]{0,12}", fullmatch=True), st.text(st.characters(), min_size=1))
def test_a_rule_comes_back_from_its_text(tool: str, pattern: str) -> None:
    assert Rule.parse(str(Rule(tool, pattern))) == Rule(tool, pattern)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_rule_comes_back_from_its_file(path: Path, pattern: str) -> None:
    rule = Rule("shell", pattern)
    add_allow_rule(path, ROOT, rule)
    assert rule in load_config(path, ROOT).config.permissions.allow


@pytest.mark.parametrize("text", ["", "(x)", "shell(x", "shell x", "shell()", "a b(c)"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        Rule.parse(text)


def test_reading_settings_loads_nothing_heavy(path: Path) -> None:
    written(path, FULL)
    script = (
        "import sys; from pathlib import Path; from core.config.load import load_config\n"
        "assert load_config(Path(sys.argv[1]), Path('/')).config.tools.max_steps == 40\n"
        "print(sorted({'pydantic', 'platformdirs', 'tomli_w', 'tomlkit', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
