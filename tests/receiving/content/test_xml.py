"""XML comes out as plain objects, lists and text; nothing of it is fetched, expanded or nested without bound."""

import time
import tracemalloc
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Unreadable
from bridge.media_types import media_type
from bridge.receiving.content import xml

DEPTH = 100
PLAIN = media_type("application/xml")


def read(text: str | bytes, content_type: str = "application/xml") -> Any:
    return xml.read(media_type(content_type), text.encode() if isinstance(text, str) else text, DEPTH)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<a/>", {"a": ""}),
        ("<a> b </a>", {"a": "b"}),
        ("<a>1</a>", {"a": "1"}),
        ("<a x='1'/>", {"a": {"@x": "1"}}),
        ("<a x='1'>b</a>", {"a": {"@x": "1", "#text": "b"}}),
        ("<a><b>1</b><c/></a>", {"a": {"b": "1", "c": ""}}),
        ("<a><b>1</b><b>2</b><c/><b x='3'/></a>", {"a": {"b": ["1", "2", {"@x": "3"}], "c": ""}}),
        ("<a>one <b>two</b> three</a>", {"a": {"b": "two", "#text": "one  three"}}),
        ("<a>\n  <b/>\n</a>", {"a": {"b": ""}}),
        ("<s:a xmlns:s='urn:s'><s:b s:x='1' x='2'/><b/></s:a>", {"a": {"b": [{"@x": "1"}, ""]}}),
        ("<a xmlns='urn:s' xsi:nil='true' xmlns:xsi='urn:x'/>", {"a": {"@nil": "true"}}),
        ("<?xml version='1.0'?><!-- c --><?p i?><a>x<!-- c -->y<?p i?></a>", {"a": "xy"}),
        ("<a>&lt;&amp;&#229;&#x20AC;<![CDATA[<b>&amp;]]></a>", {"a": "<&å€<b>&amp;"}),
    ],
)
def test_the_mapping(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        ("<a>åß</a>".encode(), "application/xml"),
        ("\ufeff<a>åß</a>".encode(), "application/xml"),
        ("<a>åß</a>".encode("utf-16"), "text/xml"),
        ("<?xml version='1.0' encoding='iso-8859-1'?><a>åß</a>".encode("latin-1"), "text/xml"),
        ("<?xml version='1.0' encoding='windows-1252'?><a>åß</a>".encode("cp1252"), "text/xml"),
        ("<?xml version='1.0' encoding='iso-8859-1'?><a>åß</a>".encode(), "text/xml; charset=utf-8"),
        ("<?xml version='1.0' encoding='utf-8'?><a>åß</a>".encode("latin-1"), "text/xml; charset=iso-8859-1"),
        ("<?xml version='1.0' encoding='utf-16'?><a>åß</a>".encode("utf-16"), "text/xml; charset=utf-16"),
    ],
)
def test_text_is_in_the_charset_of_the_header_else_of_the_document(raw: bytes, content_type: str) -> None:
    assert read(raw, content_type) == {"a": "åß"}


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM 'http://127.0.0.1/x.dtd'><a/>",
        "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
        "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><a>&e;</a>",
        "<!DOCTYPE a [<!ENTITY % e SYSTEM 'http://127.0.0.1/x'> %e;]><a/>",
        "<!DOCTYPE a [<!ENTITY a0 'ha'>"
        + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 30))
        + "]><a>&a29;</a>",
    ],
)
def test_a_dtd_is_refused_before_anything_of_it_counts(text: str) -> None:
    with pytest.raises(Unreadable, match="DTD or entities"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a>&nbsp;</a>",
        "<a x='1' x='2'/>",
        "<a>\x00</a>",
        "<s:a/>",
        b"<a>\xff</a>",
    ],
)
def test_what_is_no_xml_is_told_by_its_place(text: str | bytes) -> None:
    with pytest.raises(Unreadable, match=r"^the body is not XML: line \d+, column \d+$"):
        read(text)


