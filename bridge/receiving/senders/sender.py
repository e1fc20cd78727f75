"""A sender: its signature, the answers that it wants, and how well both are known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.model import Content
from bridge.receiving.senders.signature_spec import SignatureSpec

_HEADER = re.compile(r"headers\['([^']+)'\]")
HASH = "sha256(body)"  # the dedupe of senders whose retries bring the same bytes and no id


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSecret:
    """A secret that the sender shows as it is: in a header, after `word` if there is one; else in the query."""

    header: str
    word: str = ""
    parameter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One row of `senders.SENDERS`: what `verify: {scheme: NAME}` means, and what people need to know of it.

    `proof` lists ways, the strongest first: recipes, credentials, or the names of special proofs. The first whose
    header a request brings must hold. `dedupe` and `event` are expressions, `sha256(body)` included; an id that stands
    in a header is named by the recipe's `delivery_id` or by `dedupe`. `sources` say where the facts come from,
    `unconfirmed` what nobody here could look up.
    """

    title: str
    secrets: str  # what stands in `secrets`, in words; empty where there are none
    proof: tuple[SignatureSpec | ShownSecret | str, ...]
    proves: str = ""  # in words, where the recipes do not tell
    url: bool = False  # whether a special proof needs the source's `public_url`
    keys: Mapping[str, str] = field(default_factory=dict)  # further keys of `verify`, with an example of each
    dedupe: str = ""
    id_proven: bool = False  # whether the proof itself shows the delivery id, however the body is read
    id_signed: bool | None = None  # where the recipes do not tell
    signs: tuple[str, ...] | None = None  # headers, where no recipe tells; None: not even the body is signed
    event: str = ""
    max_unverified_body: int = 0  # bytes of the largest that it sends, where the proof stands in the body
    replay: str = ""  # in words, where the recipes do not tell
    status: int = 202
    answer: bool = True  # False: the sender wants no body in the answer
    methods: tuple[str, ...] = ("POST",)
    content: Content = Content.JSON
    handshake: str = ""  # by its name in handshakes.HANDSHAKES
    hands_over: bool = False  # the handshake brings the secret, so there may be none yet
    retries: str = ""
    note: str = ""
    sources: tuple[str, ...] = ()
    unconfirmed: str = ""

    @property
    def recipes(self) -> tuple[SignatureSpec, ...]:
        """The ways that are recipes."""
        return tuple(way for way in self.proof if isinstance(way, SignatureSpec))

    @property
    def signed_headers(self) -> frozenset[str] | None:
        """The headers, in lower case, whose values nobody but the sender can choose; None where the body is not signed.

        Of several recipes, those that each of them signs.
        """
        if not self.recipes:
            return None if self.signs is None else frozenset(self.signs)
        return frozenset.intersection(*(recipe.signed_headers for recipe in self.recipes))

    @property
    def signs_url(self) -> bool:
        """Whether the source's `public_url` is needed."""
        return self.url or any("url" in recipe.signed for recipe in self.recipes)

    @property
    def delivery_id(self) -> str:
        """Where the delivery id is, as an expression; empty where there is none."""
        headers = (recipe.delivery_id.partition(":")[2].lower() for recipe in self.recipes if recipe.delivery_id)
        return self.dedupe or next((f"headers['{header}']" for header in headers), "")

    @property
    def dedupe_by_rules(self) -> str:
        """The expression that rules compute the delivery id by, empty where verification finds it."""
        return "" if self.id_proven else self.dedupe

    @property
    def own_headers(self) -> frozenset[str]:
        """The headers that hold its ids and the kinds of its events, whatever they are called."""
        return frozenset(_HEADER.findall(f"{self.delivery_id} {self.event}"))

    @property
    def signs_id(self) -> bool:
        """Whether nobody but the sender can choose the delivery id."""
        if self.id_signed is not None:
            return self.id_signed
        signed = {recipe.delivery_id for recipe in self.recipes} <= {
            part for one in self.recipes for part in one.signed
        }
        return bool(self.recipes) and (signed or (bool(self.dedupe) and "headers[" not in self.dedupe))
