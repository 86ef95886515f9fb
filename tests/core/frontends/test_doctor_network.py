"""What the doctor tells of proxies and certificates: as httpx reads them, and no password."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING
from urllib.request import getproxies_environment

import pytest

from core.frontends.doctor.network import PROXIES, certificates_check, proxies_check
from core.frontends.doctor.report import Finding, State, examine
from tests.providers.tls import TlsFront

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


async def proxies(own: Mapping[str, str] | None = None, **environment: str) -> Finding:
    (finding,) = await examine((proxies_check(environment, own or {}),))
    return finding


async def certificates(ca_files: Mapping[str, str] | None = None, **environment: str) -> Finding:
    (finding,) = await examine((certificates_check(environment, ca_files or {}),))
    return finding


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "the environment names none"),
        ({"HTTP_PROXY": "", "Https_Proxy": "http://mixed"}, "the environment names none"),
        ({"HTTP_PROXY": "http://a:1"}, "HTTP_PROXY is http://a:1"),
        ({"https_proxy": "a:1"}, "https_proxy is a:1"),
        (
            {"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:1"},
            "http_proxy is http://b:1; HTTP_PROXY does not count, for http_proxy is there too",
        ),
        (
            {"ALL_PROXY": "http://a:1", "all_proxy": ""},
            "the environment names none; ALL_PROXY does not count, for all_proxy is there too",
        ),
        (
            {"ALL_PROXY": "http://a:1", "NO_PROXY": "localhost, *"},
            "ALL_PROXY is http://a:1; NO_PROXY is localhost, *. "
            "The star in NO_PROXY keeps every other request from a proxy",
        ),
    ],
)
async def test_the_variables_in_force_are_those_that_httpx_reads(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await proxies(**environment) == Finding("Proxies", State.GOOD, words)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        if name in PROXIES or (name.upper() in PROXIES and name.islower()):
            monkeypatch.setenv(name, value)
    for used in getproxies_environment().values():
        assert f" is {used}" in words


async def test_a_server_may_have_a_proxy_of_its_own() -> None:
    found = await proxies({"team": "http://ada:s3cret@proxy:3128", "near": "none", "usual": ""}, NO_PROXY="*")
    assert found.state is State.GOOD
    assert "proxy of team is http://…@proxy:3128; proxy of near is none." in found.words
    assert (await proxies({"team": "ftp://proxy"}, NO_PROXY="*")).state is State.BAD


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://ada:s3cret@proxy:3128", "http://…@proxy:3128"),
        ("ada:s3cret@proxy:3128", "…@proxy:3128"),
        ("https://ada:s3cret@with@proxy/", "https://…@proxy/"),
        ("https://s3cret@proxy", "https://…@proxy"),
    ],
)
async def test_names_and_passwords_are_hidden(value: str, shown: str) -> None:
    told = await proxies(HTTPS_PROXY=value)
    assert told == Finding("Proxies", State.GOOD, f"HTTPS_PROXY is {shown}")


async def test_a_proxy_that_no_request_can_use_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    told = await proxies(all_proxy="ftp://a:1")
    assert (told.state, told.advice[:10]) == (State.BAD, "ALL_PROXY ")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "needs the package socksio" in (await proxies(all_proxy="socks5://a:1")).advice
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert (await proxies(all_proxy="socks5://a:1")).state is State.GOOD


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A file with a certificate."""
    return TlsFront(tmp_path).certificate


async def test_the_usual_certificates() -> None:
    assert await certificates({"team": ""}) == Finding(
        "Certificates", State.GOOD, "the usual ones (certifi) hold"
    )


async def test_files_of_certificates_that_can_be_read(pem: Path) -> None:
    told = await certificates({"team": str(pem)}, SSL_CERT_FILE=str(pem), SSL_CERT_DIR="/nowhere")
    assert told == Finding(
        "Certificates",
        State.GOOD,
        f"SSL_CERT_FILE: {pem} can be read; ca_file of team: {pem} can be read; "
        "SSL_CERT_DIR does not count, for SSL_CERT_FILE is there too",
    )


async def test_files_of_certificates_that_cannot_be_read(pem: Path, tmp_path: Path) -> None:
    empty, pipe = tmp_path / "empty.pem", tmp_path / "pipe"
    empty.touch()
    os.mkfifo(pipe)
    files = {"gone": "/nowhere/ca.pem", "empty": str(empty), "pipe": str(pipe), "good": str(pem)}
    told = await certificates(files, SSL_CERT_FILE=str(tmp_path))
    assert told.state is State.BAD
    assert told.words == (
        f"SSL_CERT_FILE: {tmp_path} is no file; ca_file of gone: /nowhere/ca.pem is not there; "
        f"ca_file of empty: {empty} holds no certificates; ca_file of pipe: {pipe} is no file; "
        f"ca_file of good: {pem} can be read"
    )


async def test_a_file_in_the_home_folder(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pem.parent))
    assert "can be read" in (await certificates({"team": f"~/{pem.name}"})).words


async def test_folders_of_certificates(pem: Path, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    assert "SSL_CERT_DIR: /nowhere cannot be read" in (await certificates(SSL_CERT_DIR="/nowhere")).words
    copy = shutil.copy(pem, folder / "ca.pem")
    named_wrong = await certificates(SSL_CERT_DIR=str(folder))
    assert named_wrong.state is State.BAD
    assert "under the names that OpenSSL looks for" in named_wrong.words
    (folder / "0123abcd.0").symlink_to(copy)
    assert (await certificates(SSL_CERT_DIR=str(folder))).state is State.GOOD
    both = f"{tmp_path / 'certificates'}:{tmp_path}"
    assert (await certificates(SSL_CERT_DIR=both)).state is State.GOOD
