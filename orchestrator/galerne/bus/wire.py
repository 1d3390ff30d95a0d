"""nats-py's client with what Galerne needs of it beyond its public face; the only such place.

    in      what nobody could read as text is read anyway: nats-py would end its reader over it
            a message goes to its taker in the reader itself: no queue, no task, no parsed headers
    out     a message is sent without waiting, behind whatever was sent before
            what a server could not parse is refused: it would end the connection

The two short ways reach into nats-py, so they are taken only with the versions that they are known
to work with. With any other, a subscription's own task and one sending task do the same, slower.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import anyio
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from galerne.errors import InvalidInputError, InvalidSettingsError
from galerne.logs import get_logger
from galerne.settings import without_login

log = get_logger("galerne.bus.wire")

LONGEST_SUBJECT = 1024
"""Characters; the server's line holds 4,096 with a subject, a reply and the sizes."""

_SUBJECT = re.compile(r"[!-)+\-/-=?-~]+(\.[!-)+\-/-=?-~]+)*")
"""Tokens of printable ASCII without the wildcards `*` and `>`."""
_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})


Headers = bytes | dict[str, str] | None
"""The block as it came, or what nats-py has read in it; see `headers_of`."""
Take = Callable[[str, str, bytes, Headers], None]
"""Takes subject, reply, data and headers of a message. It must neither wait nor take long."""
Outgoing = tuple[str, bytes, str, dict[str, str] | None]

KNOWN = frozenset({"2.16.0"})
"""The versions of nats-py whose inside the short ways were tried with."""
_STATUS = re.compile(r"NATS/1\.0 +(\d{3}) *([^\r\n]*)")


def is_known() -> bool:
    """Whether the installed nats-py is one of those."""
    return version("nats-py") in KNOWN


class TolerantClient(Client):
    """nats-py's client with a short way in (`listen`) and out (`post`).

    Its reader survives subjects and headers that are not text. `short`: take the short ways.
    """

    def __init__(self, *, short: bool | None = None) -> None:
        super().__init__()
        self.takers: dict[int, Take] = {}
        """By the number of the subscription."""
        self._short = is_known() if short is None else short
        self._outbox: deque[Outgoing] = deque()
        self._filled = anyio.Event()
        if self._short:
            self._ps = _Reader(self)

    def post(
        self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish without waiting. Raises nats-py's errors where that cannot be done now."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise nats.errors.ConnectionDrainingError
        if self._pending_data_size + len(data) > self._max_pending_size:
            raise nats.errors.OutboundBufferLimitError
        if not self._short:
            self._outbox.append((subject, data, reply, headers))
            self._filled.set()
            return
        command = _command(subject, data, reply, headers)
        self._pending.append(command)
        self._pending_data_size += len(command)
        kicks = self._flush_queue
        if kicks is not None and kicks.empty() and self.is_connected:
            kicks.put_nowait(asyncio.get_running_loop().create_future())

    async def carry(self) -> None:
        """Send what is posted, until cancelled, where the short way out is not taken."""
        while True:
            while self._outbox:
                subject, data, reply, headers = self._outbox.popleft()
                try:
                    await self.publish(subject, data, reply, headers)
                except (nats.errors.Error, OSError) as error:
                    log.debug("a message could not be sent", subject=subject, error=str(error))
            self._filled = anyio.Event()
            await self._filled.wait()

    async def listen(self, subject: str, take: Take, queue: str = "") -> Subscription:
        """Hand every message of a subject to `take`. What that raises is logged, no more."""

        async def on_message(message: Msg) -> None:
            _hand_over(take, message.subject, message.reply, message.data, message.headers)

        subscription = await self.subscribe(subject, queue=queue, cb=on_message)  # pyright: ignore[reportUnknownMemberType] - its optional Future is untyped
        if self._short:
            self.takers[subscription._id] = take  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - its number is not public
        return subscription

    def unlisten(self, subscription: Subscription) -> None:
        """Take nothing more of it; the subscription itself is to be ended as any other."""
        self.takers.pop(subscription._id, None)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=subject.decode("utf-8", "backslashreplace"),
            reply=reply.decode("utf-8", "backslashreplace"),
            data=data,
            headers=headers,
            _client=self,
            _sid=sid,
        )

    async def dispatch(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        """A message without a taker, the long way."""
        await self._process_msg(sid, subject, reply, data, headers or b"")

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)  # pyright: ignore[reportUnknownMemberType] - it is untyped
        except (ValueError, IndexError) as error:
            log.debug("headers that are none were left out", error=str(error))
            return None

    async def _process_pong(self) -> None:
        """Of a ping that nobody waits for any more, too: the base class ends its reader there."""
        waiting = self._pongs  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - its Future is untyped
        if waiting and waiting[0].done():
            waiting.pop(0)
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    async def close(self) -> None:
        """Also before connecting has begun or while the server is away: the base raises then."""
        if self._flush_queue is None:
            return
        if not self.is_connected:  # nobody takes what was left to send
            self._pending, self._pending_data_size = [], 0
        try:
            await super().close()
        except OSError as error:
            log.debug("the connection broke while it was closed", error=str(error))


