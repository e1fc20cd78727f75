"""The schema of a target's TLS and proxy settings."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from bridge.settings.keywords import PROXY_URL, JsonSchema
from bridge.settings.parsing import Strict, wrong
from bridge.settings.secrets import Secret


class TlsSettings(Strict):
    """TLS with a target. Certificates and keys are PEM, by `${file:PATH}`, read again when the file changes."""

    ca: Secret | None = Field(None, description="the authorities to trust, instead of those that the machine trusts")
    certificate: Secret | None = Field(None, description="a certificate to show, with those up to its authority")
    key: Secret | None = Field(None, description="the certificate's private key, not encrypted")
    minimum: Literal["TLSv1.2", "TLSv1.3"] = Field("TLSv1.2", description="the oldest version of TLS to speak")

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise wrong("has only one of certificate and key", "give both, or neither")
        return self


def _proxy_url(url: str) -> str:
    """`http://proxy.example.com:3128`. Problems do not quote it: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.username is not None or parts.password is not None:
        raise wrong("holds a user name or a password", "put them into username and password beside it")
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/") or "?" in url:
        raise wrong("is not the URL of a proxy", "write it like http://proxy.example.com:3128")
    return url.rstrip("/")


def _user(name: str) -> str:
    if not name or ":" in name:
        raise wrong("is no user name", "leave out the colon")
    return name


class ProxySettings(Strict):
    """An HTTP proxy on the way to a target. TLS goes through it (CONNECT), so it sees the host's name and no more."""

    url: Annotated[str, AfterValidator(_proxy_url), JsonSchema(pattern=PROXY_URL)] = Field(
        description="its URL, http://HOST:PORT"
    )
    username: Annotated[str, AfterValidator(_user)] | None = Field(None, description="the user's name, where it asks")
    password: Secret | None = Field(None, description="the user's password")

    @model_validator(mode="after")
    def _user_and_password(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise wrong("has only one of username and password", "give both, or neither")
        return self
