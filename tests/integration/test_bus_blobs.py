"""The store of blobs on a real server: whole or not at all, through crashes and with strangers."""

# Chunks are looked at, spoilt and delayed where only the inside sees them.
# pyright: reportPrivateUsage=false

import base64
import gc
import hashlib
import io
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore

from galerne.bus import objects as module
from galerne.bus.blobs import CHUNK, WINDOW, Blobs
from galerne.bus.connection import Bus, connect
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision
from galerne.errors import (
    InvalidInputError,
    NotFoundError,
    PermanentError,
    TooLargeError,
    TransientError,
)
from galerne.messages.blobs import Blob, Bucket, blob_name, new_blob
from galerne.settings import BusSettings, Settings

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
BUCKET = Bucket("GALERNE_BLOBS")
LIMIT = 64 * MB


@pytest.fixture
def settings(server: NatsServer) -> Settings:
    return Settings(bus=BusSettings(server=server.url, partitions=2))


@asynccontextmanager
async def blobs_on(settings: Settings, limit: int = LIMIT) -> AsyncGenerator[tuple[Blobs, Bus]]:
    async with connect(settings.bus, "blobs") as bus:
        await provision(bus, settings)
        yield Blobs(bus, limit), bus


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def blob_of(data: bytes) -> Blob:
    return new_blob(hashlib.sha256(data).hexdigest(), len(data))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def state(bus: Bus) -> dict[str, Any]:
    body = {"subjects_filter": ">"}
    found: dict[str, Any] = (await bus.api(f"STREAM.INFO.{BUCKET.stream}", body))["state"]
    return found


async def subjects(bus: Bus, letter: str) -> list[str]:
    """Those of chunks (C) or descriptions (M)."""
    head = f"$O.{BUCKET.name}.{letter}."
    counts: dict[str, int] = (await state(bus)).get("subjects") or {}
    return [one for one in counts if one.startswith(head)]


async def foreign(bus: Bus) -> ObjectStore:
    """NATS's own client of the Object Store."""
    client: Any = bus._client
    store: ObjectStore = await client.jetstream().object_store(BUCKET.name)
    return store


def at_publish(bus: Bus, number: int, doing: Callable[[], Awaitable[None]]) -> None:
    """Before the publish with that number, do something."""
    publish, count = bus.publish, 0

    async def counting(subject: str, data: bytes, **options: Any) -> int:
        nonlocal count
        count += 1
        if count == number:
            await doing()
        return await publish(subject, data, **options)

    bus.publish = counting  # type: ignore[method-assign]


SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * WINDOW, 40 * MB]


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_put_is_got(settings: Settings, tmp_path: Path, size: int) -> None:
    data = content(size)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    async with blobs_on(settings) as (blobs, bus):
        blob = await blobs.put_file("t", "j", source, name="a.bin", media="x/y")
        assert blob == msgspec.structs.replace(blob_of(data), name="a.bin", media="x/y")
        assert await blobs.exists("t", "j", blob)
        await blobs.get_to("t", "j", blob, target)
        assert target.read_bytes() == data
        assert await blobs.read("t", "j", blob, 10) == data[:10]
        assert await blobs.read("t", "j", blob, size) == data
        assert files_in(tmp_path) == ["nats", "source", "target"]
        # and NATS's own client reads it
        got = await (await foreign(bus)).get(blob_name("t", "j", blob.sha256))
        assert got.data == data
        assert await blobs.collect("t", "j") == 1
        assert not await blobs.exists("t", "j", blob)
        assert (await state(bus))["bytes"] == 0


async def test_bytes_and_streams_give_the_same_object(settings: Settings, tmp_path: Path) -> None:
    data = content(3 * MB)
    pieces = [data[n : n + 100_001] for n in range(0, len(data), 100_001)]

    async def slowly() -> AsyncIterator[bytes]:
        for piece in pieces:
            await anyio.lowlevel.checkpoint()
            yield piece

    async with blobs_on(settings) as (blobs, bus):
        first = await blobs.put_bytes("t", "j", data)
        before = await state(bus)
        assert await blobs.put_stream("t", "j", slowly(), folder=tmp_path) == first
        assert await blobs.put_stream("t", "j", pieces, folder=tmp_path) == first
        assert await state(bus) == before  # nothing was sent again
        other = await blobs.put_stream("t", "other", pieces, folder=tmp_path)
        assert await blobs.read("t", "other", other, 4 * MB) == data
        assert files_in(tmp_path) == ["nats"]


