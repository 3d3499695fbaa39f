"""TLS in front of servers that have none: a throw-away authority, its certificate, and a terminator."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.servers import HOST

_HANDSHAKE = 0x16
"""The first byte of a TLS connection; no Redis command begins with it."""


class Authority:
    """Signs one certificate, for 127.0.0.1. `ca` is the file that clients trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self._chain = folder / "ca.pem", folder / "server.pem"
        root_key, root = _certificate("Throw-away authority", None, None)
        key, leaf = _certificate("127.0.0.1", root_key, root)
        self.ca.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._chain.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))

    def context(self) -> ssl.SSLContext:
        """What a server speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        return context


def _certificate(
    name: str, issuer_key: ec.EllipticCurvePrivateKey | None, issuer: x509.Certificate | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signer = issuer_key or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if issuer is None:
        usage = x509.KeyUsage(
            key_cert_sign=True,
            crl_sign=True,
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
        builder = builder.add_extension(names, critical=False)
    return key, builder.sign(signer, hashes.SHA256())


@asynccontextmanager
async def terminator(authority: Authority, port: int, to: int) -> AsyncGenerator[list[int]]:
    """Listens on `port` and passes what comes by TLS on to the port `to`, in plain.

    What comes in plain (a sentinel that watches the server) is passed on as it is. Yields a list that grows
    by one for each connection that came by TLS.
    """
    loop, seen, tasks = asyncio.get_running_loop(), list[int](), set[asyncio.Task[None]]()
    context = authority.context()

    async def serve(client: socket.socket) -> None:
        if await _first(client) != _HANDSHAKE:
            reader, writer = await asyncio.open_connection(sock=client)
        else:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            seen.append(port)
        try:
            upstream, downstream = await asyncio.open_connection(HOST, to)
            try:
                await asyncio.gather(_pump(reader, downstream), _pump(upstream, writer))
            finally:
                downstream.transport.abort()
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next round

    async def guarded(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            await serve(client)

    async def listen(door: socket.socket) -> None:
        while True:
            client, _ = await loop.sock_accept(door)
            client.setblocking(False)
            task = asyncio.create_task(guarded(client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    with socket.create_server((HOST, port)) as door:
        door.setblocking(False)
        listening = asyncio.create_task(listen(door))
        try:
            yield seen
        finally:
            running = [listening, *tasks]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _first(client: socket.socket) -> int:
    """The first byte of a connection, left in it."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(client)
    return int.from_bytes(client.recv(1, socket.MSG_PEEK))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
