"""Every setting there is: read from each place it may come from, explained, written and read back."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from core.config.edit import rendered, set_value, unset_value
from core.config.layers import LayerKind, value_at
from core.config.manual import manual, plain, value_lines
from core.config.schema import Config
from core.config.tree import ANY_NAME, Setting, dotted, find, parse_key, settings, variable_of
from core.model.provider import Effort, Parameters
from core.model.settings import NamedModel, RetryPolicy, Route, ServerAddress
from tests.support.settings_examples import FULL, around, loaded, put, samples, written

if TYPE_CHECKING:
    from pathlib import Path

    from core.config.tree import Key

EVERY = [pytest.param(*sample, id=dotted(sample[0])) for sample in samples()]


@pytest.mark.parametrize(("key", "setting", "value"), EVERY)
def test_every_setting_is_read_from_a_file_and_known_to_be_from_there(
    path: Path, tmp_path: Path, key: Key, setting: Setting, value: Any
) -> None:
    text = tomli_w.dumps(put(around(key), key, value))
    found = loaded(written(path, text), tmp_path)
    assert found.errors == found.notices == ()
    assert plain(value_at(found.config, key)) == value != plain(setting.default)
    origin = found.origin(dotted(key))
    assert (origin.layer, origin.file) == (LayerKind.USER, path)
    assert origin.line is not None
    line = text.splitlines()[origin.line - 1]
    assert line.startswith((key[-1], f'"{key[-1]}"', f"[[{dotted(key)}]]"))


@pytest.mark.parametrize(("key", "setting", "value"), EVERY)
def test_every_setting_is_explained(key: Key, setting: Setting, value: Any) -> None:
    assert setting.doc.text.endswith(".")
    assert setting.kind.words not in ("", "a table")
    assert value is not None


@pytest.mark.parametrize(("key", "setting", "value"), EVERY)
def test_every_setting_is_set_and_unset_in_place(
    path: Path, tmp_path: Path, key: Key, setting: Setting, value: Any
) -> None:
    companions = around(key)
    written(path, f"# head\n\n{tomli_w.dumps(companions)}# tail\n")
    edited = set_value(path, key, value, lambda _: None)
    assert plain(value_at(loaded(path, tmp_path).config, key)) == value
    assert edited.backup is None
    assert path.read_text().startswith("# head\n\n")
    assert "# tail\n" in path.read_text()
    # A name that cannot be without this setting goes with it.
    back = key if companions or ANY_NAME not in key[:-1] else key[:-1]
    unset_value(path, back, lambda _: None)
    after = loaded(path, tmp_path)
    assert after.errors == ()
    assert key not in after.origins


@pytest.mark.parametrize(("key", "setting", "value"), EVERY)
def test_every_setting_with_a_name_of_its_own_has_a_variable_and_an_option(
    path: Path, tmp_path: Path, key: Key, setting: Setting, value: Any
) -> None:
    if key[-1] == ANY_NAME:
        return
    named = tuple("name" if part == ANY_NAME else part for part in key)
    written(path, tomli_w.dumps(around(named)))
    text = value if isinstance(value, str) else rendered(value)
    by_variable = loaded(path, tmp_path, {variable_of(named): text})
    assert by_variable.errors == by_variable.notices == ()
    assert plain(value_at(by_variable.config, named)) == value
    assert str(by_variable.origin(dotted(named))) == variable_of(named)
    by_option = loaded(path, tmp_path, {variable_of(named): ""}, **{dotted(named): value})
    assert by_option.errors == ()
    assert plain(value_at(by_option.config, named)) == value
    assert by_option.origin(dotted(named)).layer is LayerKind.OPTION


def test_the_whole_file_comes_through(path: Path, tmp_path: Path) -> None:
    found = loaded(written(path, FULL), tmp_path)
    assert found.errors == found.notices == ()
    table = tomllib.loads(FULL)
    for key in found.origins:
        assert plain(value_at(found.config, key)) == value_at(table, key)


def test_routing_gets_what_was_written(path: Path, tmp_path: Path) -> None:
    models = loaded(written(path, FULL), tmp_path).config.model_settings
    assert models.providers == {
        "team": ServerAddress("litellm_proxy", "https://llm.example.com", "2024-10-21", "TEAM_LLM_KEY")
    }
    assert models.models == {
        "careful": NamedModel("team/gpt-5.1", Effort.HIGH, 0.5, 0.9, max_output=4096, context_window=200_000),
        "local.one": NamedModel("openai/qwen3", api_base="http://localhost:8000/v1", key="LOCAL_KEY"),
    }
    assert models.models["careful"].parameters == Parameters(Effort.HIGH, 0.5, 0.9, 4096)
    assert models.routes["fast"].retry == RetryPolicy(2, 0.5, 20)
    assert models.routes == {
        "fast": Route(rotate=("careful", "steady"), retries=2, backoff=0.5, max_wait=20, cooldown=10),
        "steady": Route(fallback=("local.one", "team/other")),
    }
    assert models.retry == RetryPolicy(1, 2.0, 30)
    assert Config().model_settings.retry == RetryPolicy()


def test_the_manual_has_every_setting_and_is_a_file_once_it_is_uncommented() -> None:
    lines = list(manual())
    text = "\n".join(line[1:] if re.match(r"#[^ ]", line) else line for line in lines)
    table = tomllib.loads(text)
    for key, setting in settings():
        assert value_at(table, key) is not None, key
        assert setting.doc.text.split()[0] in text
        if key[-1] != ANY_NAME:
            assert variable_of(key) in text
    assert max(map(len, lines)) <= 120


def test_what_is_shown_is_a_file_too_and_names_each_place(path: Path, tmp_path: Path) -> None:
    found = loaded(written(path, FULL), tmp_path, {"CAESURA_THEME": "dusk"})
    lines = list(value_lines(found))
    table = tomllib.loads("\n".join(lines))
    assert "sesame" not in "\n".join(lines)
    for key, origin in found.origins.items():
        node = find(key)
        if isinstance(node, Setting) and not node.doc.secret:
            assert value_at(table, key) == plain(value_at(found.config, key))
        assert str(origin) in "\n".join(lines)
    assert any("dusk" in line and line.endswith("# CAESURA_THEME") for line in lines)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("tools.max_steps", ("tools", "max_steps")),
        ("keys.pane.toggle_panel", ("keys", "pane.toggle_panel")),
        ('keys."pane.toggle_panel"', ("keys", "pane.toggle_panel")),
        ('models."a.b".effort', ("models", "a.b", "effort")),
    ],
)
def test_a_key_is_read_as_it_is_typed(text: str, key: Key) -> None:
    assert parse_key(text) == key
    assert parse_key(dotted(key)) == key


def test_an_address_with_a_password_is_not_listed(path: Path, tmp_path: Path) -> None:
    written(path, '[providers.team]\napi_base = "http://me:hunter2@host/v1"')
    lines = list(value_lines(loaded(path, tmp_path)))
    assert any(line.startswith("# providers.team.api_base is not shown") for line in lines)
    assert "hunter2" not in "".join(lines)