async def test_the_layout_is_the_documented_one(settings: Settings) -> None:
    """ADR-20 of NATS: any client of the Object Store finds what it expects."""
    data = content(CHUNK * 2 + 5)
    async with blobs_on(settings) as (blobs, bus):
        blob = await blobs.put_bytes("t", "j", data)
        name = blob_name("t", "j", blob.sha256)
        [meta] = await subjects(bus, "M")
        assert meta == f"$O.GALERNE_BLOBS.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
        answer = await bus.api(f"STREAM.MSG.GET.{BUCKET.stream}", {"last_by_subj": meta})
        info = msgspec.json.decode(base64.b64decode(answer["message"]["data"]))
        [chunks] = await subjects(bus, "C")
        assert chunks == f"$O.GALERNE_BLOBS.C.{info['nuid']}"
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
        assert info == {
            "name": name,
            "bucket": "GALERNE_BLOBS",
            "nuid": info["nuid"],
            "size": len(data),
            "chunks": 3,
            "digest": f"SHA-256={digest}",
            "options": {"max_chunk_size": CHUNK},
        }
        listed = await (await foreign(bus)).list()
        assert [one.name for one in listed] == [name]


async def test_what_natss_own_client_wrote_is_read_and_collected(settings: Settings) -> None:
    data = content(MB)
    blob = blob_of(data)
    async with blobs_on(settings) as (blobs, bus):
        theirs = await foreign(bus)
        await theirs.put(blob_name("t", "j", blob.sha256), io.BytesIO(data))
        assert await blobs.exists("t", "j", blob)
        assert await blobs.read("t", "j", blob, MB) == data
        before = await state(bus)
        assert await blobs.put_bytes("t", "j", data) == blob
        assert await state(bus) == before
        assert [(one.job, one.size) for one in await blobs.jobs()] == [("j", MB)]
        assert await blobs.collect("t", "j") == 1
        assert (await state(bus))["bytes"] == 0


async def test_what_natss_own_client_deleted_can_be_put_again(settings: Settings) -> None:
    data = content(MB)
    async with blobs_on(settings) as (blobs, bus):
        blob = await blobs.put_bytes("t", "j", data)
        theirs = await foreign(bus)
        await theirs.delete(blob_name("t", "j", blob.sha256))
        assert not await blobs.exists("t", "j", blob)
        with pytest.raises(NotFoundError):
            await blobs.read("t", "j", blob, 1)
        await blobs.put_bytes("t", "j", data)
        assert await blobs.read("t", "j", blob, MB) == data
        assert (await theirs.get(blob_name("t", "j", blob.sha256))).data == data


# limits and names


async def test_what_is_above_the_limit_is_refused_before_a_byte_is_sent(
    settings: Settings, tmp_path: Path
) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(bytes(2 * MB + 1))
    given = 0

    def endless() -> Any:
        nonlocal given
        while True:
            given += 1
            yield bytes(MB)

    async with blobs_on(settings, limit=2 * MB) as (blobs, bus):
        with pytest.raises(TooLargeError, match=r"big\.bin has 2\.0 MB \(2097153 bytes\).* 2 MB"):
            await blobs.put_file("t", "j", source)
        with pytest.raises(TooLargeError, match="limit of 2 MB"):
            await blobs.put_bytes("t", "j", bytes(3 * MB))
        with pytest.raises(TooLargeError, match="limit of 2 MB"):
            await blobs.put_stream("t", "j", endless(), folder=tmp_path)
        assert given == 3
        assert (await state(bus))["last_seq"] == 0
        await blobs.put_bytes("t", "j", bytes(2 * MB))


@pytest.mark.parametrize("token", ["", "a.b", "*", ">", "a b", "..", "x" * 65])
async def test_hostile_names_reach_no_subject(
    settings: Settings, tmp_path: Path, token: str
) -> None:
    async with blobs_on(settings) as (blobs, bus):
        kept = await blobs.put_bytes("t", "j", b"kept")
        for tenant, job in ((token, "j"), ("t", token)):
            with pytest.raises(InvalidInputError):
                await blobs.put_bytes(tenant, job, b"x")
            with pytest.raises(InvalidInputError):
                await blobs.get_to(tenant, job, kept, tmp_path / "x")
            with pytest.raises(InvalidInputError):
                await blobs.collect(tenant, job)
        with pytest.raises(InvalidInputError):
            await blobs.put_bytes("t", "j", b"x", name=f"../{token}")
        with pytest.raises(InvalidInputError):
            await blobs.read("t", "j", Blob(f"{token}.>", 4), 4)
        assert await blobs.read("t", "j", kept, 4) == b"kept"
        assert (await state(bus))["last_seq"] == 2


