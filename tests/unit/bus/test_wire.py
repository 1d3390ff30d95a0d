"""The short ways through nats-py: what is read is the same however it is cut."""

# The reader is the inside of the client.
# pyright: reportPrivateUsage=false

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.bus.wire import Headers, TolerantClient, _command, headers_of, is_known

Read = tuple[str | bytes, ...]

TOKENS = st.from_regex(rb"[!-~\x80-\xff\x0b]{1,20}", fullmatch=True)
BLOCKS = st.sampled_from([None, b"NATS/1.0\r\n\r\n", b"NATS/1.0 404 No Messages\r\n\r\n", b"\xff"])
CONTENT = st.binary(max_size=40) | st.just(b"MSG a 1 3\r\nabc\r\nPING\r\n")
MESSAGES = st.tuples(st.sampled_from([1, 2]), TOKENS, TOKENS | st.just(b""), BLOCKS, CONTENT)
PING = b"PING\r\n"


class Reading(TolerantClient):
    """Subscription 1 has a taker, subscription 2 has none."""

    def __init__(self) -> None:
        super().__init__(short=True)
        self.read: list[Read] = []
        self.takers[1] = self._take

    def _take(self, subject: str, reply: str, data: bytes, headers: Headers) -> None:
        self.read.append(("1", subject, reply, data, str(headers)))

    async def dispatch(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.read.append((str(sid), _text(subject), _text(reply), data, str(headers)))

    async def _process_ping(self) -> None:
        self.read.append(("ping",))


def _text(token: bytes) -> str:
    return token.decode("utf-8", "backslashreplace")


def _frame(
    sid: int, subject: bytes, reply: bytes, block: bytes | None, content: bytes
) -> tuple[bytes, Read]:
    reply_token = reply + b" " if reply else b""
    if block is None:
        head = b"MSG %s %d %s%d\r\n" % (subject, sid, reply_token, len(content))
    else:
        sizes = (len(block), len(block) + len(content))
        head = b"HMSG %s %d %s%d %d\r\n" % (subject, sid, reply_token, *sizes)
    expected = (str(sid), _text(subject), _text(reply), content, str(block))
    return head + (block or b"") + content + b"\r\n", expected


@given(st.lists(MESSAGES | st.just(PING), max_size=6), st.lists(st.integers(1, 60), max_size=30))
def test_what_is_read_does_not_depend_on_where_it_is_cut(
    messages: list[Any], cuts: list[int]
) -> None:
    framed = [(PING, ("ping",)) if one == PING else _frame(*one) for one in messages]
    stream = b"".join(data for data, _ in framed)
    client = Reading()

    async def read() -> None:
        left = stream
        for cut in cuts:
            await client._ps.parse(left[:cut])
            left = left[cut:]
        await client._ps.parse(left)

    anyio.run(read)
    assert client.read == [expected for _, expected in framed]


def test_a_taker_that_fails_does_not_stop_the_reader() -> None:
    client = Reading()

    def fail(*_: object) -> None:
        raise ValueError

    client.takers[3] = fail
    stream = b"MSG a 3 1\r\nx\r\nMSG a 1 1\r\ny\r\n"
    anyio.run(client._ps.parse, stream)
    assert client.read == [("1", "a", "", b"y", "None")]


def test_bytes_of_a_lost_connection_do_not_reach_the_next_one() -> None:
    class Losing(Reading):
        async def dispatch(self, *_: Any, **__: Any) -> None:
            self._ps.reset()

    losing = Losing()
    anyio.run(losing._ps.parse, b"MSG a 2 1\r\nx\r\nMSG a 1 5\r\ny")
    anyio.run(losing._ps.parse, b"MSG a 1 1\r\nz\r\n")
    assert losing.read == [("1", "a", "", b"z", "None")]


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        (None, {}),
        (b"", {}),
        (b"NATS/1.0\r\n\r\n", {}),
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (b"NATS/1.0\r\na: b: c\r\n\r\n", {"a": "b: c"}),
        (
            b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 7\r\n\r\n",
            {"Status": "100", "Description": "Idle Heartbeat", "Nats-Last-Stream": "7"},
        ),
        (b"\xff\xfe no header at all", {}),
        ({"a": "b"}, {"a": "b"}),
    ],
)
def test_headers(block: Headers, headers: dict[str, str]) -> None:
    assert headers_of(block) == headers


def test_a_message_as_it_is_sent() -> None:
    assert _command("a.b", b"xyz", "", None) == b"PUB a.b  3\r\nxyz\r\n"
    with_headers = _command("a.b", b"xyz", "r", {"k": "v"})
    assert with_headers == b"HPUB a.b r 18 21\r\nNATS/1.0\r\nk: v\r\n\r\nxyz\r\n"


def test_the_inside_of_the_installed_nats_py_is_known() -> None:
    """Where this fails: run tests/integration with it, then add its version to `wire.KNOWN`."""
    assert is_known()
