"""Server-sent events: the payloads never depend on where the bytes are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.models.sse import EventParser


def payloads(data: bytes, size: int | None = None) -> list[bytes]:
    parser = EventParser()
    size = size or max(len(data), 1)
    found = [p for i in range(0, len(data), size) for p in parser.feed(data[i : i + size])]
    return found + parser.finish()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"data: one\ndata: more\n\n", [b"one\nmore"]),
        (b": ping\n\ndata: one\n: in between\n\n", [b"one"]),
        (b"event: message\nid: 4\nretry: 10\ndata: one\n\n", [b"one"]),
        (b"data:one\n\n", [b"one"]),
        (b"data:  one\n\n", [b" one"]),
        (b"data\n\n", [b""]),
        (b'error: {"message": "x"}\n\n', [b'{"message": "x"}']),
        (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
        (b"data: one\n\ndata: [DONE]", [b"one", b"[DONE]"]),
        (b"\n\n\n", []),
        (b"", []),
        ("data: caf\u00e9 \u2028 same line\n\n".encode(), ["caf\u00e9 \u2028 same line".encode()]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, None])
def test_payloads_of_known_streams(data: bytes, expected: list[bytes], size: int | None) -> None:
    assert payloads(data, size) == expected


@given(
    st.lists(st.binary(max_size=40).filter(lambda data: not {10, 13} & set(data))),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.data(),
)
def test_any_payloads_survive_any_split(
    expected: list[bytes], line_end: bytes, data: st.DataObject
) -> None:
    stream = b"".join(b"data: " + payload + line_end * 2 for payload in expected)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser = EventParser()
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[start:end])
    assert found + parser.finish() == expected


@given(st.binary(max_size=200), st.integers(1, 9))
def test_any_bytes_give_the_same_at_any_size(data: bytes, size: int) -> None:
    assert payloads(data, size) == payloads(data)


def test_events_come_out_as_soon_as_they_are_complete() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\n") == []
    assert parser.feed(b"\nda") == [b"one"]
    assert parser.feed(b"ta: two\r\n\r") == [b"two"]
    assert parser.feed(b"\ndata: three\n\n") == [b"three"]
    assert parser.finish() == []
