"""JSON Schema constraints on values, so that an editor refuses what the bridge refuses.

Patterns are those of ECMA 262, and of what stands in the file: a `${...}` may stand for any value.
"""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

PRINTABLE = r"^[!-~]([ -~]*[!-~])?$"
HTTP_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(/[^\s?#]*)?$"
CALLED_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+([/?][^\s#]*)?$"
PROXY_URL = r"^[Hh][Tt][Tt][Pp]://[^\s/?#@]+:[0-9]+/*$"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
NETWORK = (
    rf"^({_OCTET}(\.{_OCTET}){{3}}(/(3[0-2]|[12]?[0-9]))?"
    r"|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$"
)


class JsonSchema:
    """Keywords for the schema of an annotated type."""

    def __init__(self, **keywords: Any) -> None:
        self._keywords = {name.removesuffix("_"): value for name, value in keywords.items()}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self._keywords}


def in_any_case(words: list[str]) -> str:
    """A pattern for one of these words, in capitals or not: JSON Schema's have no flag for it."""
    spelled = ("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in sorted(words))
    return f"^({'|'.join(spelled)})$"
