"""Why there is no key, and what a person can do about it, in one sentence."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from providers.catalog import title_of
from providers.key_names import key_variables, spoken

KEYRING_LIMIT_S = 3.0
"""How long a keyring may take, in seconds: a dead D-Bus takes one, and some never answer."""


class KeyProblem(StrEnum):
    """Why there is no key."""

    MISSING = "missing"
    NO_KEYRING = "no keyring"
    KEYRING_LOCKED = "keyring locked"
    KEYRING_HANGS = "keyring hangs"
    KEYRING_FAILS = "keyring fails"
    FILE_UNUSABLE = "file unusable"


def explain(problem: KeyProblem, provider: str, key_name: str | None = None) -> str:
    """One sentence for the user: what is missing, for which provider, and what to do next.

    `key_name` is the variable that was asked for in place of the provider's usual one.
    """
    variable = key_name or key_variables(provider)[0]
    said = spoken(variable)
    no_key = f"No key called {key_name}" if key_name else f"No key for {title_of(provider)}"
    store = f"`caesura keys set {said}`"
    environment = f"set {variable} before you start Caesura"
    match problem:
        case KeyProblem.MISSING:
            return f"{no_key}: store it with {store} and send the prompt again, or {environment}."
        case KeyProblem.NO_KEYRING:
            return (
                f"{no_key}: {environment}, or have `caesura keys set {said} --file` keep it in a file "
                "(this machine has no keyring that could hold it)."
            )
        case KeyProblem.KEYRING_LOCKED:
            return f"{no_key}: the keyring is locked; unlock it and send the prompt again, or {environment}."
        case KeyProblem.KEYRING_HANGS:
            return (
                f"{no_key}: the keyring did not answer within {KEYRING_LIMIT_S:g} s; look whether it asks "
                f"for a password and send the prompt again, or {environment}."
            )
        case KeyProblem.KEYRING_FAILS:
            return (
                f"{no_key}: the keyring could not be read; {environment}, or have "
                f"`caesura keys set {said} --file` keep it in a file."
            )
        case KeyProblem.FILE_UNUSABLE:
            return (
                f"{no_key}: keys.toml beside the settings cannot be used; `caesura keys list` says why. "
                f"Or {environment}."
            )
        case _:
            assert_never(problem)
