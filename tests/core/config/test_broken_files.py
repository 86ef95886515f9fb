"""Files that are broken in every way: each is named with its line, stays as it is, and holds up nothing."""

from __future__ import annotations

import os
import random
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from core.config.edit import set_value, unset_value
from core.config.errors import LARGEST, ConfigError
from core.config.schema import Config
from tests.support.settings_examples import FULL, loaded, written

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = range(240)


def _broken(seed: int) -> bytes:
    """The full file with one fault, of a kind that goes with the seed."""
    dice = random.Random(seed)
    content = FULL.encode()
    at = dice.randrange(len(content))
    lines = FULL.splitlines(keepends=True)
    which = dice.choice([number for number, line in enumerate(lines) if " = " in line])
    key, _, value = lines[which].partition(" = ")
    match seed % 8:
        case 0:
            return content[:at] + content[at + dice.randrange(1, 20) :]
        case 1:
            return content[:at] + bytes(dice.choices(b'[]{}"=.,#\\\x00\xff\r\n x1', k=3)) + content[at:]
        case 2:
            return content[:at] + content[max(0, at - dice.randrange(1, 40)) : at] + content[at:]
        case 3:
            return content[:at]
        case 4:
            wrong = dice.choice(
                ["true", "-1", "[[1]]", "{ a = 1 }", "1e400", "1979-05-27", '"?"', "[]", "9" * 30]
            )
            lines[which] = f"{key} = {wrong}\n"
        case 5:
            letter = dice.randrange(len(key))
            lines[which] = f"{key[:letter]}q{key[letter:]} = {value}"
        case 6:
            lines.insert(which, lines[which])
        case 7:
            one, other = dice.sample(range(len(lines)), 2)
            lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines).encode()


def test_of_240_broken_files_each_is_valid_or_named_with_its_line_and_none_is_changed(
    path: Path, tmp_path: Path
) -> None:
    written(path, "")
    named = 0
    for seed in SEEDS:
        content = _broken(seed)
        path.write_bytes(content)
        found = loaded(path, tmp_path)
        if found.errors:
            named += 1
            assert found.config == Config()
            assert re.match(rf"{re.escape(str(path))}, line \d+: ", found.errors[0]), (seed, found.errors)
            assert "sesame" not in found.errors[0], seed
            with pytest.raises(ConfigError, match=r"line \d+"):
                set_value(path, ("model",), "x", lambda _: None)
            with pytest.raises(ConfigError, match=r"line \d+"):
                unset_value(path, ("model",), lambda _: None)
        assert path.read_bytes() == content, seed
    assert named > len(SEEDS) / 2


