"""What stands in front of a loopback server: encryption with a certificate made on the spot, and a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.streams import stream_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.servers.base import Server


class TlsFront:
    """`with front.before(server) as url:`. A client trusts it with SSL_CERT_FILE set to `certificate`.

    It hands bytes on in both directions and closes one side as soon as the other is closed.
    """

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
        now = dt.datetime.now(dt.UTC)
        signed = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file = folder / "key.pem"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key_file)

    @contextlib.contextmanager
    def before(self, server: Server) -> Iterator[str]:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _relay(server.port, reader, writer)

        with _listening(relay, self.context) as port:
            yield f"https://127.0.0.1:{port}"


class ForwardProxy:
    """`with proxy.before(server) as url:`. A proxy for one request a connection, which takes it to `server`
    wherever it is to go. `asked` are the addresses that it was asked for. With a `front` it is encrypted."""

    def __init__(self, front: TlsFront | None = None) -> None:
        self.asked: list[str] = []
        self._encryption = None if front is None else front.context

    @contextlib.contextmanager
    def before(self, server: Server) -> Iterator[str]:
        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            method, address, version = (await reader.readline()).split()
            self.asked.append(address.decode())
            path = urlsplit(address)._replace(scheme=b"", netloc=b"").geturl()
            await _relay(server.port, reader, writer, b" ".join((method, path, version)) + b"\r\n")

        with _listening(forward, self._encryption) as port:
            yield f"{'https' if self._encryption else 'http'}://127.0.0.1:{port}"


@contextlib.contextmanager
def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    encryption: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """A server in a thread of its own, and its port."""
    opened = threading.Event()
    port = 0

    async def run() -> None:
        nonlocal port, loop, stop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with stream_server(serve, encryption=encryption) as port:
            opened.set()
            await stop.wait()

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread = threading.Thread(target=lambda: asyncio.run(run()), name="front")
    thread.start()
    opened.wait()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _relay(
    port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b""
) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    inner_writer.write(first)
    ways = {
        asyncio.create_task(_copy(reader, inner_writer)),
        asyncio.create_task(_copy(inner_reader, writer)),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for end in (writer, inner_writer):
            end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
