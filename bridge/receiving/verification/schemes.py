"""What ops may write under `verify`, and its meaning: a source's mapping becomes a Verifier, or located problems."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from bridge.errors import Problem, Severity
from bridge.receiving.verification.credential import Anyone, Basic, Token
from bridge.receiving.verification.keys import KeyForm, key_of
from bridge.receiving.verification.recipes import NOT_YET, RECIPES, Recipe, faults, is_header_name
from bridge.receiving.verification.signature import Signature
from bridge.receiving.verification.verifier import Proof, Verifier
from bridge.settings.document import Section
from bridge.settings.parsing import Duration, Secrets, Strict, parse
from bridge.settings.secrets import Expanded, Secret

Keys = Annotated[
    Secrets, Field(description="what the sender signs with or shows, as a list: several while one replaces another")
]
Header = Annotated[str, Field(description="the name of the header, such as X-Signature or X-Token")]
Tolerance = Annotated[Duration | None, Field(description="how far a signed timestamp may be off, such as 5m")]


class SignedSettings(Strict):
    """`verify` for a sender that has a recipe."""

    scheme: str
    secrets: Keys
    tolerance: Tolerance = None


class HmacSettings(Strict):
    """`verify` with the recipe spelled out; the keys are those of `Recipe`."""

    scheme: Literal["hmac"]
    secrets: Keys
    header: Header
    separator: str = Field("", description="what stands between the items of the header, where it is a list")
    prefix: str = Field("", description="what a signature begins with, such as sha256=")
    item: str = Field("", description="the key of the signature in a list of key=value items, such as v1")
    encoding: Literal["hex", "base64"] = Field("hex", description="how the signature is written")
    algorithm: Literal["sha1", "sha256", "sha512"] = Field("sha256", description="the hash of the HMAC")
    signed: tuple[str, ...] = Field(
        ("body",), description="what is signed, in order: body, method, header:NAME, item:KEY, lit:TEXT"
    )
    timestamp: str = Field("", description="where the signed time is: header:NAME or item:KEY")
    timestamp_unit: Literal["s", "ms"] = Field("s", description="what the time is counted in")
    tolerance: Tolerance = None
    key: KeyForm = Field("utf8", description="what the secret's text stands for: itself, or encoded bytes")
    delivery_id: str = Field("", description="where the sender's delivery id is: header:NAME")


class TokenSettings(Strict):
    """`verify` for a secret that stands in a header as it is."""

    scheme: Literal["token"]
    header: Header
    secrets: Keys


class BasicSettings(Strict):
    """`verify` for HTTP Basic."""

    scheme: Literal["basic"]
    username: str = Field(description="the name that the sender shows")
    secrets: Keys


class NoneSettings(Strict):
    """`verify` for a sender that can prove nothing."""

    scheme: Literal["none"]


Compiled = tuple[Proof | None, list[Problem]]


def compile_verifier(section: Section) -> tuple[Verifier | None, list[Problem]]:
    """The verifier that a source's `verify` mapping describes, and all problems found; None where one is an error."""
    if not isinstance(section.value, dict):
        return None, [section.problem("must be a mapping", "such as {scheme: github, secrets: [...]}")]
    scheme = section.value.get("scheme")
    if not isinstance(scheme, str):
        return None, [section["scheme"].problem("must be the name of a scheme", f"one of {', '.join(COMPILERS)}")]
    if scheme not in COMPILERS:
        return None, [_unknown(section["scheme"], scheme)]
    proof, problems = COMPILERS[scheme](section)
    if proof is None or any(problem.severity is Severity.ERROR for problem in problems):
        return None, problems
    return Verifier(scheme, proof), problems


