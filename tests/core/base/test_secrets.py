"""Every place that looks for secrets knows the same ones, and lets ordinary words pass."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from core.base.secrets import (
    is_key_like,
    is_provider_variable,
    is_secret_name,
    is_secret_path,
    is_secret_variable,
    may_hold_secret,
    redact_keys,
)

KEYS = [
    "sk-proj-Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "sk-ant-api03-Ab3xkyGh5dQz8kT1mN4v-R7wY0cF2jL6p",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "pk_test_TYooMQauvdEDq54NiTphI7jx",
    "gsk_Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "hf_Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "r8_Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "xai-Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "pplx-Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "nvapi-Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "tgp_v1_Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "fw_3ZVxkyGh5dQz8kT1mN4vR7wY",
    "csk-4eC39HqLyjWDarjtT1zdp7dc",
    "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "ya29.a0AfH6SMBx3kyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "ghp_Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0Ab3xkyGh5dQz_8kT1mN4vR7wY0cF2jL6p",
    "glpat-Ab3xkyGh5dQz8kT1mN4v",
    "xoxb-123456789012-Ab3xkyGh5dQz8kT1mN4v",
    "npm_Ab3xkyGh5dQz8kT1mN4vR7wY0cF2jL6p",
    "pypi-AgEIcHlwaS5vcmcCJDk3xkyGh5dQz8kT1mN4v",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "0123456789abcdef0123456789abcdef",
    "0123456789ABCDEF0123456789ABCDEF",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_known_everywhere(key: str) -> None:
    assert is_key_like(key)
    assert may_hold_secret(f"use {key} for it")
    for text in (key, f"key={key}.", f'{{"api_key": "{key}"}}', f"https://x.example/?key={key}&a=b"):
        assert key not in redact_keys(text)
        assert "[key]" in redact_keys(text)


@pytest.mark.parametrize(
    "text",
    [
        "The model openai/gpt-4o-mini-2026-01-31 skipped keyboard-layout at http://127.0.0.1:8080/v1",
        "npm-run-all 4.1.5 and pypi 2026-11-21, fwupd 1.9",
        "claude-sonnet-4-5-20250929 is asked by TEAM_LLM_KEY",
    ],
)
def test_ordinary_words_are_not_redacted(text: str) -> None:
    assert redact_keys(text) == text


def test_what_stands_around_a_key_is_redacted_with_it() -> None:
    assert redact_keys("Bearer abc") == "Bearer [key]"
    assert redact_keys("https://me:hunter2@host/") == "https://[key]@host/"
    assert redact_keys("https://me:hunt@er2@host/") == "https://[key]@host/"
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nafter"
    assert redact_keys(pem) == "[key]\nafter"


@pytest.mark.parametrize("name", ["TEAM_LLM_KEY", "openai", "AZURE_OPENAI_API_KEY_2", "SK", "team"])
def test_the_name_of_a_key_is_none(name: str) -> None:
    assert not is_key_like(name)


def test_variables_of_providers_and_of_own_programs_differ() -> None:
    providers = ["OPENAI_API_KEY", "REPLICATE_API_TOKEN", "WATSONX_APIKEY", "AIMLAPI_KEY", "openai_api_keys"]
    providers += ["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]
    own = ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "DB_PASS", "MYSQL_PWD", "SSH_PASSPHRASE"]
    plain = ["PATH", "PWD", "OLDPWD", "EDITOR", "SSH_ASKPASS", "COMPASS"]
    for name in providers:
        assert is_provider_variable(name)
    for name in own:
        assert not is_provider_variable(name)
    for name in (*providers, *own):
        assert is_secret_variable(name)
    for name in plain:
        assert not is_secret_variable(name)
        assert not is_provider_variable(name)


def test_files_that_may_hold_secrets_are_known_by_name_or_folder() -> None:
    for name in (".env", ".ENV", ".env.local", "server.pem", "id_ed25519", "credentials.json", "keys.toml"):
        assert is_secret_name(name)
        assert is_secret_path(PurePath("a") / name)
    for path in ("/home/ada/.ssh/config", "/home/ada/.SSH/config", "x/.aws/config"):
        assert is_secret_path(PurePath(path))
    for path in (".env.example", "id_rsa.pub", "src/environment.py", "keyboard.py", ""):
        assert not is_secret_path(PurePath(path))