async def test_files_that_cannot_be_used_are_named(settings: Settings, tmp_path: Path) -> None:
    async with blobs_on(settings) as (blobs, _):
        with pytest.raises(InvalidInputError, match=r"cannot read .*missing"):
            await blobs.put_file("t", "j", tmp_path / "missing")
        with pytest.raises(InvalidInputError, match="cannot read"):
            await blobs.put_file("t", "j", tmp_path)
        blob = await blobs.put_bytes("t", "j", b"x")
        with pytest.raises(PermanentError, match=r"cannot write .*nowhere"):
            await blobs.get_to("t", "j", blob, tmp_path / "nowhere" / "x")


async def test_a_file_that_changes_meanwhile_is_not_stored(
    settings: Settings, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(content(8 * MB))
    async with blobs_on(settings) as (blobs, bus):

        async def change() -> None:
            source.write_bytes(content(8 * MB, seed=1))

        at_publish(bus, 3, change)
        with pytest.raises(InvalidInputError, match="changed while"):
            await blobs.put_file("t", "j", source)
        assert (await state(bus))["bytes"] == 0


# missing and damaged


async def test_missing_and_damaged_content_leaves_nothing_at_the_target(
    settings: Settings, tmp_path: Path
) -> None:
    data = content(CHUNK * 3)
    target = tmp_path / "target"
    target.write_bytes(b"what was there")
    async with blobs_on(settings) as (blobs, bus):

        async def refused(kind: type[Exception], words: str) -> None:
            with anyio.fail_after(20), pytest.raises(kind, match=words):
                await blobs.get_to("t", "j", blob, target)
            assert target.read_bytes() == b"what was there"
            assert files_in(tmp_path) == ["nats", "target"]

        blob = blob_of(data)
        await refused(NotFoundError, "not in the store")
        await blobs.put_bytes("t", "j", data)
        [chunks] = await subjects(bus, "C")
        body = {"next_by_subj": chunks, "seq": 2}
        second = (await bus.api(f"STREAM.MSG.GET.{BUCKET.stream}", body))["message"]["seq"]
        await bus.api(f"STREAM.MSG.DELETE.{BUCKET.stream}", {"seq": second, "no_erase": False})
        await refused(NotFoundError, "chunks of .* are missing")
        await bus.publish(chunks, content(CHUNK, seed=9))
        await refused(PermanentError, "damaged.*hash is")
        await bus.publish(chunks, b"one too many")
        lying = Blob(blob.sha256, blob.size + 1)
        with pytest.raises(NotFoundError, match="something else"):
            await blobs.get_to("t", "j", lying, target)
        await bus.api(f"STREAM.PURGE.{BUCKET.stream}", {"filter": chunks})
        await refused(NotFoundError, "chunks of .* are missing")
        # a put sees that it is not whole, and mends it
        await blobs.put_bytes("t", "j", data)
        await blobs.get_to("t", "j", blob, target)
        assert target.read_bytes() == data


async def test_a_chunk_that_is_too_long_is_damage(settings: Settings, tmp_path: Path) -> None:
    data = content(1000)
    async with blobs_on(settings) as (blobs, bus):
        blob = await blobs.put_bytes("t", "j", data)
        [chunks] = await subjects(bus, "C")
        await bus.api(f"STREAM.PURGE.{BUCKET.stream}", {"filter": chunks})
        await bus.publish(chunks, data + b"!")
        with pytest.raises(PermanentError, match="longer than it says"):
            await blobs.read("t", "j", blob, 1000)


async def test_a_description_that_is_none_is_replaced(settings: Settings) -> None:
    async with blobs_on(settings) as (blobs, bus):
        blob = blob_of(b"data")
        subject = BUCKET.info(blob_name("t", "j", blob.sha256))
        for junk in (b"", b"\xff", b"{}", b'{"name":1}', b"[" * 10_000):
            await bus.publish(subject, junk)
            assert not await blobs.exists("t", "j", blob)
            with pytest.raises(NotFoundError):
                await blobs.read("t", "j", blob, 4)
            await blobs.jobs()
        await blobs.put_bytes("t", "j", b"data")
        assert await blobs.read("t", "j", blob, 4) == b"data"


# side by side


async def test_the_same_content_put_at_once_is_there_once(settings: Settings) -> None:
    data = content(5 * MB)
    async with blobs_on(settings) as (blobs, bus), connect(settings.bus, "second") as second:
        others = Blobs(second, LIMIT)
        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon((blobs, others)[n % 2].put_bytes, "t", "j", data)
        assert await blobs.read("t", "j", blob_of(data), len(data)) == data
        assert len(await subjects(bus, "M")) == len(await subjects(bus, "C")) == 1
        assert (await state(bus))["bytes"] < len(data) + 100_000


async def test_a_cancelled_put_leaves_no_object_and_no_chunks(settings: Settings) -> None:
    data = content(30 * MB)
    async with blobs_on(settings) as (blobs, bus):
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                scope.cancel()

            at_publish(bus, 40, cancel)
            await blobs.put_bytes("t", "j", data)
        assert scope.cancelled_caught
        assert (await state(bus))["bytes"] == 0
        assert not await blobs.exists("t", "j", blob_of(data))
        await blobs.put_bytes("t", "j", data)
        assert await blobs.read("t", "j", blob_of(data), len(data)) == data


async def test_a_put_cancelled_while_it_commits_is_whole(settings: Settings) -> None:
    data = content(MB)
    async with blobs_on(settings) as (blobs, bus):
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                scope.cancel()

            at_publish(bus, 5, cancel)  # four chunks, then the description
            await blobs.put_bytes("t", "j", data)
        assert await blobs.read("t", "j", blob_of(data), MB) == data


async def test_a_cancelled_get_leaves_no_file(settings: Settings, tmp_path: Path) -> None:
    data = content(20 * MB)
    async with blobs_on(settings) as (blobs, bus):
        blob = await blobs.put_bytes("t", "j", data)
        send, batches = bus.send, 0
        with anyio.CancelScope() as scope:

            async def counting(subject: str, payload: bytes, **options: Any) -> None:
                nonlocal batches
                batches += ".DIRECT.GET." in subject
                if batches == 3:
                    scope.cancel()
                await send(subject, payload, **options)

            bus.send = counting  # type: ignore[method-assign, assignment]
            await blobs.get_to("t", "j", blob, tmp_path / "target")
        assert scope.cancelled_caught
        assert files_in(tmp_path) == ["nats"]


# crashes


async def test_a_put_survives_a_kill_of_the_server(
    server: NatsServer, settings: Settings, tmp_path: Path
) -> None:
    data = content(40 * MB)
    source = tmp_path / "source"
    source.write_bytes(data)
    async with blobs_on(settings) as (blobs, bus):

        async def crash() -> None:
            await server.kill()
            await server.start()

        at_publish(bus, 70, crash)
        with anyio.fail_after(60):
            blob = await blobs.put_file("t", "j", source)
        await blobs.get_to("t", "j", blob, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data
        assert len(await subjects(bus, "M")) == 1
        assert await blobs.collect("t", "j") == 1
        assert (await state(bus))["bytes"] == 0


async def test_a_put_survives_a_kill_before_its_description(
    server: NatsServer, settings: Settings
) -> None:
    data = content(MB)
    async with blobs_on(settings) as (blobs, bus):

        async def crash() -> None:
            await server.kill()
            await server.start()

        at_publish(bus, 5, crash)
        with anyio.fail_after(60):
            blob = await blobs.put_bytes("t", "j", data)
        assert await blobs.read("t", "j", blob, MB) == data
        assert len(await subjects(bus, "M")) == len(await subjects(bus, "C")) == 1


async def test_a_get_survives_a_kill_of_the_server(
    server: NatsServer, settings: Settings, tmp_path: Path
) -> None:
    data = content(40 * MB)
    async with blobs_on(settings) as (blobs, bus):
        blob = await blobs.put_bytes("t", "j", data)
        send, batches = bus.send, 0

        async def counting(subject: str, payload: bytes, **options: Any) -> None:
            nonlocal batches
            batches += ".DIRECT.GET." in subject
            await send(subject, payload, **options)
            if batches == 4:
                batches += 1
                await server.kill()
                await server.start()

        bus.send = counting  # type: ignore[method-assign, assignment]
        with anyio.fail_after(60):
            await blobs.get_to("t", "j", blob, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data
        assert batches > 5


async def test_a_server_that_stays_away_is_transient(
    server: NatsServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OUTAGE", 0.5)
    quick = msgspec.structs.replace(
        settings, bus=msgspec.structs.replace(settings.bus, request_timeout=0.3)
    )
    async with blobs_on(quick) as (blobs, bus):
        blob = await blobs.put_bytes("t", "j", b"data")
        at_publish(bus, 5, server.kill)
        with anyio.fail_after(30):
            with pytest.raises(TransientError):
                await blobs.put_bytes("t", "j", content(8 * MB))
            with pytest.raises(TransientError):
                await blobs.get_to("t", "j", blob, tmp_path / "target")
            with pytest.raises(TransientError):
                await blobs.exists("t", "j", blob)
            with pytest.raises(TransientError):
                await blobs.collect("t", "j")
            with pytest.raises(TransientError):
                await blobs.jobs()
        assert files_in(tmp_path) == ["nats"]


# collecting


async def test_collecting_takes_one_job_and_leaves_the_others(settings: Settings) -> None:
    async with blobs_on(settings) as (blobs, bus):
        kept = [
            (*address, await blobs.put_bytes(*address, b"same"))
            for address in (("t", "j2"), ("t2", "j"), ("t", "j-1"))
        ]
        before = (await state(bus))["bytes"]
        async with anyio.create_task_group() as tasks:
            for n in range(40):
                tasks.start_soon(blobs.put_bytes, "t", "j", content(50_000, seed=n))
        orphan = BUCKET.chunks(f"{blob_name('t', 'j', 'a' * 64)}.killed")
        await bus.publish(orphan, bytes(1000))  # as a killed process leaves one behind
        assert await blobs.collect("t", "j") == 40
        assert (await state(bus))["bytes"] == before
        assert await blobs.collect("t", "j") == 0
        for tenant, job, blob in kept:
            assert await blobs.read(tenant, job, blob, 4) == b"same"


async def test_what_lies_there_is_listed_by_job(settings: Settings) -> None:
    async with blobs_on(settings) as (blobs, bus):
        assert await blobs.jobs() == []
        await blobs.put_bytes("t", "first", content(1000))
        await blobs.put_bytes("t", "first", content(2000))
        await blobs.put_bytes("t", "empty", b"")
        await bus.publish(BUCKET.chunks(f"{blob_name('u', 'gone', 'a' * 64)}.killed"), bytes(10))
        await (await foreign(bus)).put("something else", b"not ours")
        held = await blobs.jobs()
        found = [(one.tenant, one.job, one.size) for one in held]
        assert found == [("t", "first", 3000), ("t", "empty", 0), ("u", "gone", CHUNK)]
        assert all(one.since > 1_700_000_000 for one in held)
        for one in held:
            await blobs.collect(one.tenant, one.job)
        assert await blobs.jobs() == []


async def test_many_objects_are_listed_whole(settings: Settings) -> None:
    async with blobs_on(settings) as (blobs, _):
        limiter = anyio.CapacityLimiter(32)

        async def put(n: int) -> None:
            async with limiter:
                await blobs.put_bytes("t", f"j{n % 50}", str(n).encode())

        async with anyio.create_task_group() as tasks:
            for n in range(600):
                tasks.start_soon(put, n)
        held = await blobs.jobs()
        assert len(held) == 50
        assert sum(one.size for one in held) == sum(len(str(n)) for n in range(600))
        assert await blobs.collect("t", "j7") == 12


# size


def memory(field: str) -> float:
    """MB; `VmRSS` now, `VmHWM` the most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's memory peak")
async def test_256_megabytes_pass_without_being_held(settings: Settings, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for n in range(256):
            piece = content(MB, seed=n)
            digest.update(piece)
            file.write(piece)
    async with blobs_on(settings, limit=256 * MB) as (blobs, bus):
        gc.collect()
        reset_peak()
        before = memory("VmRSS")
        blob = await blobs.put_file("t", "j", source)
        await blobs.get_to("t", "j", blob, target)
        assert memory("VmHWM") - before < 60
        assert blob == Blob(digest.hexdigest(), 256 * MB)
        with target.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == blob.sha256
        assert await blobs.collect("t", "j") == 1
        assert (await state(bus))["bytes"] == 0
        with pytest.raises(ObjectNotFoundError):
            await (await foreign(bus)).get_info(blob_name("t", "j", blob.sha256))
