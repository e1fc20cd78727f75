"""Compressed bodies come out as they went in, and nothing that comes in makes more than the limit come out."""

import gzip
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bridge.content_codings import decompress, is_supported
from bridge.errors import Undecodable

LIMIT = 1 << 20


def zstd_of_unknown_size(body: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return stream.compress(body) + stream.flush()


def bare_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def brotli_of(body: bytes) -> bytes:
    compressed: bytes = brotli.compress(body, quality=5)
    return compressed


WAYS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "br": ("br", brotli_of),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "zstd of unknown size": ("zstd", zstd_of_unknown_size),
}
SEVERAL = ("gzip", "x-gzip", "zstd")  # formats that are made of as many parts as one likes
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@given(body=st.binary(max_size=2000) | st.builds(bytes.__mul__, st.binary(max_size=8), st.integers(0, 5000)))
def test_a_body_comes_out_as_it_went_in(way: str, body: bytes) -> None:
    name, compress = WAYS[way]
    assert decompress(name, compress(body), LIMIT) == body
    assert decompress(f" {name.upper()} ", compress(body), len(body) or 1) == body


def test_zeros_behind_the_last_member_are_padding() -> None:
    assert decompress("gzip", gzip.compress(b"a") + gzip.compress(b"b") + bytes(5000), LIMIT) == b"ab"
    with pytest.raises(Undecodable, match="damaged"):
        decompress("gzip", gzip.compress(b"a") + bytes(5000) + b"x", LIMIT)


@each_way
def test_a_body_of_exactly_the_limit_is_read_and_one_more_byte_is_too_large(way: str) -> None:
    name, compress = WAYS[way]
    assert len(decompress(name, compress(b"x" * LIMIT), LIMIT)) == LIMIT
    with pytest.raises(Undecodable, match=f"larger than {LIMIT} bytes when it is decompressed"):
        decompress(name, compress(b"x" * (LIMIT + 1)), LIMIT)


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """A few hundred bytes to some kilobytes each, that become 256 MiB."""
    made = {way: compress(bytes(64 << 20)) for way, (_, compress) in WAYS.items() if "zstd" not in way}
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    pieces = [stream.compress(bytes(1 << 20)) for _ in range(256)]
    return made | {
        "zstd": zstandard.ZstdCompressor().compress(bytes(256 << 20)),
        "zstd of unknown size": b"".join([*pieces, stream.flush()]),
    }


@pytest.mark.timing
@each_way
def test_a_bomb_ends_early(way: str, bombs: dict[str, bytes]) -> None:
    assert len(bombs[way]) < 100_000
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(Undecodable, match="larger than"):
        decompress(WAYS[way][0], bombs[way], LIMIT)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * LIMIT
    assert seconds < 0.5


@each_way
def test_what_is_cut_off_or_goes_on_is_damaged(way: str) -> None:
    name, compress = WAYS[way]
    whole = compress(b"hello world" * 100)
    twice = () if name in SEVERAL else (whole + whole,)
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole + b"x", *twice):
        with pytest.raises(Undecodable, match="damaged"):
            decompress(name, damaged, LIMIT)


@pytest.mark.parametrize("way", [way for way, (name, _) in WAYS.items() if name in SEVERAL])
@given(bodies=st.lists(st.binary(max_size=500), min_size=2, max_size=5))
def test_the_parts_of_a_body_are_one_body(way: str, bodies: list[bytes]) -> None:
    name, compress = WAYS[way]
    whole = b"".join(bodies)
    raw = b"".join(map(compress, bodies))
    assert decompress(name, raw, len(whole) or 1) == whole
    for damaged in (raw[:-1], raw + b"x"):
        with pytest.raises(Undecodable, match="damaged"):
            decompress(name, damaged, LIMIT)
    if whole:
        with pytest.raises(Undecodable, match="larger than"):
            decompress(name, raw, len(whole) - 1)


@pytest.mark.parametrize("way", [way for way, (name, _) in WAYS.items() if name in SEVERAL])
def test_parts_without_content_end_early(way: str) -> None:
    name, compress = WAYS[way]
    part = compress(b"")
    assert decompress(name, part * 1000, LIMIT) == b""
    with pytest.raises(Undecodable, match="damaged"):
        decompress(name, part * 1001, LIMIT)


@given(st.sampled_from([name for name, _ in WAYS.values()]), st.binary(max_size=300))
def test_any_bytes_are_a_body_or_unreadable(name: str, raw: bytes) -> None:
    with suppress(Undecodable):
        assert len(decompress(name, raw, 1000)) <= 1000


@given(st.sampled_from(list(WAYS)), st.binary(max_size=200), st.data())
def test_a_damaged_stream_is_a_body_or_unreadable(way: str, body: bytes, data: st.DataObject) -> None:
    name, compress = WAYS[way]
    raw = bytearray(compress(body))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Undecodable):
        assert len(decompress(name, bytes(raw), 1000)) <= 1000


@pytest.mark.parametrize("name", ["compress", "gzip, br", "gzip, identity", "gzip,", "snappy", "*", "br;q=1"])
def test_other_encodings_and_several_are_refused(name: str) -> None:
    assert not is_supported(name.encode())
    with pytest.raises(Undecodable, match="Content-Encoding"):
        decompress(name, b"x", LIMIT)


@pytest.mark.parametrize("name", ["", "identity", " Identity ", "gzip", "GZip", "x-gzip", "deflate", "br", "zstd"])
def test_these_are_supported_and_nothing_stays_nothing(name: str) -> None:
    assert is_supported(name.encode())
    assert decompress(name, b"", LIMIT) == b""


class Counted(bytes):
    """Bytes that count how many of them are copied out."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        Counted.copied += len(part) if isinstance(part, bytes) else 0
        return part


@pytest.mark.parametrize("way", ["gzip", "zstd"])
def test_however_many_members_there_are_each_byte_is_looked_at_a_few_times(way: str) -> None:
    name, compress = WAYS[way]
    raw = Counted(compress(b"") * 900 + compress(random.Random(1).randbytes(1 << 20)))
    Counted.copied = 0
    assert len(decompress(name, raw, 2 << 20)) == 1 << 20
    assert Counted.copied < 3 * len(raw)
