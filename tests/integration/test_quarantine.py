"""The quarantine in a person's hands: listed, read, sent again, dropped, by name and in numbers."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from galerne.bus.server import NatsServer
from galerne.bus.store import unix_time
from galerne.cli.main import main
from galerne.client import Client, Quarantine
from galerne.errors import InvalidInputError, NotFoundError, TooLargeError, UnavailableError
from galerne.messages.codec import decode_submit, encode
from galerne.messages.live import Quarantined
from galerne.messages.requests import Cancel, Submit
from galerne.settings import Settings
from integration.fleet import Fleet, echoing, fleet_on, planning, task, until

pytestmark = pytest.mark.anyio

GOOD = encode(Submit(goal="g", job="mended"))


@asynccontextmanager
async def kept(
    settings: Settings, *messages: tuple[str, bytes]
) -> AsyncGenerator[tuple[Fleet, Quarantine]]:
    """A provisioned bus whose quarantine holds these messages, by subject after the prefix."""
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        for subject, data in messages:
            await keep(fleet, subject, data)
        yield fleet, client.quarantine


async def keep(fleet: Fleet, subject: str, data: bytes) -> int:
    """As a worker does it; gives the record's number."""
    record = Quarantined(
        subject=f"galerne.{subject}", error=f"bad {data[:9]!r}", data=data, by="w", at=1.0
    )
    place = fleet.bus.subjects.quarantine(subject.partition(".")[0])
    return await fleet.bus.publish(place, encode(record))


async def numbers(quarantine: Quarantine) -> list[int]:
    return [entry.number for entry in await quarantine.newest(1000)]


async def queued(fleet: Fleet) -> list[tuple[str, bytes]]:
    """What waits in the SUBMIT stream."""
    stream = fleet.bus.subjects.stream("SUBMIT")
    state = (await fleet.bus.api(f"STREAM.INFO.{stream}"))["state"]
    found: list[tuple[str, bytes]] = []
    for sequence in range(max(1, state["first_seq"]), state["last_seq"] + 1):
        message = (await fleet.bus.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence}))["message"]
        found.append((message["subject"], msgspec.convert(message["data"], bytes)))
    return found


# reading


async def test_the_newest_come_first_and_gaps_do_no_harm(settings: Settings) -> None:
    messages = [(f"ev.0.default.job.done.{n}", b"%d" % n) for n in range(1, 13)]
    async with kept(settings, *messages) as (_, quarantine):
        assert await numbers(quarantine) == list(range(12, 0, -1))
        for number in (1, 5, 6, 12):
            await quarantine.drop(number)
        entries = await quarantine.newest(4)
        assert [entry.number for entry in entries] == [11, 10, 9, 8]
        assert await numbers(quarantine) == [11, 10, 9, 8, 7, 4, 3, 2]
        newest = entries[0]
        assert (newest.origin, newest.subject) == ("ev", "galerne.ev.0.default.job.done.11")
        assert (newest.error, newest.by, newest.size) == ("bad b'11'", "w", 2)
        assert newest.at > 1_700_000_000  # when it came into the stream, not what it says itself


async def test_a_record_has_its_bytes(settings: Settings) -> None:
    data = bytes(range(256)) * 100
    async with kept(settings, ("submit.default", data)) as (_, quarantine):
        record = await quarantine.get(1)
        assert (record.data, record.size, record.readable) == (data, len(data), True)
        for number in (0, -1, 2, 10**18):
            with pytest.raises(NotFoundError, match="no record"):
                await quarantine.get(number)
            with pytest.raises(NotFoundError, match="no record"):
                await quarantine.drop(number)


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"{}", b"[" * 5000, b'{"type":"quarantined"}'])
async def test_what_is_no_record_is_shown_as_such_and_can_be_dropped(
    settings: Settings, data: bytes
) -> None:
    async with kept(settings) as (fleet, quarantine):
        await fleet.bus.publish("galerne.quarantine.a.b", data)
        (entry,) = await quarantine.newest()
        assert not entry.readable
        assert (entry.origin, entry.subject) == ("a.b", "galerne.quarantine.a.b")
        assert "not a quarantine record" in entry.error
        assert (await quarantine.get(1)).data == data
        with pytest.raises(InvalidInputError, match="quarantine drop 1"):
            await quarantine.requeue(1, GOOD)
        await quarantine.drop(1)
        assert await numbers(quarantine) == []


async def test_without_a_fleet_it_says_so(settings: Settings) -> None:
    async with Client.connect(settings=settings.bus) as client:
        for ask in (client.quarantine.newest, lambda: client.quarantine.get(1)):
            with pytest.raises(UnavailableError, match="no fleet was ever started"):
                await ask()


async def test_a_limit_below_one_is_refused(settings: Settings) -> None:
    async with kept(settings) as (_, quarantine):
        with pytest.raises(InvalidInputError, match="limit is 0"):
            await quarantine.newest(0)


