"""Compiles a source's `verify` mapping into a Verifier, or located problems."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial

from bridge.errors import Problem, Severity
from bridge.receiving.content.cloud_events import MARK
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.sender import Sender, ShownSecret
from bridge.receiving.senders.signature_spec import (
    KeyForm,
    SignatureSpec,
    faults,
    is_header_name,
)
from bridge.receiving.verification.any_of import AnyOf
from bridge.receiving.verification.compilation import (
    Compiled,
    SchemeEntry,
    check_secrets,
    check_untimed,
    check_url,
)
from bridge.receiving.verification.credential_filter import CredentialFilter
from bridge.receiving.verification.proofs.credential import Anyone, Basic, Parameter, Token
from bridge.receiving.verification.proofs.signature import Signature
from bridge.receiving.verification.secret_match import key_of
from bridge.receiving.verification.special import SPECIAL, Special
from bridge.receiving.verification.verifier import Proof, Verifier
from bridge.receiving.verification.verify_settings import (
    BasicSettings,
    HandedOverSettings,
    HmacSettings,
    NoneSettings,
    ShownSettings,
    SignedSettings,
    TokenSettings,
    VerifyTokenSettings,
)
from bridge.settings.configuration import Source
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.secrets import Expanded
from bridge.settings.source_schema import SourceSettings


def compile_verifier(
    section: Section, public_url: str = "", credentials: CredentialFilter | None = None
) -> tuple[Verifier | None, list[Problem]]:
    """The verifier that a source's `verify` mapping describes, and all problems found; None where one is an error."""
    if not isinstance(section.value, dict):
        return None, [section.problem("must be a mapping", "such as {scheme: github, secrets: [...]}")]
    scheme = section.value.get("scheme")
    if not isinstance(scheme, str):
        return None, [section["scheme"].problem("must be the name of a scheme", _LISTED)]
    if scheme not in SCHEMES:
        return None, [_unknown(section["scheme"], scheme)]
    proof, problems = SCHEMES[scheme].compile(section, public_url)
    if proof is None or any(problem.severity is Severity.ERROR for problem in problems):
        return None, problems
    return Verifier(scheme, proof, credentials), problems


def compile_max_unverified_body(
    sender: Sender | None, source: Section, settings: SourceSettings
) -> tuple[int, list[Problem]]:
    """How many bytes are read of a source's body before what stands in it proves it; 0 where nothing there does."""
    most = sender.max_unverified_body if sender else 0
    if settings.max_unverified_body is None or most:
        return settings.max_unverified_body or most, []
    message = "is for senders whose bodies carry their own proof, and those of this one don't"
    return 0, [source["max_unverified_body"].problem(message, "remove it; max_body bounds its bodies")]


_LISTED = "`bridge schemes` lists them"


