"""Images in results of a real MCP server: which are kept, and what is said of them and of the others."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

import pytest

from core.model.images import MOST_BYTES, MOST_IMAGES, read_image, size_of, size_text
from core.tools.mcp.server import ServerState
from tests.core.tools.mcp_calls import call, listed, own_server, running
from tests.support.pictures import block, image, png, result, text64, words

if TYPE_CHECKING:
    from pathlib import Path

    from core.engine.tool import ToolOutput

PNG = png(640, 480, more=12_000)
JPEG = (
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    + b"\xff\xc4\0\4ab"
    + b"\xff\xff\xc2\0\x0b\x08"
    + struct.pack(">HH", 48, 64)
    + b"\1\1\x11\0"
)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480) + b"rest"
WEBP = b"RIFF\4\0\0\0WEBPVP8 rest"
WEBPS = (
    # Lossy, behind a frame tag and a start code; lossless, behind a signature; extended, behind flags.
    b"RIFF....WEBPVP8 ....\x30\1\0\x9d\1\x2a" + struct.pack("<HH", 640 | 1 << 14, 480),
    b"RIFF....WEBPVP8L....\x2f" + struct.pack("<I", 639 | 479 << 14 | 1 << 28) + b".....",
    b"RIFF....WEBPVP8X....\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
)
ENDED = png().ljust(299_999, b"x")
"""Its base64 has the length of a piece that is read at once, and padding at its end."""
WIDE_WEBP = WEBPS[2][:24] + (8_000).to_bytes(3, "little") + WEBPS[2][27:]


async def said(folder: Path, value: str) -> ToolOutput:
    async with running(folder, own=own_server(folder / "record")) as servers:
        output = await call((await listed(servers))["mcp__own__say"], folder, value=value)
        (server,) = servers.servers
        assert server.state is ServerState.READY
        return output


async def test_images_are_kept_and_the_person_is_shown_where_they_were(tmp_path: Path) -> None:
    output = await said(
        tmp_path, result(words("before"), block(PNG), words("after"), block(GIF), isError=True)
    )
    assert output.text == "before\nafter"
    assert output.shown.text == "before\n[image/png, 640x480, 12 KB]\nafter\n[image/gif, 640x480, 14 bytes]"
    assert output.images == (image(PNG), image(GIF, "image/gif"))
    assert output.failed


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (PNG, "image/png", "image/png, 640x480, 12 KB"),
        (JPEG, "image/jpeg", f"image/jpeg, 64x48, {len(JPEG)} bytes"),
        (JPEG[:30], "image/jpeg", "image/jpeg, 30 bytes"),
        (GIF, "image/gif", "image/gif, 640x480, 14 bytes"),
        (WEBP, "image/webp", "image/webp, 20 bytes"),
        *((content, "image/webp", "image/webp, 640x480, 30 bytes") for content in WEBPS),
        (PNG[:8], "image/png", "image/png, 8 bytes"),
    ],
)
async def test_the_first_bytes_tell_the_type(tmp_path: Path, content: bytes, kind: str, told: str) -> None:
    """A provider refuses a request in which another one is told, and each later one."""
    output = await said(tmp_path, result(block(content, "image/tiff")))
    assert output.images == (image(content, kind),)
    assert (output.text, output.shown.text) == ("", f"[{told}]")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (block(png(more=7_100_000)), "image/png, 7.1 MB, the limit is 3.9 MB"),
        (block(b"<svg/>", "image/svg+xml"), "image/svg+xml, 6 bytes, it is no PNG, JPEG, GIF or WebP"),
        (block(b"BM rest", ""), "no type, 7 bytes, it is no PNG, JPEG, GIF or WebP"),
        (block(b""), "image/png, 0 bytes, it is no PNG, JPEG, GIF or WebP"),
        (block(png(8_001, 2)), "image/png, 8001x2, 71 bytes, the limit is 8000 pixels a side"),
        (block(WIDE_WEBP), "image/webp, 8001x480, 30 bytes, the limit is 8000 pixels a side"),
        ({**block(PNG), "data": text64(PNG)[:-1]}, "image/png, 12 KB, it is not base64"),
        ({**block(PNG), "data": "*" + text64(PNG)}, "image/png, 12 KB, it is not base64"),
        ({**block(PNG), "data": text64(ENDED) + text64(PNG)}, "image/png, 312 KB, it is not base64"),
    ],
)
async def test_what_cannot_be_sent_is_left_out_and_said(
    tmp_path: Path, given: dict[str, str], why: str
) -> None:
    output = await said(tmp_path, result(words("here"), given))
    assert output.images == ()
    assert output.text == output.shown.text == f"here\n[image left out: {why}]"


async def test_the_images_of_one_result_have_a_limit_together(tmp_path: Path) -> None:
    large, small = png(more=3_000_000), png(more=500_000)
    output = await said(tmp_path, result(*map(block, (large, small, large, small))))
    assert output.images == (image(large), image(small))
    assert output.text == (
        "[image left out: image/png, 3 MB, the limit is 3.9 MB for a result]\n"
        "[image left out: image/png, 500 KB, the limit is 3.9 MB for a result]"
    )
    assert sum(size_of(each.data) for each in output.images) <= MOST_BYTES


def test_a_large_image_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """For base64 lets no other thread run, neither the event loop nor the one of the keyboard."""
    sizes: list[int] = []
    for name in ("b64decode", "b64encode"):
        convert = getattr(base64, name)

        def watched(data: Any, convert: Any = convert, **options: Any) -> Any:
            sizes.append(len(data))
            return convert(data, **options)

        monkeypatch.setattr(base64, name, watched)
    content = png(more=MOST_BYTES // 2)
    data = text64(content)
    sizes.clear()
    kept, _ = read_image("image/png", data)
    assert kept.data == data
    assert sum(sizes) == len(data) + len(content)
    assert max(sizes) <= 400_000


async def test_no_more_images_of_one_result_are_kept_than_a_request_may_have(tmp_path: Path) -> None:
    output = await said(tmp_path, result(*[block(png())] * (MOST_IMAGES + 1)))
    assert output.images == (image(png()),) * MOST_IMAGES
    assert output.text == "[image left out: the limit is 20 images for a result]"


def test_sizes_in_words() -> None:
    sizes = (950, 12_300, 999_400, 999_600, 7_100_000, 3_900_000)
    assert [size_text(size) for size in sizes] == ["950 bytes", "12 KB", "999 KB", "1 MB", "7.1 MB", "3.9 MB"]
