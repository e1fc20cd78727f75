"""Certificates of the tests' own: an authority, what it issues, and a TLS server that shows them on loopback."""

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2100, 1, 1, tzinfo=UTC)
_LONG = timedelta(days=36_500)


def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key, another one for each number."""
    return _rsa_key(number)


@cache
def _rsa_key(number: int) -> rsa.RSAPrivateKey:  # making one takes a while
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Issued:
    """A certificate with its key."""

    key: CertificateIssuerPrivateKeyTypes
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def issue(
        self,
        *names: str,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        authority: bool = False,
        start: datetime = START,
        end: datetime = END,
    ) -> "Issued":
        """A certificate for DNS names (or 127.0.0.1), or one that may issue others."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        made = _certificate(names[0], key, self.certificate.subject, self.key, authority, start, end, names)
        return Issued(key, made)


def authority(name: str = "an authority of the tests") -> Issued:
    """An authority that nobody else trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return Issued(key, _certificate(name, key, subject, key, True, START, END, ()))


def _certificate(
    name: str,
    key: CertificateIssuerPrivateKeyTypes,
    issuer: x509.Name,
    signed_by: CertificateIssuerPrivateKeyTypes,
    authority: bool,
    start: datetime,
    end: datetime,
    names: Sequence[str],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(one) for one in names]), critical=False
        ).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    return builder.sign(signed_by, hashes.SHA256())


def _name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)


def server_tls(shown: Issued) -> ssl.SSLContext:
    """TLS as a server that shows a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(shown.key_pem + shown.pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@dataclass
class Answer:
    """What the server says at a path; `after` is how long it first says nothing."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0
    endless: bool = False


class Elsewhere(httpx.AsyncBaseTransport):
    """Carries every request to a port of this machine, and still expects the certificate of the host that is meant."""

    def __init__(self, port: int, trusted: Issued) -> None:
        trust = ssl.create_default_context(cadata=trusted.pem.decode())
        self._inner = httpx.AsyncHTTPTransport(verify=trust, trust_env=False)
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Published:
    """A TLS server on loopback: what it answers, and how often each path was asked for."""

    port: int
    answers: dict[str, Answer]
    asked: Counter[str]
    heads: list[str]


@asynccontextmanager
async def publishing(shown: Issued, answers: Mapping[str, Answer]) -> AsyncIterator[Published]:
    """Serve `answers` by path over TLS, with the certificate `shown`."""
    published = Published(0, dict(answers), Counter(), [])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            published.asked[path] += 1
            published.heads.append(head)
            told = published.answers.get(path, Answer(status=404))
            await asyncio.sleep(told.after)
            lines = [f"HTTP/1.1 {told.status} X", *(f"{name}: {value}" for name, value in told.headers.items())]
            if not told.endless:
                lines.append(f"content-length: {len(told.body)}")
            writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + told.body)
            while told.endless:
                writer.write(b"x" * 65536)
                await writer.drain()
                await asyncio.sleep(0)  # drain alone never lets the loop hear that the other side has gone
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_tls(shown))
    published.port = server.sockets[0].getsockname()[1]
    try:
        yield published
    finally:
        server.close()
