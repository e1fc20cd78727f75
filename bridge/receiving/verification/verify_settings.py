"""What ops may write under `verify`, for each kind of scheme that is no module of its own."""

from typing import Annotated, Literal

from pydantic import Field

from bridge.receiving.senders.signature_spec import HEADER_NAME, Algorithm, Encoding, KeyForm, TimeUnit
from bridge.receiving.verification.compilation import SecretList, Tolerance
from bridge.settings.keywords import JsonSchema
from bridge.settings.parsing import SecretsToCome, Strict
from bridge.settings.secrets import Secret

HeaderName = Annotated[str, JsonSchema(pattern=f"^{HEADER_NAME.pattern}$")]
Header = Annotated[HeaderName, Field(description="the name of the header, such as X-Signature or X-Token")]


class SignedSettings(Strict):
    """`verify` for a sender that has a recipe."""

    scheme: str
    secrets: SecretList
    tolerance: Tolerance = None


class HmacSettings(Strict):
    """`verify` with the recipe spelled out; the keys are those of `SignatureSpec`."""

    scheme: Literal["hmac"]
    secrets: SecretList
    header: Header
    also: tuple[HeaderName, ...] = Field((), description="further headers in which a signature may stand")
    separator: str = Field("", description="what stands between the items of the header, where it is a list")
    prefix: str = Field("", description="what a signature begins with, such as sha256=")
    item: str = Field("", description="the key of the signature in a list of key=value items, such as v1")
    encoding: Encoding = Field("hex", description="how the signature is written")
    algorithm: Algorithm = Field(
        "sha256", description="the hash of the HMAC; sha256-concat is no HMAC but the hash of key and content"
    )
    signed: tuple[str, ...] = Field(
        ("body",), description="what is signed, in order: body, method, url, header:NAME, item:KEY, lit:TEXT"
    )
    timestamp: str = Field("", description="where the signed time is: header:NAME, item:KEY or body:KEY")
    timestamp_unit: TimeUnit = Field("s", description="what the time is counted in, or rfc3339")
    tolerance: Tolerance = None
    key: KeyForm = Field("utf8", description="what the secret's text stands for: itself, or encoded bytes")
    delivery_id: str = Field("", description="where the sender's delivery id is: header:NAME")


class TokenSettings(Strict):
    """`verify` for a secret that stands in a header as it is."""

    scheme: str
    header: Header
    secrets: SecretList


class ShownSettings(Strict):
    """`verify` for a sender that shows a secret."""

    scheme: str
    secrets: SecretList
    header: Header | None = None


class BasicSettings(Strict):
    """`verify` for HTTP Basic."""

    scheme: str
    username: str = Field(description="the name that the sender shows")
    secrets: SecretList


class VerifyTokenSettings(SignedSettings):
    """`verify` for a sender that shows a token of yours at set-up."""

    verify_token: Secret | None = Field(
        None, description="the token that you gave to the sender, for its check at set-up"
    )


class HandedOverSettings(SignedSettings):
    """`verify` for a sender that hands over its secret: until it did, and `registering` says so, there is none."""

    secrets: SecretsToCome = Field(description="what the sender handed over, as a list; [] while registering")


class NoneSettings(Strict):
    """`verify` for a sender that can prove nothing."""

    scheme: Literal["none"]
