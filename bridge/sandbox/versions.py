"""The SuperOffice version that the sandbox imitates: its event types, and its answers to a GET.

That `GET {base}` tells the version, as JSON where JSON is asked for, and that a GET of an agent's method describes it
and does not run it, is in SuperOffice's REST reference. What a description looks like is the sandbox's own.
"""

import re
from email.utils import formatdate

import orjson

from bridge.sandbox.answers import EVENT_TYPES, HttpAnswer, page

NEWEST = "12.4"

_EARLY = frozenset({"None", "Run", "Click"})
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6}){1,4}")


def known_to(version: str) -> frozenset[str]:
    """The event types of a version such as `10.2.8`: before 10.2.9 there were others.

    Raises:
        ValueError: it is no version.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is no version, write it like 10.2.8")
    return _EARLY if tuple(map(int, version.split("."))) < (10, 2, 9) else EVENT_TYPES


def api(url: str, version: str, accept: str, now: int) -> HttpAnswer:
    """What `GET {base}` at a URL tells; `now` in milliseconds since 1970."""
    date = ((b"date", formatdate(now / 1000, usegmt=True).encode()),)
    if "application/json" not in accept:
        return HttpAnswer(200, page(200).body, page(200).content_type, date)
    return HttpAnswer(
        200, orjson.dumps({"v1": f"{url}/v1", "Version": "v1", "NetServerVersion": version}), headers=date
    )


def send_event_described() -> HttpAnswer:
    """What a GET of SendEvent tells; it sends nothing."""
    return HttpAnswer(200, orjson.dumps({"POST": "Send a workflow event."}))
