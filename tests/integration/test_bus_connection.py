"""The connection: deadlines, refusals and errors that reach whoever asked, in one line."""

# What a crash leaves behind shows only inside.
# pyright: reportPrivateUsage=false

import time
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus.connection import Message, connect
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision
from galerne.errors import (
    BusyError,
    DeadlineError,
    InvalidInputError,
    InvalidSettingsError,
    TooLargeError,
    TransientError,
    UnavailableError,
)
from galerne.settings import BusSettings, Settings, TenantSettings
from integration.fleet import eventually, fleet_on, hpub, pub, raw

pytestmark = pytest.mark.anyio


async def closed_port() -> int:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        port: int = listener.extra(anyio.abc.SocketAttribute.local_port)
        return port


def one_line(error: BaseException, *words: str) -> None:
    text = str(error)
    assert "\n" not in text
    for word in words:
        assert word in text


# connecting


async def test_a_closed_port_is_unavailable_and_named() -> None:
    url = f"nats://127.0.0.1:{await closed_port()}"
    started = time.monotonic()
    with pytest.raises(UnavailableError) as raised:
        async with connect(BusSettings(server=url, connect_timeout=0.3), "a"):
            raise AssertionError("connected to nothing")
    assert time.monotonic() - started < 10
    one_line(raised.value, url, "galerne up")


async def test_a_server_that_says_nothing_is_unavailable_and_named() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        port: int = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def hold(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, hold)
            settings = BusSettings(server=f"nats://127.0.0.1:{port}", connect_timeout=0.3)
            with pytest.raises(UnavailableError) as raised:
                async with connect(settings, "a"):
                    raise AssertionError("connected to nothing")
            one_line(raised.value, str(port))
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["nats://", "http://127.0.0.1:1", "nats://host:port", "::", "a b"])
async def test_a_bad_url_is_a_bad_setting(url: str) -> None:
    with pytest.raises(InvalidSettingsError) as raised:
        async with connect(BusSettings(server=url, connect_timeout=0.3), "a"):
            raise AssertionError("connected to nothing")
    one_line(raised.value, url)


async def test_no_server_at_all_says_what_to_do() -> None:
    with pytest.raises(UnavailableError, match="GALERNE_SERVER"):
        async with connect(BusSettings(), "a"):
            raise AssertionError("connected to nothing")


async def test_wrong_credentials_are_a_bad_setting(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, jetstream_options="}\nauthorization { user: a, password: b")
    await server.start()
    try:
        url = f"nats://a:wrong@127.0.0.1:{server.port}"
        with pytest.raises(InvalidSettingsError, match="credentials") as raised:
            async with connect(BusSettings(server=url, connect_timeout=0.5), "a"):
                raise AssertionError("connected without credentials")
        assert "wrong" not in str(raised.value)
    finally:
        await server.stop()


async def test_what_the_body_raises_arrives_as_it_is(settings: Settings) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with connect(settings.bus, "a"):
            raise KeyError("mine")


async def test_cancelling_the_body_works(settings: Settings) -> None:
    with anyio.CancelScope() as scope:
        async with connect(settings.bus, "a"):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancelling_while_connecting_works() -> None:
    url = f"nats://127.0.0.1:{await closed_port()}"
    with anyio.move_on_after(0.1) as scope:
        async with connect(BusSettings(server=url, connect_timeout=30), "a"):
            raise AssertionError("connected to nothing")
    assert scope.cancelled_caught


# asking


