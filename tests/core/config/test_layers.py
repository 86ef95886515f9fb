"""Each place goes before those before it, says where a value came from, and counts whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.errors import ConfigError
from core.config.kept_rules import add_allow_rule
from core.config.layers import LayerKind
from core.config.load import load_config
from core.config.schema import Config
from core.config.trust import trust
from core.model.provider import Effort
from core.permissions.policy import Mode
from core.permissions.rules import Rule
from tests.support.settings_examples import loaded, written


@pytest.fixture
def project(path: Path, tmp_path: Path) -> Path:
    """A project whose folder is trusted."""
    folder = tmp_path / "project"
    folder.mkdir()
    trust(path, folder)
    return folder


def test_each_layer_goes_before_the_one_before_it(path: Path, project: Path) -> None:
    at = "tools.max_steps"
    assert loaded(path, project).config.tools.max_steps == 200
    assert str(loaded(path, project).origin(at)) == "default"
    written(path, "[tools]\nmax_steps = 1\ndeadline = 5")
    assert loaded(path, project).config.tools.max_steps == 1
    assert str(loaded(path, project).origin(at)) == f"{path}, line 2"
    written(project / ".caesura.toml", "\n\ntools.max_steps = 2")
    assert loaded(path, project).config.tools.max_steps == 2
    assert str(loaded(path, project).origin(at)) == f"{project}/.caesura.toml, line 3"
    variables = {"CAESURA_TOOLS_MAX_STEPS": "3"}
    assert loaded(path, project, variables).config.tools.max_steps == 3
    assert str(loaded(path, project, variables).origin(at)) == "CAESURA_TOOLS_MAX_STEPS"
    last = loaded(path, project, variables, tools__max_steps=4)
    assert (last.config.tools.max_steps, last.config.tools.deadline) == (4, 5)
    assert str(last.origin(at)) == "the option tools.max_steps"
    assert last.origin(at).layer is LayerKind.OPTION


def test_the_environment_of_the_process_is_read_unless_another_is_given(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAESURA_MODEL", "from/outside")
    assert load_config(path, tmp_path).config.model == "from/outside"
    assert load_config(path, tmp_path, environment={}).config.model == ""


def test_tables_are_laid_over_each_other_key_by_key(path: Path, project: Path) -> None:
    written(path, '[models.careful]\nmodel = "a/b"\neffort = "high"\n[providers.one]\n[keys]\n"a.b" = "f2"')
    written(
        project / ".caesura.toml",
        '[models.careful]\neffort = "low"\n[providers.two]\nkey = "K"\n[keys]\n"c.d" = "f3"',
    )
    config = loaded(path, project).config
    assert (config.models["careful"].model, config.models["careful"].effort) == ("a/b", Effort.LOW)
    assert set(config.providers) == {"one", "two"}
    assert config.keys == {"a.b": "f2", "c.d": "f3"}


def test_of_settings_that_exclude_each_other_the_later_holds(path: Path, project: Path) -> None:
    written(path, '[routes.r]\nrotate = ["a", "b"]\nretries = 3\n[mcp.servers.s]\ncommand = ["x"]')
    written(
        project / ".caesura.toml", '[routes.r]\nfallback = ["c"]\n[mcp.servers.s]\nurl = "http://localhost/"'
    )
    config = loaded(path, project).config
    route = config.routes["r"]
    assert (route.rotate, route.fallback, route.retries) == ((), ("c",), 3)
    assert (config.mcp.servers["s"].command, config.mcp.servers["s"].url) == ((), "http://localhost/")


def test_what_a_person_denies_no_project_takes_away(path: Path, project: Path) -> None:
    written(path, '[permissions]\ndeny = ["web_fetch"]\nask = ["shell"]')
    written(project / ".caesura.toml", '[permissions]\ndeny = []\nask = ["edit_file"]\nallow = ["shell(ls)"]')
    permissions = loaded(path, project, {"CAESURA_PERMISSIONS_DENY": '["read_file(x)"]'}).config.permissions
    assert permissions.deny == (Rule("web_fetch", "*"), Rule("read_file", "x"))
    assert permissions.ask == (Rule("shell", "*"), Rule("edit_file", "*"))
    assert permissions.allow == (Rule("shell", "ls"),)


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        ("file", "[tools]\nmax_steps = 0", "config.toml, line 2: tools.max_steps: "),
        (
            "file",
            '[tools]\nmax_steps = 7\n[tool]\nx = "y"',
            "line 3: there is no setting 'tool'; did you mean",
        ),
        (
            "project",
            '[models.m]\neffort = "low"',
            ".caesura.toml, line 1: the setting 'models.m.model' is miss",
        ),
        (
            "project",
            '[routes.b]\nmodel = "a"',
            ".caesura.toml, line 1: the route leads back to itself: a > b > a",
        ),
        ("project", '[permissions]\nask = [\n"x",\n"(("]', ".caesura.toml, line 4: permissions.ask: "),
        (
            "CAESURA_TOOLS_MAX_STEPS",
            "many",
            "The variable CAESURA_TOOLS_MAX_STEPS of the environment: tools.max",
        ),
        ("CAESURA_TOOLS_CONTAINMENT", "gruop", "it must be one of"),
        ("CAESURA_PROVIDERS_TEAM_KEY", "sk-secret", "put the NAME of the variable here"),
        ("tools.max_steps", "0", "The option tools.max_steps: tools.max_steps: it must be a whole number"),
        ("tools.max_stpes", "1", "did you mean 'max_steps'?"),
        ("tools max", "1", "is no key"),
    ],
)
def test_a_layer_that_cannot_be_used_is_left_out_whole_and_the_others_count(
    path: Path, project: Path, place: str, text: str, says: str
) -> None:
    good = '[tools]\ndeadline = 9\n[routes.a]\nmodel = "b"\n[permissions]\nask = ["shell"]'
    written(path, text if place == "file" else good)
    written(project / ".caesura.toml", text if place == "project" else 'effort = "low"')
    variables = {"CAESURA_THEME": "dusk"} | ({place: text} if place.startswith("CAESURA_") else {})
    is_option = place.startswith("tools")
    options = {"jobs.memory": False} | ({place: text} if is_option else {})
    found = load_config(path, project, environment=variables, options=options)
    [error] = found.errors
    assert says in error
    assert "sk-secret" not in error
    assert found.error == error
    config = found.config
    assert config.tools.max_steps == 200
    assert (config.tools.deadline == 9) == (place != "file")
    assert (config.effort is Effort.LOW) == (place != "project")
    assert (config.theme == "dusk") == (not place.startswith("CAESURA_"))
    assert config.jobs.memory == is_option


def test_a_variable_that_means_nothing_is_a_notice_with_the_nearest(path: Path, tmp_path: Path) -> None:
    variables = {
        "CAESURA_MODLE": "x",
        "CAESURA_TEST_PROXY": "x",
        "CAESURA_COMMAND": "x",
        "CAESURA_CHILD_REPORT": "x",
        "CAESURA_THEME": "",
        "caesura_model": "x",
        "CAESURA_EFFORT": "low",
    }
    found = loaded(path, tmp_path, variables)
    assert found.errors == ()
    [notice] = found.notices
    assert "CAESURA_MODLE" in notice
    assert "did you mean CAESURA_MODEL?" in notice
    assert (found.config.effort, found.config.theme, found.config.model) == (Effort.LOW, "auto", "")


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("CAESURA_MODEL", "2024", "2024"),
        ("CAESURA_MODEL", '"quoted"', "quoted"),
        ("CAESURA_FAVOURITES", '["a", "b"]', ("a", "b")),
        ("CAESURA_PROJECT_NOTES", "false", False),
        ("CAESURA_EFFORT", "high", Effort.HIGH),
    ],
)
def test_text_in_a_variable_needs_no_quotation_marks(
    path: Path, tmp_path: Path, variable: str, text: str, value: object
) -> None:
    found = loaded(path, tmp_path, {variable: text})
    assert found.errors == ()
    assert getattr(found.config, variable.removeprefix("CAESURA_").lower()) == value


def test_a_variable_finds_the_name_that_the_files_have(path: Path, tmp_path: Path) -> None:
    written(path, '[models."GPT-5.1"]\nmodel = "x/y"\n[providers.my_team]\n')
    variables = {
        "CAESURA_MODELS_GPT_5_1_MAX_OUTPUT": "5",
        "CAESURA_PROVIDERS_MY_TEAM_API_BASE": "http://localhost:1/",
        "CAESURA_PROVIDERS_NEW_KEY": "NEW_KEY",
    }
    config = loaded(path, tmp_path, variables).config
    assert config.models["GPT-5.1"].max_output == 5
    assert config.providers["my_team"].api_base == "http://localhost:1/"
    assert config.providers["new"].key == "NEW_KEY"


def test_a_file_is_found_from_the_workspace_up_to_its_repository(path: Path, tmp_path: Path) -> None:
    top, inner = tmp_path / "repo", tmp_path / "repo" / "a" / "b"
    inner.mkdir(parents=True)
    written(top / ".caesura.toml", 'theme = "top"')
    written(tmp_path / ".caesura.toml", 'theme = "above"')
    assert loaded(path, inner).config.theme == "auto"  # no repository: nothing above the workspace counts
    assert loaded(path, top).config.theme == "top"
    (top / ".git").mkdir()
    assert loaded(path, inner).config.theme == "top"
    written(inner.parent / ".caesura.toml", 'theme = "near"')
    found = loaded(path, inner)
    assert (found.config.theme, found.project) == ("near", inner.parent / ".caesura.toml")


def test_nothing_above_the_home_is_looked_at(path: Path, own_home: Path) -> None:
    work = own_home / "work"
    work.mkdir()
    outside = own_home.parent / ".caesura.toml"
    repository = own_home.parent / ".git"
    written(outside, 'theme = "outside"')
    repository.mkdir()
    try:
        assert loaded(path, work).config.theme == "auto"
        written(own_home / ".caesura.toml", 'theme = "home"')
        assert loaded(path, work).config.theme == "auto"
        (own_home / ".git").mkdir()
        assert loaded(path, work).config.theme == "home"
    finally:
        outside.unlink()
        repository.rmdir()


def test_while_the_own_file_is_broken_nothing_that_allows_counts(path: Path, project: Path) -> None:
    """What it denies is unknown then."""
    add_allow_rule(path, project, Rule("shell", "make"))
    written(project / ".caesura.toml", 'theme = "x"\n[permissions]\nmode = "auto"\nallow = ["shell"]')
    assert loaded(path, project).config.permissions.allow == (Rule("shell", "*"), Rule("shell", "make"))
    written(path, "deny = ")
    found = loaded(path, project)
    assert (found.config.permissions, found.config.theme) == (Config().permissions, "x")
    assert found.untrusted == ("permissions.mode", "permissions.allow")
    assert "once your own file can be used" in found.notices[0]
    chosen = loaded(path, project, permissions__mode="plan")
    assert chosen.config.permissions.mode is Mode.PLAN


def test_there_is_no_origin_of_what_is_no_setting(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'max_steps'"):
        loaded(path, tmp_path).origin("tools.max_step")


def test_no_place_and_no_home_still_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    assert load_config(Path("/nonexistent/config.toml"), Path("/nonexistent"), environment={}) is not None
