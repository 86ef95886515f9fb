"""One setting changed in the person's file: all the rest of it stays, or the file as it was is kept."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.base.errors import CaesuraError
from core.base.file_locks import FileLock
from core.config.edit import rendered, set_value, unset_value
from core.config.errors import ConfigError
from core.config.layers import value_at
from core.config.manual import plain
from core.config.tree import dotted, parse_key
from tests.support.settings_examples import FULL, loaded, written

if TYPE_CHECKING:
    from core.config.edit import Edited
    from core.config.schema import Config
    from core.config.tree import Key

ROOT = Path(__file__).resolve().parents[3]


def anything(config: Config) -> None:
    """A check that refuses nothing."""


def change(path: Path, key: str, value: object) -> Edited:
    return set_value(path, parse_key(key), value, anything)


def remove(path: Path, key: str) -> Edited:
    return unset_value(path, parse_key(key), anything)


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("theme", "dusk", '"auto" # follows', '"dusk" # follows'),
        ("models.careful.effort", "low", 'effort = "high"\ntemp', 'effort = "low"\ntemp'),
        ("tools.max_steps", 5, "max_steps = 40", "max_steps = 5"),
        ("favourites", ["x"], '["careful", "openai/gpt-5.1"]', '["x"]'),
        ("mcp.servers.docs.env.TOKEN", "open", '{ TOKEN = "sesame" }', '{ TOKEN = "open" }'),
        ("mcp.servers.docs.env.MORE", "x", '{ TOKEN = "sesame" }', '{ TOKEN = "sesame", MORE = "x" }'),
        ("keys.pane.stop", "f9", '= "f2"\n', '= "f2"\n"pane.stop" = "f9"\n'),
        ("providers.team.api_base", "http://x", '"https://llm.example.com"', '"http://x"'),
        ('models."local.one".effort', "low", '"LOCAL_KEY"\n', '"LOCAL_KEY"\neffort = "low"\n'),
        ("routes.steady.retries", 1, '    "team/other",\n]\n', '    "team/other",\n]\nretries = 1\n'),
        (
            "mcp.servers.far.grace",
            3.5,
            'Authorization = "sesame" }\n',
            'Authorization = "sesame" }\ngrace = 3.5\n',
        ),
    ],
)
def test_a_value_is_changed_where_it_stands(path: Path, key: str, value: Any, old: str, new: str) -> None:
    written(path, FULL)
    edited = change(path, key, value)
    assert path.read_text() == FULL.replace(old, new, 1) != FULL
    assert edited.backup is None


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("", "model", "x", 'model = "x"\n'),
        ("# mine\n", "model", "x", '# mine\nmodel = "x"\n'),
        ("# mine\n\n[jobs]\n", "model", "x", '# mine\n\nmodel = "x"\n\n[jobs]\n'),
        ("# of jobs\n[jobs]\n", "model", "x", 'model = "x"\n\n# of jobs\n[jobs]\n'),
        ("", "tools.max_steps", 3, "[tools]\nmax_steps = 3\n"),
        ("theme = 'x'", "model", "y", "theme = 'x'\nmodel = \"y\"\n"),
        ("[jobs]\n[tools]", "jobs.memory", False, "[jobs]\nmemory = false\n[tools]"),
        ("[tools]", "tools.max_steps", 3, "[tools]\nmax_steps = 3\n"),
        ("tools.deadline = 1 # x", "tools.max_steps", 3, "tools.deadline = 1 # x\ntools.max_steps = 3\n"),
        ("[retry]\r\nretries = 1\r\n", "retry.backoff", 2, "[retry]\r\nretries = 1\r\nbackoff = 2\r\n"),
        ("[retry]\r\n", "model", "x", 'model = "x"\r\n\r\n[retry]\r\n'),
        ("\ufefftheme = 'x'\n", "theme", "y", '\ufefftheme = "y"\n'),
        ("retry = { retries = 1 }", "retry.backoff", 2, "retry = { retries = 1, backoff = 2 }"),
        ("[mcp.servers.a]\nurl='x'\n", "mcp.servers.b.url", "y", None),
        ("", 'keys."a b"', 'q"\\\n\x7f', None),
    ],
)
def test_a_new_value_goes_where_it_belongs(
    path: Path, before: str, key: str, value: Any, after: str | None
) -> None:
    written(path, before)
    change(path, key, value)
    text = path.read_bytes().decode()
    if after is not None:
        assert text == after
    assert value_at(tomllib.loads(text.removeprefix("\ufeff")), parse_key(key)) == value


@pytest.mark.parametrize(
    ("key", "old"),
    [
        ("theme", 'theme = "auto" # follows the terminal\n'),
        ("models.careful.temperature", "temperature = 0.5\n"),
        ("keys", '[keys]\n"pane.toggle_panel" = "f2"\n'),
        ("permissions.deny", 'deny = ["read_file(~/.ssh/**)"]\n'),
        (
            "tools.containment_rules",
            '[[tools.containment_rules]]\ncommand = "sudo *"\ncontainment = "group"\n',
        ),
        ("mcp.servers.far", FULL[FULL.index("[mcp.servers.far]") : FULL.index("\n[jobs]")]),
        ("jobs.memory", "memory = false\n"),
    ],
)
def test_a_value_is_taken_out_and_nothing_else(path: Path, key: str, old: str) -> None:
    written(path, FULL)
    assert remove(path, key).backup is None
    assert path.read_text() == FULL.replace(old, "", 1) != FULL


def test_what_a_file_does_not_say_cannot_be_taken_out_of_it(path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to unset"):
        remove(path, "model")
    assert not path.exists()
    written(path, FULL)
    with pytest.raises(ConfigError, match=r"models\.other\.model is not set"):
        remove(path, "models.other.model")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("tools.max_steps", 0, "a whole number from 1 on"),
        ("tools.max_stpes", 5, "did you mean 'max_steps'?"),
        ("tools", {"max_steps": 1}, "is a table: set one of tools.containment,"),
        ("models", {}, "set one of them, as in models.NAME"),
        ("models.careful", "x", "it must be a table"),
        ("models.other.effort", "low", "'models.other.model' is missing"),
        ("routes.fast.model", "x", "exactly one of"),
        ("routes.steady.fallback", ["fast"], "leads back to itself"),
        ("providers.team.key", "sk-very-secret", "put the NAME of the variable here"),
        ("mcp.servers.docs.env.X", 3, "it must be text"),
        ("theme", "\udcff", "text"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_written(
    path: Path, key: str, value: Any, says: str
) -> None:
    written(path, FULL)
    with pytest.raises(ConfigError) as caught:
        change(path, key, value)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert path.read_text() == FULL
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_what_a_table_needs_cannot_be_taken_out_of_it(path: Path) -> None:
    written(path, FULL)
    with pytest.raises(ConfigError, match="is missing"):
        remove(path, "models.careful.model")
    assert path.read_text() == FULL


@pytest.mark.parametrize("broken", [FULL + "x", FULL.replace("40", "-40"), 'model = "\xff', "a = 1"])
def test_a_file_that_is_not_valid_is_never_touched(path: Path, broken: str) -> None:
    written(path, "")
    path.write_bytes(broken.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"line \d+"):
        change(path, "model", "x")
    with pytest.raises(ConfigError, match=r"line \d+"):
        remove(path, "model")
    assert path.read_bytes() == broken.encode("latin-1")


def test_where_comments_cannot_be_kept_the_file_is(path: Path) -> None:
    written(path, FULL)
    edited = change(path, "routes.fast", {"fallback": ["careful"]})
    assert edited.backup == path.with_name("config.toml.bak")
    assert edited.backup.read_text() == FULL
    assert stat.S_IMODE(edited.backup.stat().st_mode) == 0o600
    wanted = tomllib.loads(FULL)
    wanted["routes"]["fast"] = {"fallback": ["careful"]}
    assert tomllib.loads(path.read_text()) == wanted
    again = change(path, "routes.fast", {"fallback": ["steady"]})
    assert again.backup is None  # there are no comments left


def test_comments_within_a_value_that_is_replaced_are_kept_beside_it(path: Path) -> None:
    written(path, FULL)
    edited = change(path, "routes.steady.fallback", ["x"])
    assert edited.backup is not None
    assert edited.backup.read_text() == FULL
    assert "# what a person wrote" in path.read_text()


KEYS = [
    ("model", st.text(st.characters(codec="utf-8"), max_size=12)),
    ("tools.max_steps", st.integers(1, 10**12)),
    ("retry.backoff", st.floats(0.001, 1e6)),
    ("favourites", st.lists(st.from_regex(r"[a-z/'\"#=\[\]]{1,8}", fullmatch=True), max_size=3)),
    ("keys.some.id", st.text(st.characters(codec="utf-8"), max_size=12)),
    ("mcp.servers.docs.env.MORE", st.text(st.characters(codec="utf-8"), max_size=12)),
    ("models.new", st.fixed_dictionaries({"model": st.from_regex("[a-z/]{1,9}", fullmatch=True)})),
]


OLD_VALUES = {
    "model": '"fast"',
    "tools.max_steps": "40",
    "retry.backoff": "2.0",
    "favourites": '["careful", "openai/gpt-5.1"]',
    "mcp.servers.docs.env.MORE": '{ TOKEN = "sesame" }',
}
"""What the full file has in the place of a new value; nothing for the other keys."""


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), windows=st.booleans())
def test_exactly_what_was_asked_for_changes_whatever_is_asked_for(
    path: Path, data: st.DataObject, windows: bool
) -> None:
    text = FULL.replace("\n", "\r\n") if windows else FULL
    written(path, text)
    wanted = tomllib.loads(text)
    for key, values in data.draw(st.lists(st.sampled_from(KEYS), max_size=4)):
        value = data.draw(values)
        change(path, key, value)
        inner: Any = wanted
        for part in parse_key(key)[:-1]:
            inner = inner.setdefault(part, {})
        inner[parse_key(key)[-1]] = value
    after = path.read_bytes().decode()
    assert tomllib.loads(after) == wanted
    assert "# what a person wrote" in after
    assert "# follows the terminal" in after


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), windows=st.booleans())
def test_an_edit_leaves_every_other_byte_as_it_was(path: Path, data: st.DataObject, windows: bool) -> None:
    end = "\r\n" if windows else "\n"
    text = FULL.replace("\n", end)
    key, values = data.draw(st.sampled_from(KEYS))
    written(path, text)
    assert change(path, key, data.draw(values)).backup is None
    after = path.read_bytes().decode()
    if windows:
        assert "\n" not in after.replace(end, "")
    start = common_length(text, after)
    end_at = len(text) - common_length(text[start:][::-1], after[start:][::-1])
    assert text[start:end_at] in OLD_VALUES.get(key, "")


def common_length(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


@pytest.mark.parametrize("value", [True, 3, 0.5, 'a"b\\c\n\x00', [1, "x"], [], {}, [{"a": {"b c": [2]}}]])
def test_a_value_is_one_line_of_toml(value: Any) -> None:
    text = rendered(value)
    assert "\n" not in text
    assert tomllib.loads(f"v = {text}") == {"v": value}


def test_what_a_check_refuses_is_not_written_unless_it_was_wrong_before(path: Path) -> None:
    def check(config: Config) -> None:
        if config.keys.get("a.b") == "escape":
            raise CaesuraError("escape stays what it is.")

    with pytest.raises(CaesuraError, match="escape stays"):
        set_value(path, ("keys", "a.b"), "escape", check)
    assert not path.exists()
    written(path, '[keys]\n"a.b" = "escape"\n')
    set_value(path, ("model",), "x", check)
    set_value(path, ("keys", "a.b"), "f2", check)
    with pytest.raises(CaesuraError, match="escape stays"):
        set_value(path, ("keys", "a.b"), "escape", check)


def test_programs_that_set_at_once_lose_nothing(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from core.config.edit import set_value\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for i in range(15): set_value(path, ('keys', f'{name}.{i}'), 'f2', lambda _: None)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], env=environment) for name in "ab"
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    keys = tomllib.loads(path.read_text())["keys"]
    assert set(keys) == {f"{name}.{number}" for name in "ab" for number in range(15)}
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_a_lock_that_somebody_holds_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.config.files.LOCK_WAIT_S", 0.05)
    written(path, FULL)
    lock = FileLock.take(path.with_name("config.toml.lock"))
    try:
        with pytest.raises(ConfigError, match=f"held by process {os.getpid()}"):
            change(path, "model", "x")
    finally:
        lock.release()
    assert path.read_text() == FULL


def test_an_editor_that_saves_meanwhile_is_not_overwritten(path: Path) -> None:
    written(path, FULL)

    def save(config: Config) -> None:
        path.write_text('model = "of the editor"')

    with pytest.raises(ConfigError, match="another program has written it meanwhile"):
        set_value(path, ("model",), "x", save)
    assert path.read_text() == 'model = "of the editor"'


def test_a_full_disk_costs_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, FULL)

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"was not changed: No space left on device\. Make room"):
        change(path, "model", "x")
    assert path.read_text() == FULL
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="was not changed: "):
        change(path, "model", "x")
    with pytest.raises(ConfigError, match=r"cannot be read: |was not changed: "):
        remove(path, "model")


def test_a_new_file_is_for_its_owner_alone_and_an_old_one_keeps_its_mode_and_its_link(
    path: Path, tmp_path: Path
) -> None:
    change(path, "model", "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    dotfiles = tmp_path / "dotfiles.toml"
    path.rename(dotfiles)
    dotfiles.chmod(0o644)
    path.symlink_to(dotfiles)
    change(path, "model", "y")
    assert path.is_symlink()
    assert dotfiles.read_text() == 'model = "y"\n'
    assert stat.S_IMODE(dotfiles.stat().st_mode) == 0o644


def test_what_was_written_is_what_is_read(path: Path, tmp_path: Path) -> None:
    """Every value of the full file, set one by one into an empty one."""
    wanted = loaded(written(path, FULL), tmp_path)
    table = tomllib.loads(FULL)
    path.unlink()
    later: list[Key] = []
    for key in wanted.origins:
        try:
            set_value(path, key, value_at(table, key), anything)
        except ConfigError:
            later.append(key)  # what its table needs has not come yet
    for key in later:
        set_value(path, key, value_at(table, key), anything)
    again = loaded(path, tmp_path)
    assert (again.config, again.errors) == (wanted.config, ())
    for key in wanted.origins:
        assert again.origin(dotted(key)).file == path
        assert plain(value_at(again.config, key)) == plain(value_at(wanted.config, key))