def _unknown(section: Section, scheme: str) -> Problem:
    if scheme in NOT_YET:
        instead = NOT_YET[scheme]
        hint = "spell it out with scheme: hmac" if instead == "hmac" else f"use scheme: {instead}" if instead else ""
        return section.problem(f"scheme {scheme} is not available yet", hint)
    nearest = get_close_matches(scheme.lower(), [*COMPILERS, *NOT_YET], n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    name = "scheme" if isinstance(scheme, Expanded) else f"scheme {scheme[:60]!r}"
    return section.problem(f"unknown {name}", f"{meant}known are {', '.join(COMPILERS)}")


def _sender(name: str, recipe: Recipe, section: Section) -> Compiled:
    settings, problems = parse(section, SignedSettings)
    if settings is None:
        return None, problems
    if settings.tolerance is not None and not recipe.timestamp:
        problems.append(
            section["tolerance"].problem(f"{name} signs no timestamp, so there is nothing to tolerate", "leave it out")
        )
    problems += _check_keys(section, settings.secrets, recipe.key)
    return Signature(recipe, settings.secrets, settings.tolerance), problems


def _hmac(section: Section) -> Compiled:
    settings, problems = parse(section, HmacSettings)
    if settings is None:
        return None, problems
    recipe = Recipe(**settings.model_dump(exclude={"scheme", "secrets", "tolerance"}))
    unsound = []
    for path, message, hint in faults(recipe):
        place = section
        for key in path:
            place = place[key]
        unsound.append(place.problem(message, hint))
    if settings.tolerance is not None and not recipe.timestamp:
        unsound.append(
            section["tolerance"].problem("needs a timestamp to check", "say where it is by timestamp, or leave it out")
        )
    problems += [*unsound, *_check_keys(section, settings.secrets, recipe.key)]
    return None if unsound else Signature(recipe, settings.secrets, settings.tolerance), problems


def _token(section: Section) -> Compiled:
    settings, problems = parse(section, TokenSettings)
    if settings is None:
        return None, problems
    if not is_header_name(settings.header):
        problems.append(section["header"].problem("is no name of a header", "write one like X-Token"))
    problems += _check_secrets(section, settings.secrets, _fits_header, _NEVER)
    return Token(settings.header, settings.secrets), problems


_NEVER = "has blanks around it or characters that no header can hold, so no request could ever show it"


def _fits_header(text: str) -> bool:
    return text.isprintable() and not text[0].isspace() and not text[-1].isspace()


def _basic(section: Section) -> Compiled:
    settings, problems = parse(section, BasicSettings)
    if settings is None:
        return None, problems
    if not settings.username or ":" in settings.username:
        message = "holds a colon, which ends the name in HTTP Basic" if settings.username else "is empty"
        problems.append(section["username"].problem(message, "take the name that the sender shows"))
    problems += _check_keys(section, settings.secrets, "utf8")
    return Basic(settings.username, settings.secrets), problems


def _none(section: Section) -> Compiled:
    settings, problems = parse(section, NoneSettings)
    if settings is None:
        return None, problems
    warning = section["scheme"].problem(
        "proves nothing: anyone who knows the URL can send",
        "use a signature, token or basic if the sender can do any",
        Severity.WARNING,
    )
    return Anyone(), [*problems, warning]


_FORMS = {
    "utf8": "text that UTF-8 can write",
    "base64": "base64",
    "hex": "hexadecimal",
    "whsec": "base64 after an optional whsec_",
}


def _check_keys(section: Section, secrets: Sequence[Secret], form: KeyForm) -> list[Problem]:
    return _check_secrets(section, secrets, lambda text: key_of(form, text) is not None, f"is not {_FORMS[form]}")


def _check_secrets(
    section: Section, secrets: Sequence[Secret], good: Callable[[str], bool], message: str
) -> list[Problem]:
    """A problem at the place of each secret that is not good. Places are counted without the dropped, empty entries."""
    entries = enumerate(section["secrets"].value)
    places = [section["secrets"][index] for index, entry in entries if entry not in (None, "")]
    return [
        place.problem(message, "paste it again, whole, as the sender shows it")
        for place, secret in zip(places, secrets, strict=True)
        if not good(secret.reveal())
    ]


COMPILERS: dict[str, Callable[[Section], Compiled]] = {
    **{name: partial(_sender, name, recipe) for name, recipe in RECIPES.items()},
    "hmac": _hmac,
    "token": _token,
    "basic": _basic,
    "none": _none,
}


def dropped_headers(verify: object) -> frozenset[str]:
    """The headers, in lower case, that the scheme of a `verify` mapping takes out before anything is stored."""
    if not isinstance(verify, dict):
        return frozenset()
    recipe = RECIPES.get(str(verify.get("scheme")))
    names = (recipe.header, *recipe.drops) if recipe else (verify.get("header"),)
    return frozenset(name.lower() for name in names if isinstance(name, str))


def models() -> dict[str, type[Strict]]:
    """What may stand under `verify` for each scheme."""
    spelled_out: dict[str, type[Strict]] = {
        "hmac": HmacSettings,
        "token": TokenSettings,
        "basic": BasicSettings,
        "none": NoneSettings,
    }
    return {**dict.fromkeys(RECIPES, SignedSettings), **spelled_out}
