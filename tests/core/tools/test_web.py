"""`web_fetch`: text of pages, no host that was not allowed, and a stop closes the socket in every phase."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from core.engine.tool import ToolError
from core.permissions.access import Access, AccessKind
from core.permissions.policy import Denied
from core.process.containment import Containment
from core.tools.child_process import ModuleRunner
from core.tools.web import WebFetch, WebFetchArguments
from core.tools.web_process import BODY_BYTES, TEXT_BYTES, same_host
from tests.core.tools.calls import Call
from tests.core.tools.pages import SILENCE, Answer, Pages
from tests.servers.blackhole import BlackHole
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

HTML = b"""<html><head><title>A &amp; B</title><script>var gone = 1</script></head>
<body><h1>Head</h1><p>Some <a href="/x">link</a></p><img src="data:image/png;base64,%s"></body></html>"""


def web(root: Path, containment: Containment = Containment.GROUP) -> Call:
    return Call(WebFetch(ModuleRunner((), containment)), root)


async def test_a_page_comes_as_text(tmp_path: Path) -> None:
    async with Pages(
        {"/a": Answer(HTML % (b"A" * 5_000)), "/b": Answer(b"<b>raw</b>", kind="text/plain")}
    ) as pages:
        output = await web(tmp_path).run(url=pages.url("/a"))
        assert output.text.startswith(
            f"{pages.url('/a')}: 200 OK, text/html\nTitle: A & B\n\n# Head\n\nSome [link](/x)"
        )
        assert "gone" not in output.text
        assert len(output.text) < 300
        assert (await web(tmp_path).run(url=pages.url("/b"))).text.endswith("\n\n<b>raw</b>")


async def test_an_error_of_the_server_is_told_with_its_text(tmp_path: Path) -> None:
    async with Pages({"/": Answer(b"<p>nothing here", status="404 Not Found")}) as pages:
        output = await web(tmp_path).run(url=pages.url("/"))
    assert output.failed
    assert "404 Not Found" in output.text
    assert "nothing here" in output.text


async def test_a_large_page_is_cut_and_that_is_said(tmp_path: Path) -> None:
    bomb = gzip.compress(b"x" * (BODY_BYTES * 4))
    headers = {"content-encoding": "gzip"}
    async with Pages({"/": Answer(bomb, kind="text/plain", headers=headers)}) as pages:
        text = (await web(tmp_path).run(url=pages.url("/"))).text
    assert len(text) < TEXT_BYTES + 300
    assert "only the first 5 MiB" in text
    assert f"{BODY_BYTES - TEXT_BYTES:,} bytes of text left out" in text


async def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    pages = Pages({"/p": Answer(b"\x89PNG", kind="image/png"), "/b": Answer(b"a\0b", kind="")})
    async with pages:
        with pytest.raises(ToolError, match="image/png, not text"):
            await web(tmp_path).run(url=pages.url("/p"))
        with pytest.raises(ToolError, match="binary"):
            await web(tmp_path).run(url=pages.url("/b"))
    with pytest.raises(ToolError, match="cannot be fetched"):
        await web(tmp_path).run(url=pages.url("/p"))


async def test_another_host_is_asked_about_before_it_is_called(tmp_path: Path) -> None:
    async with Pages({"/end": Answer(b"<p>the end")}) as other:
        to = other.url("/end", "localhost")
        here = Answer(status="302 Found", headers={"location": "/there"})
        away = Answer(status="307 Temporary Redirect", headers={"location": to})
        async with Pages({"/here": here, "/there": away}) as pages:
            call = web(tmp_path)
            assert "the end" in (await call.run(url=pages.url("/here"))).text
            assert call.asked == [Access(AccessKind.NETWORK, to)]
            call = web(tmp_path)
            call.refusal = Denied("no")
            with pytest.raises(Denied):
                await call.run(url=pages.url("/here"))
        assert len(other.requests) == 1


async def test_redirects_end_somewhere(tmp_path: Path) -> None:
    circle = {"/": Answer(status="301 Moved Permanently", headers={"location": "/"})}
    async with Pages(circle) as pages:
        with pytest.raises(ToolError, match="too often"):
            await web(tmp_path).run(url=pages.url("/"))
        assert len(pages.requests) == 6
    async with Pages({"/": Answer(status="302 Found", headers={"location": "file:///etc/passwd"})}) as pages:
        with pytest.raises(ToolError, match="no web address"):
            await web(tmp_path).run(url=pages.url("/"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "https://a/y", True),
        ("https://a/", "http://a/", False),
        ("http://a/", "http://b/", False),
        ("http://a/", "http://a:81/", False),
        ("http://a:81/", "http://A:81/", True),
    ],
)
def test_what_counts_as_the_same_host(one: str, other: str, *, same: bool) -> None:
    assert same_host(one, other) is same


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a", "a.b/c", "http://", "http://a@b/", "http://a b", "http://a:x"]
)
def test_what_is_no_web_address_goes_back_to_the_model(url: str) -> None:
    with pytest.raises(ValidationError):
        WebFetchArguments(url=url)


@pytest.mark.promise("X3", "X4")
@pytest.mark.parametrize("containment", list(Containment))
@pytest.mark.parametrize("phase", ["headers", "body"])
async def test_a_stop_closes_the_socket(tmp_path: Path, containment: Containment, phase: str) -> None:
    answer = SILENCE if phase == "headers" else Answer(b"<p>" + b"x" * 100_000, hangs=True)
    async with Pages({"/": answer}) as pages:
        call = web(tmp_path, containment)
        task = call.start(url=pages.url("/"))
        words = "waiting for the answer" if phase == "headers" else "reading the page"
        await until(lambda: words in call.progress.text() and pages.requests)
        assert pages.closed == 0
        await call.stop(task)
        await until(lambda: pages.closed == 1)


@pytest.mark.promise("X3", "X4")
async def test_a_stop_ends_the_attempt_to_connect(tmp_path: Path) -> None:
    with BlackHole() as hole:
        call = web(tmp_path)
        task = call.start(url=hole.url)
        await until(lambda: hole.connecting and "connecting" in call.progress.text())
        await call.stop(task)
        await until(lambda: not hole.connecting)


@pytest.mark.promise("X3")
async def test_a_stop_while_another_host_is_asked_about_calls_it_never(tmp_path: Path) -> None:
    async with Pages({"/end": Answer(b"<p>the end")}) as other:
        away = Answer(status="302 Found", headers={"location": other.url("/end")})
        async with Pages({"/": away}) as pages:
            call = web(tmp_path)
            call.silent = True
            task = call.start(url=pages.url("/"))
            await until(lambda: call.asked)
            await call.stop(task)
        assert other.requests == []
