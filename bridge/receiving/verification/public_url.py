"""The public URL of a source: from the configuration, never from a request."""

from bridge.model import Request


class PublicUrl:
    """A source's `public_url`: signed as it stands, its query included; without a query, the request's is appended."""

    __slots__ = ("_url", "_whole")

    def __init__(self, url: str) -> None:
        self._url = url.encode()
        self._whole = not url or "?" in url

    def called(self, request: Request) -> bytes:
        """The URL that this request was sent to; empty where the source has none."""
        if self._whole or not request.query:
            return self._url
        return self._url + b"?" + request.query
