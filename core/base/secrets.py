"""What a secret looks like: a key in a text, a variable that holds one, a file that may.

Secrets are recognised by shape, which is never certain. Each function says on which side it errs. The known
shapes are of keys for model providers and for services that developers use; add new ones here.

The patterns are strings: they are compiled when they are first used, not at the start of the program.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePath

_BEGINNING = (
    r"(?:(?:sk|pk|rk)[-_]|gsk_|hf_|r8_|xai-|pplx-|nvapi[-_]|tgp_|fw_|csk[-_]"
    r"|gh[a-z]_|github_pat_|glpat[-_]|xox[a-z]-|npm_|pypi-|AIza|ya29\.|eyJ)"
)
_ACCESS_KEY_ID = r"A[A-Z]IA[A-Z0-9]{12,}"
_NOT_WITHIN = r"(?<![A-Za-z0-9])"
_WITH_DIGIT = r"(?=[\w*.-]{0,99}[\d*])[\w*.-]{8,}"
"""The rest of a key. The look ahead is bounded: else a hostile text costs time that grows with its square."""
_HEX = rf"{_NOT_WITHIN}[0-9a-fA-F]{{32,}}(?![A-Za-z0-9])"

_KEY_OF_A_SERVER = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*-----|\Z)"
    rf"|{_NOT_WITHIN}{_BEGINNING}{_WITH_DIGIT}"
    # Servers shorten keys in their own ways, and some leave out what stands after the beginning.
    rf"|\b(?:sk|pk|rk|gsk|xai|hf|pplx|nvapi|ghp|gho|github_pat|key)[-_]?{_WITH_DIGIT}"
    rf"|{_NOT_WITHIN}{_ACCESS_KEY_ID}"
    r"|(?<=Bearer )\S+"
    r"|(?<=://)[^/\s]+(?=@)"
    r"|(?<=[?&]key=)[^&\s'\"]+"
    r"|\b[A-Za-z0-9_-]{48,}\b"
    rf"|{_HEX}"
)
_SECRET_IN_A_NOTE = (
    r"-----BEGIN"
    # A short word without a digit, such as fw_version_check, is a name.
    rf"|{_NOT_WITHIN}{_BEGINNING}(?=[A-Za-z0-9_-]*[0-9]|[A-Za-z0-9_-]{{16}})[A-Za-z0-9_-]{{8,}}"
    rf"|{_NOT_WITHIN}{_ACCESS_KEY_ID}"
    r"|://[^/\s:@]+:[^/\s@]+@"
    rf"|{_HEX}"
    r"|(?i:pass(?:word|phrase|wd|wort)|secret|api[ _-]?key|(?:access|auth|bearer)[ _-]?token)"
    r"[\"'`]*\s*(?::|=|\bis\b)\s*\S"
)
_LONG_PART = 16

_PROVIDER_VARIABLE = r"(?i:.*API_?(?:KEY|TOKEN)S?|ANTHROPIC_AUTH_TOKEN|CLAUDE_CODE_OAUTH_TOKEN)"
_SECRET_VARIABLE = r"(?i:KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|_PASS$|._PWD$)"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET_FILES = _words(
    ".env .env.* .envrc *.env .netrc _netrc .pgpass .npmrc .pypirc .git-credentials .htpasswd .dockercfg "
    "credentials credentials.* secrets.* keys.toml id_rsa* id_dsa* id_ecdsa* id_ed25519* "
    "*.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk *.asc *.gpg"
)
_PUBLIC_FILES = _words("*.pub *.example *.sample *.template *.dist")
_SECRET_FOLDERS = _words(".ssh .gnupg .aws .azure .kube .docker .password-store gcloud")


def redact_keys(text: str, replacement: str = "[key]") -> str:
    """`text` without anything that has the shape of a key. Rather hides a word too many than a key too few,
    but leaves the names of models, addresses and versions."""
    return re.sub(_KEY_OF_A_SERVER, replacement, text)


def without_login(address: str) -> str:
    """An address as a person or a log may read it: without the name and the password in it."""
    return re.sub(r"(?<=://)[^/?#]*@", "", address)


def may_hold_secret(line: str) -> bool:
    """Whether a line of prose holds what looks like a key or a password. Rather true once too often."""
    if re.search(_SECRET_IN_A_NOTE, line):
        return True
    # Letters of both cases and digits in a row, or many digits among letters: no word and few names have it.
    runs = re.findall(r"[A-Za-z0-9+_=-]{20,}", line)
    is_mixed = any(_digits(run) >= 2 and run not in (run.lower(), run.upper()) for run in runs)
    return is_mixed or any(_digits(run) >= 4 for run in re.findall(r"[A-Za-z0-9]{20,}", line))


def is_key_like(word: str) -> bool:
    """Whether a word, given where the name of a key is wanted, is more likely the key. The parts of a name
    are short, or letters of one case."""
    if re.match(rf"{_BEGINNING}|{_ACCESS_KEY_ID}", word):
        return True
    return any(_is_random(part) for part in re.split(r"[-_]", word))


def is_provider_variable(name: str) -> bool:
    """Whether a variable of the environment is called like one that holds the key of a model provider.

    Variables of a person's own programs are not among them (`GITHUB_TOKEN`, `AWS_SECRET_ACCESS_KEY`).
    """
    return re.fullmatch(_PROVIDER_VARIABLE, name) is not None


def is_secret_variable(name: str) -> bool:
    """Whether a variable of the environment is called like one that holds any secret."""
    return re.search(_SECRET_VARIABLE, name) is not None


def is_secret_name(name: str) -> bool:
    """Whether a file of this name may hold secrets."""
    name = name.casefold()
    return any(fnmatchcase(name, known) for known in _SECRET_FILES) and not any(
        fnmatchcase(name, known) for known in _PUBLIC_FILES
    )


def is_secret_path(path: PurePath) -> bool:
    """Whether a file may hold secrets, by its name or by the folders it is in."""
    return is_secret_name(path.name) or not _SECRET_FOLDERS.isdisjoint(part.casefold() for part in path.parts)


def _is_random(part: str) -> bool:
    """Whether a word is as long and as mixed as only keys are."""
    if len(part) < _LONG_PART:
        return False
    return _digits(part) > 0 or not (part.isupper() or part.islower()) or len(part) > 2 * _LONG_PART


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)
