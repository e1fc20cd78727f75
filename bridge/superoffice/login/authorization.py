"""Compiles a target's `authorization:` into an httpx.Auth."""

from base64 import b64encode
from collections.abc import AsyncGenerator
from difflib import get_close_matches
from typing import Annotated

import httpx
from pydantic import Field

from bridge.errors import Problem, Severity
from bridge.model import Outcome
from bridge.settings.document import Section
from bridge.settings.parsing import Duration, HeaderSecret, Strict, duration, parse
from bridge.settings.schema import Text
from bridge.settings.secrets import Expanded, Secret
from bridge.settings.target_schema import Environment, OnlineSettings
from bridge.superoffice.login.oauth import OAuth
from bridge.superoffice.login.private_key import private_key
from bridge.superoffice.login.session import REFUSED, LogIn
from bridge.superoffice.login.system_user import Identity, SystemUser
from bridge.superoffice.outcome import NotSent
from bridge.superoffice.request_headers import fits_header

SchemeName = Annotated[str, Field(description="the scheme")]


class _Basic(Strict):
    """HTTP Basic, on-site only."""

    scheme: SchemeName
    username: Text = Field(description="the user's name")
    password: Secret = Field(description="the user's password")


class _Ticket(Strict):
    """A SOTicket."""

    scheme: SchemeName
    ticket: Secret = Field(description="the ticket, 7T:...")
    app_token: Secret | None = Field(None, description="the application's token, needed with SuperOffice Online")


class _Bearer(Strict):
    """A bearer token, SuperOffice Online only."""

    scheme: SchemeName
    token: Secret = Field(description="the token, 8A:...")


class _OAuth(Strict):
    """OAuth 2.0 by a refresh token, SuperOffice Online only."""

    scheme: SchemeName
    client_id: Text = Field(description="the application's id")
    client_secret: Secret = Field(description="the application's secret")
    refresh_token: Secret = Field(description="the refresh token of the user who consented")
    redirect_uri: Text | None = Field(None, description="the redirect URI that the application is registered with")
    environment: Environment | None = Field(None, description="sod, stage, qaonline or online, or its host")


class _SystemUser(Strict):
    """A system user, SuperOffice Online only."""

    scheme: SchemeName
    system_token: Secret = Field(description="the tenant's system user token")
    app_token: HeaderSecret = Field(description="the application's secret, sent as ApplicationToken and SO-AppToken")
    private_key: Secret = Field(description="the application's RSA key, as PEM or RSA XML")
    tenant: Text | None = Field(None, description="the tenant's id, such as Cust12345")
    environment: Environment | None = Field(None, description="sod, stage, qaonline or online, or its host")
    issuer: Text = Field("SuperOffice AS", description="the issuer that the answer's JWT must name")
    audience: Text | None = Field(None, description="the audience that it must name")
    ticket_lifetime: Duration = Field(duration("6h"), gt=0, description="how long a ticket lives after its last use")


class _Xsrf(Strict):
    """A browser session: its cookie, and the XSRF value that goes with it."""

    scheme: SchemeName
    cookie: Secret = Field(description="the Cookie header")
    token: Secret = Field(description="the X-XSRF-TOKEN header")


_Static = _Basic | _Ticket | _Bearer | _Xsrf

SCHEMES: dict[str, type[_Static | _OAuth | _SystemUser]] = {
    "basic": _Basic,
    "ticket": _Ticket,
    "bearer": _Bearer,
    "oauth": _OAuth,
    "system_user": _SystemUser,
    "xsrf": _Xsrf,
}


class Static(httpx.Auth):
    """Puts a target's own credentials into each request, read anew from their files."""

    def __init__(self, settings: _Static) -> None:
        self._settings = settings

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        sent = self._fitting()
        for name, value in sent.items():
            request.headers[name] = value
        response = yield request
        # There is nothing to refresh, unless a file was changed since.
        if response.status_code in REFUSED and (fresh := self._fitting()) != sent:
            request.headers.update(fresh)
            yield request

    def _fitting(self) -> dict[str, str]:
        """The headers that log in; a file may have come to hold what none can carry, and is corrected like a log-in."""
        headers = self.headers()
        if not all(map(fits_header, headers.values())):
            detail = "a credential's file holds what no header can carry, check the target's authorization"
            raise NotSent(Outcome.UNAUTHORIZED, detail)
        return headers

    def headers(self) -> dict[str, str]:
        """The headers that log in, as they are now."""
        match self._settings:
            case _Basic(username=username, password=password):
                return {"Authorization": "Basic " + b64encode(f"{username}:{password.reveal()}".encode()).decode()}
            case _Ticket(ticket=ticket, app_token=app_token):
                headers = {"Authorization": "SOTicket " + ticket.reveal().strip()}
                return headers | ({"SO-AppToken": app_token.reveal().strip()} if app_token else {})
            case _Bearer(token=token):
                return {"Authorization": "Bearer " + token.reveal().strip()}
            case _Xsrf(cookie=cookie, token=token):
                return {"Cookie": cookie.reveal().strip(), "X-XSRF-TOKEN": token.reveal().strip()}


