"""Checks the connection to a host step by step: DNS, TCP, proxy, TLS. Nothing is sent."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from bridge.errors import BridgeError
from bridge.settings.tls_and_proxy import ProxySettings
from bridge.superoffice.http.dialer import proxy_login
from bridge.superoffice.http.tls import Trust

_DAY = 86_400


class Unreached(BridgeError):
    """A step that failed; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Address":
        """Where a URL leads to."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsHandshake:
    """What a TLS handshake showed: the version, and when the server's certificate ends (seconds since 1970)."""

    version: str
    ends_at: float

    def days_left(self, now: float) -> int:
        """Whole days until the certificate ends."""
        return int((self.ends_at - now) // _DAY)


async def resolve(address: Address, within: float) -> list[str]:
    """The addresses of a host.

    Raises:
        Unreached: there are none.
    """
    try:
        async with asyncio.timeout(within):
            found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unreached(f"no answer for {address.host} within {within:g} s", "check this machine's DNS") from None
    except (OSError, UnicodeError):
        raise Unreached(f"{address.host} is not found", "check the name, and this machine's DNS") from None
    return list(dict.fromkeys(str(place[4][0]) for place in found))


async def connect(url: str, trust: Trust, proxy: ProxySettings | None, within: float) -> TlsHandshake | None:
    """Connect as requests would; what TLS showed, None where there is none.

    Raises:
        Unreached: it cannot be done.
    """
    address, is_tls = Address.of(url), url.startswith("https:")
    first = Address.of(proxy.url) if proxy else address
    try:
        async with asyncio.timeout(within), _connection(first) as (reader, writer):
            if not is_tls:
                return None
            if proxy:
                await _tunnel(address, proxy, reader, writer)
            await writer.start_tls(trust(), server_hostname=address.host)
            secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
            ends_at = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
            return TlsHandshake(secured.version() or "TLS", ends_at)
    except TimeoutError:
        raise Unreached(f"no connection to {first} within {within:g} s", "look for a firewall on the way") from None
    except ssl.SSLCertVerificationError as error:
        hint = "let the server renew it, or trust its authority by tls.ca"
        raise Unreached(f"the certificate is not valid: {error.verify_message}", hint) from None
    except ssl.SSLError as error:
        hint = "check that the port speaks TLS, and tls.minimum"
        raise Unreached(f"TLS failed ({(error.reason or 'no reason told').replace('_', ' ').lower()})", hint) from None
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "the connection failed"
        raise Unreached(f"{first}: {reason}", "check that it runs, the port, and firewalls on the way") from None


@contextlib.asynccontextmanager
async def _connection(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # there is nothing to say goodbye for


async def _tunnel(
    address: Address, proxy: ProxySettings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    login = "".join(f"{name}: {value}\r\n" for name, value in proxy_login(proxy).items())
    writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{login}\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise Unreached("the proxy does not answer as one", "check proxy.url") from None
    status = head[9:12].decode("latin-1")
    if status != "200":
        hint = "check proxy.username and proxy.password" if status == "407" else f"let it connect to {address}"
        raise Unreached(f"the proxy answered {status if status.isdigit() else 'no HTTP'}", hint)
