"""How a target is logged in to: each scheme an httpx.Auth that reads its secrets anew for every request."""

from base64 import b64encode
from collections.abc import Generator
from difflib import get_close_matches
from typing import Annotated

import httpx
from pydantic import Field

from bridge.errors import Problem
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.schema import Text
from bridge.settings.secrets import Expanded, Secret

LATER = ("oauth", "system_user")


Scheme = Annotated[str, Field(description="the scheme")]


class _Basic(Strict):
    """HTTP Basic, on-site only."""

    scheme: Scheme
    username: Text = Field(description="the user's name")
    password: Secret = Field(description="the user's password")


class _Ticket(Strict):
    """A SOTicket."""

    scheme: Scheme
    ticket: Secret = Field(description="the ticket, 7T:...")
    app_token: Secret | None = Field(None, description="the application's token, needed with SuperOffice Online")


class _Bearer(Strict):
    """A bearer token, SuperOffice Online only."""

    scheme: Scheme
    token: Secret = Field(description="the token, 8A:...")


class _Xsrf(Strict):
    """A browser session: its cookie, and the XSRF value that goes with it."""

    scheme: Scheme
    cookie: Secret = Field(description="the Cookie header")
    token: Secret = Field(description="the X-XSRF-TOKEN header")


SCHEMES: dict[str, type[_Basic | _Ticket | _Bearer | _Xsrf]] = {
    "basic": _Basic,
    "ticket": _Ticket,
    "bearer": _Bearer,
    "xsrf": _Xsrf,
}


class Authorization(httpx.Auth):
    """Puts a target's credentials into each request."""

    def __init__(self, settings: _Basic | _Ticket | _Bearer | _Xsrf) -> None:
        self._settings = settings

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        for name, value in self.headers().items():
            request.headers[name] = value
        yield request

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


def compile_authorization(section: Section) -> tuple[Authorization | None, list[Problem]]:
    """An `authorization:` mapping -> what logs in, or what is wrong with it."""
    scheme = section.value.get("scheme")
    if scheme in LATER:
        return None, [section["scheme"].problem(f"`{scheme}` is not available yet", f"use one of {', '.join(SCHEMES)}")]
    if scheme not in SCHEMES:
        shown = "scheme" if isinstance(scheme, Expanded) else f"scheme `{str(scheme)[:60]}`"
        near = [f"did you mean `{name}`? " for name in get_close_matches(str(scheme).lower(), SCHEMES, 1)]
        return None, [section["scheme"].problem(f"unknown {shown}", f"{''.join(near)}use one of {', '.join(SCHEMES)}")]
    settings, problems = parse(section, SCHEMES[scheme])
    if settings is None:
        return None, problems
    authorization = Authorization(settings)
    if not all(value.isascii() and value.isprintable() for value in authorization.headers().values()):
        return None, [
            section.problem("a credential cannot be sent in a header", "use ASCII without control characters")
        ]
    return authorization, problems