Authorization = Static | LogIn


def compile_authorization(section: Section) -> tuple[Authorization | None, list[Problem]]:
    """An `authorization:` mapping -> what logs in, or what is wrong with it.

    `environment` and `tenant` may stand in the target's `online:` instead.
    """
    scheme = section.value.get("scheme")
    if scheme not in SCHEMES:
        shown = "scheme" if isinstance(scheme, Expanded) else f"scheme `{str(scheme)[:60]}`"
        near = [f"did you mean `{name}`? " for name in get_close_matches(str(scheme).lower(), SCHEMES, 1)]
        return None, [section["scheme"].problem(f"unknown {shown}", f"{''.join(near)}use one of {', '.join(SCHEMES)}")]
    settings, problems = parse(section, SCHEMES[scheme])
    if settings is None:
        return None, problems
    online = _online(section)
    match settings:
        case _OAuth():
            return _oauth(settings, online, section)
        case _SystemUser():
            return _system_user(settings, online, section)
    authorization = Static(settings)
    if not all(map(fits_header, authorization.headers().values())):
        return None, [
            section.problem("a credential cannot be sent in a header", "use ASCII without control characters")
        ]
    return authorization, _unfit_for_online(settings, section) if online else []


def _oauth(settings: _OAuth, online: OnlineSettings | None, section: Section) -> tuple[LogIn | None, list[Problem]]:
    environment = settings.environment or (online and online.environment)
    if not environment:
        return None, [_no_environment(section)]
    oauth = OAuth(
        environment, settings.client_id, settings.client_secret, settings.refresh_token, settings.redirect_uri
    )
    return oauth, []


def _system_user(
    settings: _SystemUser, online: OnlineSettings | None, section: Section
) -> tuple[LogIn | None, list[Problem]]:
    problems = []
    environment = settings.environment or (online and online.environment)
    tenant = settings.tenant or (online and online.tenant)
    if not environment:
        problems.append(_no_environment(section))
    if not tenant:
        hint = "add tenant: the customer's id such as Cust12345, or online: to the target"
        problems.append(section.problem("names no tenant", hint))
    try:
        private_key(settings.private_key.reveal())
    except ValueError as error:
        hint = "give the application's private key, as PEM without a password or as <RSAKeyValue>"
        problems.append(section["private_key"].problem(str(error), hint))
    if problems or not environment or not tenant:
        return None, problems
    identity = Identity(
        environment=environment,
        tenant=tenant,
        system_token=settings.system_token,
        app_token=settings.app_token,
        private_key=settings.private_key,
        issuer=settings.issuer,
        audience=settings.audience,
        lifetime=settings.ticket_lifetime,
    )
    return SystemUser(identity), []


def _unfit_for_online(settings: _Static, section: Section) -> list[Problem]:
    """Warnings about what SuperOffice documents otherwise for SuperOffice Online."""
    match settings:
        case _Basic():
            message = "is for installations of your own, as SuperOffice documents it"
            hint = "use system_user or oauth with SuperOffice Online"
            return [section["scheme"].problem(message, hint, Severity.WARNING)]
        case _Ticket(app_token=None) if not _beside(section, "app_token").exists:
            hint = "add app_token: SuperOffice Online needs it with a ticket"
            return [section.problem("names no app_token", hint, Severity.WARNING)]
    return []


def _beside(section: Section, key: str) -> Section:
    return Section(section.document, (*section.path[:-1], key))


def _online(section: Section) -> OnlineSettings | None:
    """The `online:` beside an `authorization:`, if it is there and right."""
    online = _beside(section, "online")
    return parse(online, OnlineSettings)[0] if online.exists and isinstance(online.value, dict) else None


def _no_environment(section: Section) -> Problem:
    hint = "add environment: sod, stage, qaonline or online, or online: to the target"
    return section.problem("names no environment", hint)