# sending again


async def test_a_mended_submission_is_done(settings: Settings) -> None:
    """The whole way: refused by a coordinator, mended by a person, done by the fleet."""
    async with kept(settings) as (fleet, quarantine):
        await fleet.coordinator()
        await fleet.planner(planning(task("one")))
        await fleet.worker(echoing)
        await fleet.submit_bytes(b'{"type":"submit","goal":7}')
        await until(lambda: quarantine.newest(1), "it is kept")
        with pytest.raises(InvalidInputError, match=r"cannot be used as it is.*--data FILE"):
            await quarantine.requeue(1)
        assert await quarantine.requeue(1, GOOD) == "galerne.submit.default"
        assert (await fleet.end("mended")).status == "succeeded"
        assert await numbers(quarantine) == []


async def test_bytes_are_sent_as_they_are(settings: Settings) -> None:
    command = encode(Cancel(job="late"))
    odd = b' {"goal":"g", "job":"odd","type":"submit"}\n'
    messages = [("command.acme", command), ("submit.acme", odd)]
    async with kept(settings, *messages) as (fleet, quarantine):
        assert await quarantine.requeue(1) == "galerne.command.acme"
        assert await quarantine.requeue(2) == "galerne.submit.acme"
        assert await queued(fleet) == [
            ("galerne.command.acme", command),
            ("galerne.submit.acme", odd),
        ]
        assert await numbers(quarantine) == []


async def test_sending_the_same_again_is_once(settings: Settings) -> None:
    """A requeue that died before it dropped its record, or two people at the same time."""
    async with kept(settings, ("submit.default", GOOD)) as (fleet, quarantine):

        async def unable(number: int) -> None:
            raise UnavailableError("away")

        drop, quarantine.drop = quarantine.drop, unable  # type: ignore[method-assign]
        with pytest.raises(UnavailableError):
            await quarantine.requeue(1)
        quarantine.drop = drop  # type: ignore[method-assign]
        assert await numbers(quarantine) == [1]
        await quarantine.requeue(1)
        assert [data for _, data in await queued(fleet)] == [GOOD]
        with pytest.raises(NotFoundError):
            await quarantine.requeue(1)


@pytest.mark.parametrize(
    ("subject", "instead"),
    [
        ("task.executor.normal.default.job.1", "submit its job again under another id"),
        ("ev.0.default.job.done.1", "written once"),
        ("tool.look", "calls again by itself"),
        ("tj.default.job.1.1.claim", "tool workers alone"),
        ("presence.tools", "nobody waits"),
        ("submitx.default", "nobody waits"),
    ],
)
async def test_other_messages_are_refused_with_what_to_do(
    settings: Settings, subject: str, instead: str
) -> None:
    async with kept(settings, (subject, GOOD)) as (fleet, quarantine):
        with pytest.raises(InvalidInputError, match=instead) as refused:
            await quarantine.requeue(1)
        assert "quarantine drop 1" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert await queued(fleet) == []
        assert await numbers(quarantine) == [1]


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        ("submit.default", b"\xff"),
        ("submit.default", encode(Submit(goal=" ", job="x"))),
        ("submit.default", encode(Submit(goal="g"))),
        ("submit.default", encode(Submit(goal="g", job="a.b"))),
        ("submit.default", encode(Submit(goal="g", job="x", tools=("a b",)))),
        ("submit.default", encode(Cancel(job="x"))),
        ("submit.a.b", GOOD),
        ("submit.>", GOOD),
        ("submit", GOOD),
        ("command.default", GOOD),
        ("command.default", encode(Cancel(job="*"))),
    ],
)
async def test_what_a_coordinator_would_refuse_is_not_sent(
    settings: Settings, subject: str, data: bytes
) -> None:
    async with kept(settings, (subject, b"\xff")) as (fleet, quarantine):
        with pytest.raises(InvalidInputError):
            await quarantine.requeue(1, data)
        assert await queued(fleet) == []
        assert await numbers(quarantine) == [1]


async def test_a_message_above_the_limit_names_it(settings: Settings) -> None:
    async with kept(settings, ("submit.default", b"")) as (_, quarantine):
        big = encode(Submit(goal="g" * settings.bus.max_payload, job="x"))
        with pytest.raises(TooLargeError, match=str(settings.bus.max_payload)):
            await quarantine.requeue(1, big)


async def test_a_used_up_id_is_refused(settings: Settings) -> None:
    """A coordinator ends the job of a bad message; the same id again would be passed over."""
    async with kept(settings) as (fleet, quarantine):
        await fleet.coordinator()
        await fleet.submit_bytes(b'{"type":"submit","job":"mended","goal":7}')
        await fleet.end("mended")
        await until(lambda: quarantine.newest(1), "it is kept")
        with pytest.raises(InvalidInputError, match="another id"):
            await quarantine.requeue(1, GOOD)
        other = msgspec.structs.replace(decode_submit(GOOD), job="other")
        await quarantine.requeue(1, encode(other))
        await until(lambda: fleet.find("other", "submitted"), "it is admitted")