class _Reader(Parser):
    """Reads messages line by line and hands them over; leaves all else to nats-py's parser.

    `buf` holds what came last and is not a whole message yet, `_lacking` how much it lacks.
    """

    nc: TolerantClient
    _lacking = 0
    _resets = 0

    def reset(self) -> None:
        super().reset()
        self._lacking = 0
        self._resets += 1

    async def parse(self, data: bytes = b"") -> None:
        if self.buf:
            self.buf += data
            self._lacking -= len(data)
            if self._lacking > 0:
                return
            data = bytes(self.buf)
            self.buf.clear()
        resets = self._resets
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            line = data[position:end]
            if not line.startswith((b"MSG ", b"HMSG ")):
                await self._control(line)
            else:
                words = line.split(b" ")
                start = end + 2
                end = start + int(words[-1])
                if len(data) < end + 2:
                    self._lacking = end + 2 - len(data)
                    break
                await self._message(words, data, start, end)
            if resets != self._resets:
                return  # the connection that these bytes came over is gone
            position = end + 2
        else:
            self._lacking = 1
        self.buf += data[position:]

    async def _message(self, words: list[bytes], data: bytes, start: int, end: int) -> None:
        """`words`: MSG subject sid [reply] size, or HMSG subject sid [reply] headers size."""
        block: bytes | None = None
        given = 4
        if words[0] == b"HMSG":
            given = 5
            body = start + int(words[-2])
            block, start = data[start:body], body
        reply = words[3] if len(words) > given else b""
        take = self.nc.takers.get(int(words[2]))
        if take is None:
            await self.nc.dispatch(int(words[2]), words[1], reply, data[start:end], block)
        else:
            _hand_over(take, _text(words[1]), _text(reply), data[start:end], block)

    async def _control(self, line: bytes) -> None:
        self.buf += line + b"\r\n"
        await super().parse()


def _hand_over(take: Take, subject: str, reply: str, data: bytes, headers: Headers) -> None:
    try:
        take(subject, reply, data, headers)
    except Exception:
        log.exception("a message could not be handled", subject=subject[:200])


def _text(token: bytes) -> str:
    return token.decode("utf-8", "backslashreplace")


def _command(subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> bytes:
    """A message as it goes to the server."""
    if not headers:
        return b"".join((f"PUB {subject} {reply} {len(data)}\r\n".encode(), data, b"\r\n"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    sizes = f"{len(block)} {len(block) + len(data)}"
    head = f"HPUB {subject} {reply} {sizes}\r\n".encode()
    return b"".join((head, block, data, b"\r\n"))


def headers_of(headers: Headers) -> dict[str, str]:
    """With `Status` and `Description` where the first line has them; {} where there are none."""
    if not headers:
        return {}
    if isinstance(headers, dict):
        return headers
    first, *lines = _text(headers).split("\r\n")
    read: dict[str, str] = {}
    if status := _STATUS.match(first):
        read["Status"] = status[1]
        if status[2]:
            read["Description"] = status[2]
    for line in lines:
        name, found, value = line.partition(":")
        if found:
            read[name.strip()] = value.strip()
    return read


def check_subject(subject: str) -> None:
    """Raises InvalidInputError for what a server could not parse as one place to publish to."""
    if len(subject) > LONGEST_SUBJECT or _SUBJECT.fullmatch(subject) is None:
        raise InvalidInputError(
            f"{subject[:80]!r} is no subject to publish to: use up to {LONGEST_SUBJECT} plain"
            " characters, in tokens with single dots between them"
        )


def message_size(data: bytes, headers: dict[str, str] | None) -> int:
    """Bytes of a message as the server counts them."""
    if not headers:
        return len(data)
    lines = sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return len(data) + lines + len(b"NATS/1.0\r\n\r\n")


def server_urls(server: str) -> list[str]:
    """The URLs in a setting, with commas between them. Raises InvalidSettingsError."""
    urls = [url.strip() for url in server.split(",")]
    for url in urls:
        scheme, found, rest = url.partition("://")
        if not (rest if found else scheme) or (found and scheme not in _SCHEMES):
            raise InvalidSettingsError(
                f"{without_login(url)!r} is no NATS server: write nats://host:port"
            )
        if any(character.isspace() for character in url):
            raise InvalidSettingsError(
                f"the NATS server's URL {without_login(url)!r} has blanks in it; take them out"
            )
    return urls