@pytest.mark.parametrize("encoding", ["confidential", "shift_jis", "utf-7", "zip", "punycode"])
def test_an_encoding_that_is_not_known_is_unreadable(encoding: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read(f"<?xml version='1.0' encoding='{encoding}'?><a/>")
    assert "confidential" not in str(raised.value)


def test_an_unknown_charset_of_the_header_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="charset"):
        read("<a/>", "text/xml; charset=x-none")


def test_elements_may_be_as_deep_as_the_limit_and_no_deeper() -> None:
    read("<a>" * DEPTH + "</a>" * DEPTH)
    with pytest.raises(Unreadable, match="deeper than 100 levels"):
        read("<a>" * (DEPTH + 1) + "</a>" * (DEPTH + 1))


@pytest.mark.timing
@pytest.mark.parametrize(
    "text",
    [
        "<a>" * 300_000,
        "<r>" + "<a/>" * 250_000 + "</r>",
        "<r>" + "".join(f"<a{number}/>" for number in range(90_000)) + "</r>",
        "<r " + " ".join(f"a{number}=''" for number in range(80_000)) + "/>",
        "<r>" + "&lt;" * 250_000 + "</r>",
        "<r>" + "<a x=''>y</a>" * 75_000 + "</r>",
        "<r>" + "<!---->" * 140_000 + "</r>",
    ],
    ids=["deep", "repeated", "wide", "attributes", "pieces", "objects", "comments"],
)
def test_a_mebibyte_of_the_worst_takes_bounded_time_and_memory(text: str) -> None:
    raw = text.encode()[: 1 << 20]
    tracemalloc.start()
    with suppress(Unreadable):
        read(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = time.process_time()
    with suppress(Unreadable):
        read(raw)
    assert time.process_time() - started < 2
    assert peak < 64 << 20


_NAME = st.sampled_from(["a", "b", "c-d", "é"])
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=8)
_ELEMENTS: st.SearchStrategy[Any] = st.recursive(
    st.tuples(_NAME, st.dictionaries(_NAME, _TEXT, max_size=2), _TEXT, st.just([])),
    lambda inner: st.tuples(_NAME, st.dictionaries(_NAME, _TEXT, max_size=2), _TEXT, st.lists(inner, max_size=4)),
    max_leaves=12,
)


def written(element: Any) -> str:
    name, attributes, text, inner = element
    given_attributes = "".join(f' {key}="{escape(value, {chr(34): "&quot;"})}"' for key, value in attributes.items())
    return f"<{name}{given_attributes}>{escape(text)}{''.join(map(written, inner))}</{name}>"


def expected(element: ElementTree.Element) -> Any:
    """The mapping once more, from the tree that the standard library makes."""
    value: dict[str, Any] = {f"@{name}": text for name, text in element.attrib.items()}
    for name in dict.fromkeys(child.tag for child in element):
        found = [expected(child) for child in element if child.tag == name]
        value[name] = found[0] if len(found) == 1 else found
    text = "".join([element.text or "", *(child.tail or "" for child in element)]).strip()
    if not value:
        return text
    return value | ({"#text": text} if text else {})


@given(_ELEMENTS)
def test_every_document_is_mapped_as_described(element: Any) -> None:
    text = written(element)
    tree = ElementTree.fromstring(text)
    assert read(text) == {tree.tag: expected(tree)}


_PIECES = st.sampled_from(
    [
        "<a>",
        "</a>",
        "<a/>",
        "<b x='1'>",
        "&lt;",
        "&x;",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<!DOCTYPE a>",
        "<?x",
        "x",
        "é",
    ]
)


@given(st.lists(_PIECES, max_size=20).map("".join).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_are_a_structure_or_unreadable(raw: bytes) -> None:
    try:
        assert isinstance(read(raw), dict)
    except Unreadable:
        return
