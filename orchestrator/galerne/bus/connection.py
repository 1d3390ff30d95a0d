"""One connection of one process to NATS.

What is sent leaves without waiting (`post`); who needs an answer waits for it in the reply mux
(`replies`), as a callback (`post_stored`) or in a coroutine (`request`).

    connect ─▶ connected ◀─▶ reconnecting (endless; waiting replies fail at once as transient)
                   └─▶ closed for good (credentials revoked, drained): `closed` is set
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from galerne.bus import mapping
from galerne.bus.answers import check_responders, conditions, json_object, stored_sequence
from galerne.bus.background import background
from galerne.bus.replies import Message as Message  # noqa: PLC0414 - what this module's users take
from galerne.bus.replies import Replies
from galerne.bus.wire import (
    Take,
    TolerantClient,
    check_subject,
    message_size,
    server_urls,
)
from galerne.errors import (
    GalerneError,
    InvalidSettingsError,
    TooLargeError,
    UnavailableError,
)
from galerne.faults import reach
from galerne.logs import get_logger
from galerne.messages.subjects import Subjects
from galerne.settings import BusSettings, without_login

log = get_logger("galerne.bus")

PING = 2.0
"""Seconds between pings; the default of 120 hides a hung server."""

CROWDED = 8 * 1024 * 1024
"""Unsent bytes above which a coroutine that sends waits until they have left."""


class Bus:
    """The connection. Made by `connect`; everything else in `galerne.bus` takes one."""

    def __init__(self, client: TolerantClient, settings: BusSettings) -> None:
        self.settings = settings
        self.subjects = Subjects(settings.prefix, settings.partitions)
        self.closed = anyio.Event()
        self._client = client
        self._replies = Replies()
        self.now: Callable[[], float] = anyio.current_time
        """The event loop's clock, in seconds: asked thousands of times a second."""
        self._tokens = itertools.count(1)
        self._writer = secrets.token_hex(8)
        self._reconnected: list[Callable[[], None]] = []

    # sending

    def post(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish without an acknowledgement and without waiting.

        Raises TooLargeError, InvalidInputError (no subject), UnavailableError.
        """
        check_subject(subject)
        if reply and not reply.startswith(self._replies.inbox):
            check_subject(reply)
        size = message_size(data, headers)
        if size > self.largest:
            raise TooLargeError(f"a message of {size} bytes is over the limit of {self.largest}")
        try:
            self._client.post(subject, data, reply, headers)
        except (nats.errors.Error, OSError) as error:
            raise mapping.of_exception(error, f"publishing to {subject}") from error

    def post_stored(
        self,
        subject: str,
        data: bytes,
        message_id: str,
        expected: int,
        settled: Callable[[int | GalerneError], None],
    ) -> None:
        """As `publish`, without waiting: `settled` gets the sequence, or what went wrong."""

        def handle(message: Message) -> None:
            self._replies.forget(reply)
            try:
                answer: int | GalerneError = stored_sequence(message, subject)
            except GalerneError as error:
                answer = error
            settled(answer)

        reply = self.expect(handle, settled, self.settings.request_timeout)
        try:
            self.post(subject, data, reply=reply, headers=conditions(message_id, expected))
        except GalerneError as error:
            self._replies.forget(reply)
            settled(error)

    async def send(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """As `post`, and waits while very much is unsent."""
        self.post(subject, data, reply=reply, headers=headers)
        if self._client.pending_data_size > CROWDED and self.connected:
            await self.flush()

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str | None = None,
        expected: int | None = None,
    ) -> int:
        """Publish to a stream and wait until it is stored; gives the sequence in the stream.

        `expected` is the sequence that the subject's last message must have (0: none yet).
        Raises ConflictError, BusyError (no room), TransientError, TooLargeError.
        """
        headers = conditions(message_id, expected)
        return stored_sequence(await self.request(subject, data, headers=headers), subject)

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        headers: dict[str, str] | None = None,
        patience: float | None = None,
    ) -> Message:
        """Send and wait `patience` seconds for the first reply. Raises TransientError without."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()

        def handle(message: Message) -> None:
            if not future.done():
                future.set_result(message)

        def fail(error: GalerneError) -> None:
            if not future.done():
                future.set_exception(error)

        reply = self.expect(handle, fail, patience or self.settings.request_timeout)
        try:
            await self.send(subject, data, reply=reply, headers=headers)
            answer = await future
        finally:
            self.forget(reply)
        check_responders(answer, subject)
        return answer

    async def api(self, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream's API (`$JS.API.<name>`). Raises what `mapping.of_api_error` says."""
        data = msgspec.json.encode(body) if body is not None else b""
        answer = await self.request(f"$JS.API.{name}", data)
        return json_object(answer, name)

    # receiving

    async def subscribe(
        self, subject: str, callback: Callable[[Message], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Call `callback` for each message, one at a time: it must not wait for long.

        What it raises is logged; it never ends the subscription.
        """

        async def on_message(message: Msg) -> None:
            try:
                await callback(_message(message))
            except Exception:
                log.exception("a subscriber failed", subject=message.subject)

        try:
            return await self._client.subscribe(subject, queue=queue, cb=on_message)  # pyright: ignore[reportUnknownMemberType] - its optional Future is untyped
        except (nats.errors.Error, OSError) as error:
            raise mapping.of_exception(error, f"subscribing to {subject}") from error

    async def listen(self, subject: str, take: Take, queue: str = "") -> Subscription:
        """Hand each message to `take` in the connection's reader. Give the result to `unlisten`."""
        try:
            return await self._client.listen(subject, take, queue)
        except (nats.errors.Error, OSError) as error:
            raise mapping.of_exception(error, f"subscribing to {subject}") from error

    def unlisten(self, subscription: Subscription) -> None:
        self._client.unlisten(subscription)

    def expect(
        self,
        handle: Callable[[Message], None],
        fail: Callable[[GalerneError], None],
        timeout: float,
    ) -> str:
        """Make a reply subject whose messages go to `handle` until `forget` or `timeout`."""
        return self._replies.expect(handle, fail, self.now() + timeout)

    def extend(self, reply: str, timeout: float) -> None:
        """Expect more messages at a reply subject, for `timeout` seconds from now."""
        self._replies.extend(reply, self.now() + timeout)

    def forget(self, reply: str) -> None:
        self._replies.forget(reply)

    def new_inbox(self) -> str:
        """A subject under which this connection alone listens; append a token of your own."""
        return f"{self._replies.inbox}-{next(self._tokens)}"

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a lost connection is back."""
        self._reconnected.append(callback)

    def off_reconnect(self, callback: Callable[[], None]) -> None:
        self._reconnected.remove(callback)

    def new_message_id(self) -> str:
        """Unique for ever: tells our own write from another writer's."""
        return f"{self._writer}-{next(self._tokens)}"

    @property
    def largest(self) -> int:
        """Bytes of the largest message that may be sent, headers included."""
        return min(self.settings.max_payload + HEADROOM, self._client.max_payload)

    @property
    def client(self) -> TolerantClient:
        """nats-py's client itself, for what else is built on it inside `galerne.bus`."""
        return self._client

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def flush(self) -> None:
        """Wait until the server has everything that was sent. Raises TransientError."""
        try:
            await self._client.flush(timeout=max(1, round(self.settings.request_timeout)))
        except (nats.errors.Error, OSError) as error:
            raise mapping.of_exception(error, "flushing") from error

    # the inside

    @asynccontextmanager
    async def open(self, name: str) -> AsyncGenerator[Self]:
        """Connect, and serve replies until the context ends; `connect` is the way in."""
        try:
            await self._connect(name)
            self.now = asyncio.get_running_loop().time
            reach("bus.connected")
            await self.listen(f"{self._replies.inbox}.*", self._replies.take)
            async with background(self._replies.sweep, self._client.carry):
                yield self
        finally:
            with anyio.move_on_after(2.0, shield=True):
                await self._client.close()

    async def _connect(self, name: str) -> None:
        urls = server_urls(self.settings.server or "")
        server = ", ".join(map(without_login, urls))
        where = f"no NATS server answers at {server}"
        advice = "start one (`galerne up` prints its URL) or give another --server"

        refused: list[Exception] = []

        said = ""

        async def on_error(error: Exception) -> None:  # must never raise: it would end the reader
            nonlocal said
            line = f"{type(error).__name__}: {error}"
            if line != said:  # a server that is away is tried ten times a second
                log.debug("nats", error=line)
            said = line
            if mapping.is_refusal(error):
                refused.append(error)

        patience = self.settings.connect_timeout
        try:
            with anyio.fail_after(patience):
                await self._client.connect(
                    urls,
                    name=name,
                    error_cb=on_error,
                    reconnected_cb=self._on_reconnected,
                    disconnected_cb=self._on_disconnected,
                    closed_cb=self._on_closed,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.1,  # type: ignore[arg-type]  # declared int, slept as float
                    connect_timeout=max(1, round(patience)),
                    ping_interval=round(PING),
                    max_outstanding_pings=2,
                    pending_size=64 * 1024 * 1024,
                    skip_subject_validation=True,
                )
        except TimeoutError as error:
            if refused:  # nats-py tries on, but no second try makes the credentials right
                raise InvalidSettingsError(f"{server} refused the credentials") from refused[0]
            raise UnavailableError(f"{where} within {patience:g} s: {advice}") from error
        except (nats.errors.NoServersError, OSError) as error:
            raise UnavailableError(f"{where}: {advice}") from error
        except ValueError:  # its words, and so its traceback, may hold a piece of the password
            raise InvalidSettingsError(
                f"{server} cannot be read as a URL; write nats://host:port, and the special "
                "characters of a password in percent form"
            ) from None
        except nats.errors.Error as error:
            raise InvalidSettingsError(f"cannot connect to {server}: {error}") from error

    async def _on_reconnected(self) -> None:
        reach("bus.reconnected")
        for callback in list(self._reconnected):
            try:
                callback()
            except Exception:
                log.exception("a listener for reconnections failed")

    async def _on_disconnected(self) -> None:
        self._replies.fail_all(UnavailableError("the connection to the NATS server was lost"))

    async def _on_closed(self) -> None:
        self._replies.fail_all(UnavailableError("the connection to the NATS server is closed"))
        self.closed.set()


HEADROOM = 128 * 1024
"""Bytes above `max_payload` that a message may have: the limit is for its content."""


@asynccontextmanager
async def connect(settings: BusSettings, name: str) -> AsyncGenerator[Bus]:
    """Connect to `settings.server`, for as long as the context lasts.

    Raises UnavailableError with the address and what to do, InvalidSettingsError for a bad URL.
    """
    if not settings.server:
        raise UnavailableError(
            "no NATS server is configured: give --server URL or set GALERNE_SERVER"
            " (`galerne up` starts one and prints its URL)"
        )
    async with Bus(TolerantClient(), settings).open(name) as bus:
        yield bus


def _message(message: Msg) -> Message:
    return Message(message.subject, message.data, message.reply, message.headers)