def test_a_wrong_line_is_named_by_its_own_number(path: Path, tmp_path: Path) -> None:
    lines = FULL.splitlines()
    for number, line in enumerate(lines, 1):
        key, is_value, _ = line.partition(" = ")
        if not is_value or line.endswith("["):
            continue
        for fault in (f"{key} = {{ a = {{}} }}", f"{key}xq = 1"):
            text = "\n".join([*lines[: number - 1], fault, *lines[number:]])
            errors = loaded(written(path, text), tmp_path).errors
            if not errors:
                assert fault.startswith('"pane.')  # `[keys]` takes any name
                continue
            # What its table cannot be without may be missed where the table begins.
            alone = key in ("rotate", "url", "command", "model", "containment")
            found = re.search(r", line (\d+): ", errors[0])
            assert found is not None
            assert number - 3 * alone <= int(found[1]) <= number, (fault, errors)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'effort = "high"\nproject',
            'effort = "hihg"\nproject',
            ["effort", "Did you mean 'high'?"],
        ),
        ("retries = 2", "retries = -1", ["routes.fast.retries", "a whole number from 0 on"]),
        ("retries = 2", "retries = 1.5", ["a whole number from 0 on"]),
        ("backoff = 0.5", "backoff = 0", ["a number above 0"]),
        ("max_wait = 20", "max_wait = inf", ["a number above 0"]),
        ("cooldown = 10", "cooldown = -3", ["routes.fast.cooldown"]),
        (
            "cooldown = 10",
            'fallback = ["x"]',
            ["at [routes.fast]", "exactly one of model, rotate and fallback"],
        ),
        ("retries = 2", "rotate_ = 2", ["did you mean 'rotate'?"]),
        ('rotate = ["careful", "steady"]', "rotate = []", ["at [routes.fast]", "exactly one of"]),
        ('rotate = ["careful", "steady"]', 'rotate = ["careful", ""]', ["not empty"]),
        ('    "local.one", # first', "    3, # first", ["routes.steady.fallback", "a name"]),
        ('    "team/other",', '    "fast",', ["fast > steady > fast", "at [routes.fast]"]),
        (
            'rotate = ["careful", "steady"]',
            'model = "fast"',
            ["at [routes.fast]", "leads back to itself: fast > fast"],
        ),
        ('api_base = "https://llm', 'api_base = "ftp://llm', ["providers.team.api_base"]),
        ('api_base = "https://llm', 'api_base = "llm', ["http"]),
        ("[providers.team]", '[providers."a/b"]', ["at [providers.team]", "no /"]),
        ("top_p = 0.9", "top_p = 1.1", ["1 at most"]),
        ("max_output = 4096", "max_output = 10000000000000", ["models.careful.max_output"]),
        ("context_window = 200000", "context = 200000", ["did you mean 'context_window'?"]),
        ('model = "team/gpt-5.1"', "", ["at [models.careful]", "'models.careful.model' is missing"]),
        ('"pane.toggle_panel" = "f2"', '"pane.toggle_panel" = ["f2"]', ["text"]),
        ("max_budget = 2.5", "max_budget = -1", ["tools.max_budget"]),
        ("memory = false", 'memory = "no"', ["true or false"]),
        ("memory = false", "memory = 0", ["true or false"]),
        ('model = "fast"', "model = 5", ["model: it must be text"]),
        ('model = "fast"', "model = " + "9" * 5_000, ["too long"]),
        ('model = "fast"', "model = " + "[" * 2_000 + "]" * 2_000, ["nested too deep"]),
        ('model = "fast"', "model = " + "{a=" * 2_000 + "1" + "}" * 2_000, ["nested too deep"]),
        ('model = "fast"', "a." * 300 + "a = 1", ["200 dots"]),
        ('model = "fast"', "x" * 5_000 + " = 1", ["there is no setting", "…"]),
        ('model = "fast"', '"\\u001b[31m" = 1', ["u001b"]),
        ("deadline = 600", "deadline = 1e300", ["tools.deadline"]),
        *(
            (
                'key = "TEAM_LLM_KEY"',
                f'headers.X-Team = "sesame{wrong}"',
                [
                    "providers.team.headers.X-Team",
                    "takes ASCII characters on one line",
                    "take the header out",
                ],
            )
            for wrong in ("é", "\\n", "\\r\\nX: y", "\\u0000", "\\u007f", " ")
        ),
        *(
            ('key = "TEAM_LLM_KEY"', f'proxy = "{wrong}"', ["providers.team.proxy", "or none"])
            for wrong in ("proxy:3128", "ftp://proxy", "http://", "None")
        ),
        ('Authorization = "sesame"', 'Authorization = "sésame"', ["mcp.servers.far.headers.Authorization"]),
        ('Authorization = "sesame"', '"X Team" = "sesame"', ["mcp.servers.far.headers", "no spaces"]),
        ('key = "TEAM_LLM_KEY"', 'headers."X:y" = "z"', ["providers.team.headers", "the name of a header"]),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_is_right(
    path: Path, tmp_path: Path, old: str, new: str, says: list[str]
) -> None:
    text = FULL.replace(old, new, 1)
    assert text != FULL
    found = loaded(written(path, text), tmp_path)
    assert found.config == Config()
    [error] = found.errors
    # Where the text was replaced, unless another place is named.
    anchor = next((words.removeprefix("at ") for words in says if words.startswith("at ")), old)
    line = FULL[: FULL.index(anchor)].count("\n") + 1
    assert error.startswith(f"{path}, line {line}: ")
    for words in says:
        assert words in error or words.startswith("at ")
    assert len(error) < 600
    assert "\x1b" not in error


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-Abc123",
        "sk_live_abc",
        "gsk_AbCdEf",
        "AIzaSyA1b2c3d4",
        "hf_abcdef",
        "a1b2c3d4e5f6a7b8c9d0",
        "AbCdEfGhIjKlMnOpQr",
        "0123abc",
        "with space",
        "semi;colon",
        "prefix_a1b2c3d4e5f6a7b8c9d0",
    ],
)
@pytest.mark.parametrize("where", ['key = "TEAM_LLM_KEY"', 'key = "LOCAL_KEY"'])
def test_a_key_in_place_of_its_name_is_refused_and_not_repeated(
    path: Path, tmp_path: Path, secret: str, where: str
) -> None:
    [error] = loaded(written(path, FULL.replace(where, f'key = "{secret}"')), tmp_path).errors
    assert "put the NAME of the variable here" in error
    assert "caesura keys set" in error
    assert "line" in error
    assert secret not in error