# dropping


async def test_all_of_an_origin_are_dropped(settings: Settings) -> None:
    messages = [("ev.0.x", b"1"), ("tool.a", b"2"), ("ev.0.y", b"3"), ("tool.b", b"4")]
    async with kept(settings, *messages) as (_, quarantine):
        assert await quarantine.clear(origin="tool") == 2
        assert await numbers(quarantine) == [3, 1]
        assert await quarantine.clear(origin="nothing") == 0
        with pytest.raises(InvalidInputError):
            await quarantine.clear(origin="a.>")
        assert await quarantine.clear() == 2
        assert await quarantine.clear() == 0
        assert await numbers(quarantine) == []


async def test_those_from_before_a_time_are_dropped(settings: Settings) -> None:
    async with kept(settings) as (fleet, quarantine):
        stream = fleet.bus.subjects.stream("QUARANTINE")
        times: list[float] = []
        for n in range(9):
            sequence = await keep(fleet, "ev.0.x" if n % 2 else "tool.x", b"%d" % n)
            answer = await fleet.bus.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence})
            times.append(unix_time(answer["message"]["time"]))
        await quarantine.drop(2)
        await quarantine.drop(5)
        assert await quarantine.clear(before=times[0]) == 0
        assert await quarantine.clear(before=times[3]) == 2
        assert await numbers(quarantine) == [9, 8, 7, 6, 4]
        assert await quarantine.clear(origin="ev", before=times[7]) == 2
        assert await numbers(quarantine) == [9, 8, 7]
        assert await quarantine.clear(before=times[-1] + 1) == 3


async def test_a_restarted_server_is_waited_for(settings: Settings, server: NatsServer) -> None:
    async with kept(settings, ("submit.default", GOOD), ("ev.x", b"")) as (fleet, quarantine):
        await server.kill()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.start)
            assert await numbers(quarantine) == [2, 1]
        await server.kill()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.start)
            await quarantine.requeue(1)
        assert [data for _, data in await queued(fleet)] == [GOOD]
        assert await numbers(quarantine) == [2]


# the command


async def test_the_command_does_it_all(
    settings: Settings,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = b'{"type":"submit","goal":"\x1b[2J' + b"x" * 200
    messages = [("submit.default", hostile), ("ev.0.x", b"\xff\x00"), ("tool.x", b"")]

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GALERNE_BUS_PARTITIONS", str(settings.bus.partitions))
    # Only a main thread may listen for signals, and this one has the fleet.
    monkeypatch.setattr("galerne.cli.runner.run_command", anyio.run)

    async def command(*arguments: str) -> tuple[int, str, str]:
        where = ("--server", settings.bus.server or "")
        capfd.readouterr()
        code = await anyio.to_thread.run_sync(main, ["quarantine", *arguments, *where])
        printed = capfd.readouterr()
        assert "\x1b" not in printed.out + printed.err
        return code, printed.out, printed.err

    async with kept(settings, *messages) as (fleet, quarantine):
        code, out, err = await command("list")
        assert (code, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()] == ["number", "3", "2", "1"]
        assert all(len(line) <= 80 for line in out.splitlines())
        code, out, _ = await command("list", "--json", "--limit", "1")
        (entry,) = json.loads(out)
        assert (entry["number"], entry["origin"], entry["size"]) == (3, "tool", 0)
        assert "data" not in entry

        code, out, _ = await command("show", "1")
        assert '"goal":"\\x1b[2Jxxx' in out
        code, out, _ = await command("show", "2")
        assert out.endswith("|..|\n")
        code, out, _ = await command("show", "2", "--json")
        assert json.loads(out)["data"] == "/wA="
        file = tmp_path / "message"
        assert await command("show", "1", "--data", str(file)) == (0, "", "")
        assert file.read_bytes() == hostile
        code, out, err = await command("show", "9")
        assert (code, out) == (1, "")
        assert "no record 9" in err

        code, out, err = await command("requeue", "1")
        assert (code, out) == (2, "")
        assert "--data FILE" in err
        file.write_bytes(GOOD)
        code, out, err = await command("requeue", "1", "--data", str(file))
        assert (code, out) == (0, "")
        assert "galerne.submit.default" in err
        assert [data for _, data in await queued(fleet)] == [GOOD]

        code, out, err = await command("drop", "2", "7")
        assert code == 1
        assert await numbers(quarantine) == [3]
        code, out, err = await command("drop", "--older-than", "1h", "--json")
        assert json.loads(out) == {"dropped": 0}
        code, out, err = await command("drop", "--all")
        assert err == "galerne: 1 record was dropped\n"
        code, out, err = await command("list")
        assert (code, out, err) == (0, "", "galerne: the quarantine is empty\n")