async def test_a_request_has_a_deadline(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:

        async def mute(_: Message) -> None:
            return

        await bus.subscribe("mute", mute)
        with pytest.raises(DeadlineError):
            await bus.request("mute", b"", patience=0.05)
        assert not bus._replies


async def test_nobody_there_is_unavailable_and_named(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        with pytest.raises(UnavailableError, match="desert"):
            await bus.request("desert", b"")


async def test_a_request_is_cancelled_like_anything_else(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:

        async def mute(_: Message) -> None:
            return

        await bus.subscribe("mute", mute)
        with anyio.move_on_after(0.05) as scope:
            await bus.request("mute", b"")
        assert scope.cancelled_caught
        assert not bus._replies


async def test_what_waits_fails_when_the_server_dies(
    server: NatsServer, settings: Settings
) -> None:
    async with connect(settings.bus, "a") as bus:
        failed: list[Exception] = []

        async def mute(_: Message) -> None:
            return

        await bus.subscribe("mute", mute)

        async def ask() -> None:
            try:
                await bus.request("mute", b"", patience=60)
            except TransientError as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
            await eventually(lambda: len(bus._replies) == 20, "all are asked")
            await server.kill()
        assert len(failed) == 20
        await server.start()
        await eventually(lambda: bus.connected, "it is connected again")


async def test_a_subscriber_that_raises_goes_on(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        heard: list[bytes] = []

        async def choke(message: Message) -> None:
            heard.append(message.data)
            raise ValueError(message.data)

        await bus.subscribe("news", choke)
        for n in range(3):
            await bus.send("news", b"%d" % n)
        await eventually(lambda: len(heard) == 3, "all three are heard")
        assert heard == [b"0", b"1", b"2"]


async def test_reconnecting_tells_whoever_asked_to_know(
    server: NatsServer, settings: Settings
) -> None:
    async with connect(settings.bus, "a") as bus:
        told: list[int] = []

        def tell() -> None:
            told.append(1)

        def dies() -> None:
            raise ValueError("a listener of ours has a bug")

        bus.on_reconnect(dies)
        bus.on_reconnect(tell)
        await server.kill()
        await server.start()
        await eventually(lambda: bool(told), "the listener is told")


# sending what cannot be sent


@pytest.mark.parametrize("extra", [-200, -28, -27, 0, 1, 400_000, 2_000_000])
async def test_too_large_is_refused_and_the_connection_lives(
    settings: Settings, extra: int
) -> None:
    limit = settings.bus.max_payload + 128 * 1024
    async with fleet_on(settings) as fleet:
        subject = fleet.bus.subjects.job(fleet.address("job"), "submitted")
        data = b"x" * (limit + extra)
        try:
            await fleet.bus.publish(subject, data, message_id="m")
        except TooLargeError as error:
            assert extra > -28  # a message id takes 28 bytes of header
            one_line(error, str(limit))
        else:
            assert extra <= -28
        assert (await fleet.bus.request("$JS.API.INFO", b"")).data
        assert not fleet.bus.closed.is_set()


async def test_the_servers_own_limit_counts_too(settings: Settings) -> None:
    generous = BusSettings(server=settings.bus.server, max_payload=8 * 1024 * 1024)
    async with connect(generous, "a") as bus:
        for size in (1024 * 1024 + 1, 1024 * 1024 - 10):
            with pytest.raises(TooLargeError):
                await bus.send("somewhere", b"x" * size, headers={"Some": "header"})
        await bus.flush()
        assert not bus.closed.is_set()


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "a b",
        "a\r\nPUB b 0\r\n\r\nPUB c",
        "a..b",
        ".a",
        "a.",
        "a.*.b",
        "a.>",
        "a\tb",
        "a\x00b",
        "\ud800",
        "a." * 2500 + "a",
    ],
)
async def test_a_subject_that_is_none_is_refused_and_the_connection_lives(
    settings: Settings, subject: str
) -> None:
    async with connect(settings.bus, "a") as bus:
        with pytest.raises(InvalidInputError) as raised:
            await bus.send(subject, b"")
        one_line(raised.value)
        assert len(str(raised.value)) < 300
        with pytest.raises(InvalidInputError):
            await bus.send("fine", b"", reply=subject or " ")
        await bus.flush()
        assert not bus.closed.is_set()


# receiving what cannot be read

HOSTILE = [
    pub(b"news.\xff\xfe\xc3", b"subject that is no UTF-8"),
    hpub(b"news.a", b"", b"no header at all"),
    hpub(b"news.b", b"N", b"a header of one byte"),
    hpub(b"news.c", b"NATS/1.0", b"a cut header"),
    hpub(b"news.d", b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"a status of no number"),
    hpub(b"news.e", b"NATS/1.0 404 \xff\xfe\r\n\r\n", b"a description that is no UTF-8"),
    hpub(b"news.f", b"NATS/1.0\r\n\xff: \xfe\r\n:\r\n\r\n\r\n", b"headers that are none"),
    hpub(b"news.g", b"\x00" * 40, b"zeros"),
]


async def test_hostile_subjects_and_headers_do_not_end_the_reader(
    server: NatsServer, settings: Settings
) -> None:
    async with connect(settings.bus, "a") as bus:
        heard: list[Message] = []
        lost: list[int] = []
        bus.on_reconnect(lambda: lost.append(1))

        async def hear(message: Message) -> None:
            heard.append(message)

        await bus.subscribe("news.>", hear)
        await bus.flush()
        await raw(server.port, *HOSTILE, pub(b"news.good", b"good"))
        await eventually(lambda: any(m.data == b"good" for m in heard), "the good one is heard")
        assert heard[0].data == b"subject that is no UTF-8"
        assert heard[0].subject.startswith("news.")
        assert not lost


# a server that lacks something


async def test_jetstream_disabled_is_said(tmp_path: Path) -> None:
    class Plain(NatsServer):
        def _command(self, ports: Path) -> list[str]:
            command = super()._command(ports)
            config = Path(command[-1])
            lines = config.read_text().splitlines()
            kept = [line for line in lines if not line.startswith("jetstream")]
            config.write_text("\n".join(kept))
            return command

    server = Plain(tmp_path)
    await server.start()
    try:
        settings = Settings(bus=BusSettings(server=server.url))
        async with connect(settings.bus, "a") as bus:
            with pytest.raises(UnavailableError, match="JetStream") as raised:
                await provision(bus, settings)
            one_line(raised.value)
    finally:
        await server.stop()


async def test_no_stream_is_said(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        with pytest.raises(UnavailableError, match=r"galerne\.submit\.default"):
            await bus.publish(bus.subjects.submit("default"), b"{}")


async def test_a_full_backlog_is_busy(settings: Settings) -> None:
    bus_settings = msgspec.structs.replace(settings.bus, backlog=2)
    one: Settings = msgspec.structs.replace(settings, tenants=TenantSettings(active=1))
    small: Settings = msgspec.structs.replace(one, bus=bus_settings)
    async with fleet_on(small) as fleet:
        for job in ("in progress", "a", "b"):
            await fleet.submit(job)
        with pytest.raises(BusyError):
            await fleet.submit("c")


async def test_an_answer_that_is_none_is_an_error_of_ours(settings: Settings) -> None:
    async with connect(settings.bus, "a") as bus:
        answers: list[Any] = [b"", b"[]", b"{}", b"\xff", b'{"error": 3}', b'{"seq": "x"}']

        async def babble(message: Message) -> None:
            await bus.send(message.reply, answers.pop(0))

        await bus.subscribe("babel", babble)
        for _ in range(len(answers)):
            with pytest.raises(TransientError):
                await bus.publish("babel", b"")