@pytest.mark.parametrize(
    "name", ["TEAM_LLM_KEY", "OPENAI_API_KEY", "team", "K", "AZURE_OPENAI_API_KEY_2", "SK"]
)
def test_the_name_of_a_variable_is_taken(path: Path, tmp_path: Path, name: str) -> None:
    found = loaded(written(path, FULL.replace("TEAM_LLM_KEY", name)), tmp_path)
    assert (found.config.providers["team"].key, found.errors) == (name, ())


def test_line_ends_and_a_mark_of_windows_are_taken(path: Path, tmp_path: Path) -> None:
    plain = loaded(written(path, FULL), tmp_path)
    windows = loaded(written(path, "\ufeff" + FULL.replace("\n", "\r\n")), tmp_path)
    assert (windows.config, windows.errors, windows.origins) == (plain.config, (), plain.origins)


def test_what_is_no_text_is_named_with_its_line(path: Path, tmp_path: Path) -> None:
    written(path, "")
    path.write_bytes(b"model = 'x'\n# \xe9t\xe9\n")
    [error] = loaded(path, tmp_path).errors
    assert error.startswith(f"{path}, line 2: not UTF-8")


def test_what_is_no_regular_file_or_too_large_is_not_waited_for(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert "no regular file" in loaded(path, tmp_path).errors[0]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "no regular file" in loaded(path, tmp_path).errors[0]
    path.unlink()
    path.touch()
    os.truncate(path, 1 << 30)  # a hole: it takes no space
    assert f"larger than {LARGEST // 1024} KB" in loaded(path, tmp_path).errors[0]
    path.unlink()
    path.symlink_to(path)
    assert "cannot be read" in loaded(path, tmp_path).errors[0]
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in loaded(path, tmp_path).errors[0]


def test_what_is_written_to_keep_its_reader_busy_does_not(path: Path, tmp_path: Path) -> None:
    """Known of `tomllib`: what a key of many parts costs grows with their square."""
    deep = ".".join(["a"] * 30_000)
    for text in (f"{deep} = 1", f"[{deep}]", f"x = {{ {deep} = 1 }}"):
        assert "dots" in loaded(written(path, text), tmp_path).errors[0]
    many = "\n".join(f"[models.m{number}]\nmodel = 'x'" for number in range(2_000))
    found = loaded(written(path, many), tmp_path)
    assert (len(found.config.models), found.errors) == (2_000, ())


def test_the_lines_of_a_file_are_those_that_its_reader_sees(path: Path, tmp_path: Path) -> None:
    text = 'theme = """\n[tools]\nmax_steps = 1\n"""\nfavourites = [ # ] [\n  "]", # x\n]\n'
    text += "[tools]\nmax_steps = 2\n"
    found = loaded(written(path, text), tmp_path)
    assert found.errors == ()
    assert tomllib.loads(text)["tools"] == {"max_steps": 2}
    lines = [found.origin(key).line for key in ("theme", "favourites", "tools.max_steps")]
    assert lines == [1, 5, 9]
