"""The doctor's checks of what stands between the model process and a server: proxies and certificates.

They read the environment as httpx does. Names and passwords in the address of a proxy are not told.
"""

from __future__ import annotations

import importlib.util
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.base.setting import NO_PROXY
from core.frontends.doctor.report import Finding, State, blocking_check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
"""The names under which OpenSSL looks for the certificates of a folder."""


@blocking_check("Proxies")
def proxies_check(environment: Mapping[str, str], proxies: Mapping[str, str]) -> Finding:
    """Which variables for proxies are in force, and the `proxy` of each server of the settings, by the
    server's name. That one goes before the variables, also before NO_PROXY."""
    in_force = dict(_proxies_in_force(environment))
    ignored = [
        f"{name} does not count, for {name.lower()} is there too"
        for name in PROXIES
        if environment.get(name) and name.lower() in environment
    ]
    told = [f"{name} is {_without_password(value)}" for name, value in in_force.items()]
    own = {f"proxy of {name}": value for name, value in proxies.items() if value}
    told_own = [f"{name} is {_without_password(value)}" for name, value in own.items()]
    words = "; ".join((*(told or ["the environment names none"]), *ignored, *told_own))
    named = {name.upper(): value for name, value in in_force.items()}
    if "*" in [host.strip() for host in named.pop("NO_PROXY", "").split(",")]:
        named = {}
        words += ". The star in NO_PROXY keeps every other request from a proxy"
    named |= {name: value for name, value in own.items() if value != NO_PROXY}
    for name, value in named.items():
        scheme = value.partition("://")[0].lower() if "://" in value else "http"
        if scheme not in _SCHEMES:
            advice = f"{name} must begin with http://, https:// or socks5://: no request can use this one."
            return Finding("Proxies", State.BAD, words, advice)
        if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
            advice = f"{name} names a SOCKS proxy, which needs the package socksio beside Caesura."
            return Finding("Proxies", State.BAD, words, advice)
    return Finding("Proxies", State.GOOD, words)


def _proxies_in_force(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Small letters go before capitals, also if they are empty."""
    for name in PROXIES:
        used = name.lower() if name.lower() in environment else name
        if value := environment.get(used):
            yield used, value


def _without_password(value: str) -> str:
    before, at, host = value.rpartition("@")
    if not at:
        return value
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}://…@{host}" if slashes else f"…@{host}"


@blocking_check("Certificates")
def certificates_check(environment: Mapping[str, str], ca_files: Mapping[str, str]) -> Finding:
    """Whether the certificates that servers are trusted by can be read: those of the environment, and the
    `ca_file` of each server of the settings, by the server's name."""
    file, folders = environment.get("SSL_CERT_FILE", ""), environment.get("SSL_CERT_DIR", "")
    told: list[str] = []
    wrong: list[str] = []
    named = [("SSL_CERT_FILE", Path(file))] if file else []
    named += [(f"ca_file of {name}", Path(path).expanduser()) for name, path in ca_files.items() if path]
    for what, path in named:
        problem = _problem_of(path)
        (wrong if problem else told).append(f"{what}: {path} {problem or 'can be read'}")
    if folders and file:
        told.append("SSL_CERT_DIR does not count, for SSL_CERT_FILE is there too")
    elif folders:
        problem = _problem_of_folders(folders)
        (wrong if problem else told).append(f"SSL_CERT_DIR: {folders} {problem or 'can be read'}")
    if not file and not folders:
        told.append("the usual ones (certifi) hold")
    words = "; ".join((*wrong, *told))
    if wrong:
        advice = "Correct the path, or take it out; a file must hold certificates in PEM."
        return Finding("Certificates", State.BAD, words, advice)
    return Finding("Certificates", State.GOOD, words)


def _problem_of(path: Path) -> str:
    """Why no certificate can be read from a file; "" if one can."""
    try:
        if not path.is_file():
            return "is no file" if path.exists() else "is not there"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "holds no certificates"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def _problem_of_folders(folders: str) -> str:
    """The same for folders that are looked through by OpenSSL."""
    for folder in folders.split(os.pathsep):
        try:
            files = [path for path in Path(folder).iterdir() if _HASHED.fullmatch(path.name)]
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if any(not _problem_of(path) for path in files):
            return ""
    return "holds no certificates under the names that OpenSSL looks for (openssl rehash makes them)"