def _unknown(section: Section, scheme: str) -> Problem:
    nearest = get_close_matches(scheme.lower(), SCHEMES, n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    name = "scheme" if isinstance(scheme, Expanded) else f"scheme {scheme[:60]!r}"
    return section.problem(f"unknown {name}", meant + _LISTED)


def _sender(sender: Sender, section: Section, public_url: str) -> Compiled:
    """A sender whose ways are recipes and credentials."""
    settings, problems = parse(section, _model(sender))
    if settings is None:
        return None, problems
    assert isinstance(settings, SignedSettings | ShownSettings)  # noqa: S101 - as _model says
    tolerance = settings.tolerance if isinstance(settings, SignedSettings) else None
    if not any(recipe.timestamp for recipe in sender.recipes):
        problems += check_untimed(section, tolerance)
    if sender.signs_url:
        problems += check_url(section, public_url)
    if isinstance(settings, ShownSettings) and settings.header is not None and not is_header_name(settings.header):
        problems.append(section["header"].problem("is no name of a header", "write one like X-Token"))
    form = sender.recipes[0].key if sender.recipes else "utf8"
    if len(sender.recipes) == len(sender.proof):
        problems += _check_keys(section, form)
    else:
        problems += check_secrets(section, lambda text: _fits(form, text), _NEVER)
    ways: list[tuple[bytes, Proof]] = []
    for way in sender.proof:
        if isinstance(way, SignatureSpec):
            signature = Signature(way, settings.secrets, tolerance, public_url)
            ways.append((_shown_by(way), signature))
        elif isinstance(way, ShownSecret):
            header = settings.header if isinstance(settings, ShownSettings) and settings.header else way.header
            token = Token(header, settings.secrets, way.word)
            ways.append((token.header, token))
            if way.parameter:
                ways.append((b"", Parameter(way.parameter, settings.secrets)))
    return (ways[0][1] if len(ways) == 1 else AnyOf(ways)), problems


def _shown_by(recipe: SignatureSpec) -> bytes:
    """The header of a recipe: of its signature, or of its id where that is signed, lest another one's id be added."""
    signed_id = recipe.delivery_id if recipe.delivery_id in recipe.signed else ""
    return (signed_id.partition(":")[2] or recipe.header).lower().encode()


def _model(sender: Sender) -> type[Strict]:
    if "verify_token" in sender.keys:
        return VerifyTokenSettings
    if sender.hands_over:
        return HandedOverSettings
    return SignedSettings if sender.recipes else ShownSettings


def _fits(form: KeyForm, text: str) -> bool:
    return key_of(form, text) is not None if text.startswith("whsec_") else _fits_header(text)


def _hmac(section: Section, public_url: str) -> Compiled:
    settings, problems = parse(section, HmacSettings)
    if settings is None:
        return None, problems
    recipe = SignatureSpec(**settings.model_dump(exclude={"scheme", "secrets", "tolerance"}))
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
    if "url" in recipe.signed:
        unsound += check_url(section, public_url)
    problems += [*unsound, *_check_keys(section, recipe.key)]
    return None if unsound else Signature(recipe, settings.secrets, settings.tolerance, public_url), problems


def _token(section: Section, _public_url: str) -> Compiled:
    settings, problems = parse(section, TokenSettings)
    if settings is None:
        return None, problems
    if not is_header_name(settings.header):
        problems.append(section["header"].problem("is no name of a header", "write one like X-Token"))
    problems += check_secrets(section, _fits_header, _NEVER)
    return Token(settings.header, settings.secrets), problems


_NEVER = "is nothing that a header can hold, so no request could ever show it"


def _fits_header(text: str) -> bool:
    return text.isprintable() and not text[0].isspace() and not text[-1].isspace()


def _basic(section: Section, _public_url: str) -> Compiled:
    settings, problems = parse(section, BasicSettings)
    if settings is None:
        return None, problems
    if not settings.username or ":" in settings.username:
        message = "holds a colon, which ends the name in HTTP Basic" if settings.username else "is empty"
        problems.append(section["username"].problem(message, "take the name that the sender shows"))
    problems += _check_keys(section, "utf8")
    return Basic(settings.username, settings.secrets), problems


_FORMS = {
    "utf8": "text that UTF-8 can write",
    "base64": "base64",
    "hex": "hexadecimal",
    "whsec": "base64 after an optional whsec_",
}


def _check_keys(section: Section, form: KeyForm) -> list[Problem]:
    return check_secrets(section, lambda text: key_of(form, text) is not None, f"is not {_FORMS[form]}")


def _none(section: Section, _public_url: str) -> Compiled:
    settings, problems = parse(section, NoneSettings)
    if settings is None:
        return None, problems
    warning = section["scheme"].problem(
        "proves nothing: anyone who knows the URL can send",
        "use a signature, token or basic if the sender can do any",
        Severity.WARNING,
    )
    return Anyone(), [*problems, warning]


_SPELLED_OUT: Mapping[str, SchemeEntry] = {
    "hmac": SchemeEntry(HmacSettings, _hmac),
    "token": SchemeEntry(TokenSettings, _token),
    "basic": SchemeEntry(BasicSettings, _basic),
    "none": SchemeEntry(NoneSettings, _none),
}


def _scheme(sender: Sender) -> SchemeEntry | Special:
    way = sender.proof[0]
    if isinstance(way, str):
        return _SPELLED_OUT.get(way) or SPECIAL[way]
    return SchemeEntry(_model(sender), partial(_sender, sender))


SCHEMES: Mapping[str, SchemeEntry | Special] = {name: _scheme(sender) for name, sender in SENDERS.items()}


def credential_filter_of(source: Source) -> CredentialFilter:
    """What a source drops: what belongs to its scheme, and what looks like a secret, but for what it keeps."""
    verify = source.section.value.get("verify") if isinstance(source.section.value, dict) else None
    sender = SENDERS.get(str(verify.get("scheme"))) if isinstance(verify, dict) else None
    parameters = [way.parameter for way in sender.proof if isinstance(way, ShownSecret)] if sender else []
    parameters += ["hub.verify_token"] if sender and "verify_token" in sender.keys else []
    keep_headers = sender.own_headers if sender else frozenset()
    if source.settings:
        keep_headers = keep_headers.union(source.settings.keep_headers)
    keep_query = source.settings.keep_query if source.settings else ()
    return CredentialFilter(_proving_headers(verify), filter(None, parameters), keep_headers, keep_query)


def _proving_headers(verify: object) -> frozenset[str]:
    if not isinstance(verify, dict):
        return frozenset()
    names = [verify.get("header")]
    if verify.get("scheme") == "hmac":
        also = verify.get("also")
        names += [MARK, *(also if isinstance(also, list) else [])]
    sender = SENDERS.get(str(verify.get("scheme")))
    for way in sender.proof if sender else ():
        if isinstance(way, SignatureSpec):
            names += [way.header, *way.also, *way.redacted_headers, MARK]
        elif isinstance(way, ShownSecret):
            names.append(way.header)
        elif way in SPECIAL:
            names += SPECIAL[way].redacted_headers
    return frozenset(name.lower() for name in names if isinstance(name, str))


def signed_headers(verify: object) -> frozenset[str] | None:
    """The headers, in lower case, that the scheme of a `verify` mapping signs; None where it leaves out the body."""
    if not isinstance(verify, dict):
        return None
    if verify.get("scheme") == "hmac":
        signed = verify.get("signed", ("body",))
        return SignatureSpec(
            header="", signed=tuple(map(str, signed if isinstance(signed, list) else ()))
        ).signed_headers
    sender = SENDERS.get(str(verify.get("scheme")))
    return sender.signed_headers if sender else None


def models() -> dict[str, type[Strict]]:
    """What may stand under `verify` for each scheme."""
    return {name: scheme.model for name, scheme in SCHEMES.items()}
