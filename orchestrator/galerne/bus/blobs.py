"""The store of blobs: content too large for a message, in NATS's Object Store, per job.

A put reads its source twice: once for the hash, which is the name, and once to send it. Nobody
sees an object before its description stands, which is written once, after all of its chunks:

    hash ─▶ stands already? ─▶ chunks, a window at a time, in order ─▶ description ─▶ done
              └─▶ done            └─ the server went away: again, as another writer's chunks

Two who put the same content write chunks apart; the first description stands, and the other
takes its own chunks back. What a killed process leaves are chunks without a description, under
the job's name, and they go with the job (`collect`). A get writes beside its target, compares the
hash, and renames. At most a window of content is in memory, in both directions.

nats-py's own object store is not used: it awaits each chunk and costs more CPU, waits without a
deadline for an ordered consumer's chunks, and purges the old chunks under whoever reads them.
"""

import hashlib
import io
import os
import secrets
from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import msgspec

from galerne.bus import store
from galerne.bus.blob_files import (
    each_piece,
    from_start,
    hash_file,
    readable,
    scratch,
    sync,
    take_window,
    writable,
    write_pieces,
)
from galerne.bus.connection import Bus
from galerne.bus.objects import ObjectInfo, Objects, patiently
from galerne.errors import (
    GalerneError,
    InvalidInputError,
    NotFoundError,
    PermanentError,
    TransientError,
    UnavailableError,
)
from galerne.logs import get_logger
from galerne.messages.blobs import (
    Blob,
    Bucket,
    blob_name,
    check_size,
    chunk_id,
    digest_of,
    name_of_chunks,
    new_blob,
    parse_blob_name,
)
from galerne.messages.ids import JobId, TenantId, check_id

log = get_logger("galerne.bus.blobs")

CHUNK = 256 * 1024
"""Bytes of a message; the Object Store's usual 128 kB cost a quarter more CPU in a put and two
fifths more in a get."""
WINDOW = 16
"""Chunks under way at once, in both directions: 4 MB in memory."""
COMMIT = 20.0
"""Seconds that the description may take once the chunks stand; it is not cut short."""
TAKE_BACK = 2.0
"""Seconds for taking chunks back that came to nothing; what is left goes with the job."""
AT_ONCE = 16
"""Objects that are deleted side by side."""


class Held(msgspec.Struct, frozen=True):
    """What lies here for a job: `size` in bytes, `since` the Unix time of the oldest."""

    tenant: TenantId
    job: JobId
    size: int
    since: float


class Blobs:
    """Puts and gets blobs of up to `limit` bytes over one connection."""

    def __init__(self, bus: Bus, limit: int) -> None:
        self._bus = bus
        self._limit = limit
        self._bucket = Bucket(bus.subjects.stream("BLOBS"))
        self._objects = Objects(bus, self._bucket)
        self._chunk = min(CHUNK, bus.settings.max_payload)

    # putting

    async def put_file(
        self,
        tenant: str,
        job: str,
        path: Path,
        *,
        name: str | None = None,
        media: str | None = None,
    ) -> Blob:
        """Store a file's content; `name` goes with it where it is given.

        Raises TooLargeError before anything is sent, InvalidInputError for a file that cannot
        be read or changes meanwhile, TransientError when the server stays away; putting it
        again is safe.
        """
        with readable(path):
            size = (await anyio.Path(path).stat()).st_size
            check_size(size, str(path), self._limit)
            sha256, size = await anyio.to_thread.run_sync(hash_file, path, self._limit)
        check_size(size, str(path), self._limit)  # it may have grown
        blob = new_blob(sha256, size, name=name, media=media)
        with readable(path):
            await self._put(tenant, job, blob, lambda: path.open("rb"))
        return blob

    async def put_bytes(
        self,
        tenant: str,
        job: str,
        data: bytes,
        *,
        name: str | None = None,
        media: str | None = None,
    ) -> Blob:
        """Store what is in memory anyway. Raises as `put_file`."""
        check_size(len(data), name or "this content", self._limit)
        sha256 = await anyio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
        blob = new_blob(sha256, len(data), name=name, media=media)
        await self._put(tenant, job, blob, lambda: io.BytesIO(data))
        return blob

    async def put_stream(
        self,
        tenant: str,
        job: str,
        chunks: AsyncIterable[bytes] | Iterable[bytes],
        *,
        folder: Path,
        name: str | None = None,
        media: str | None = None,
    ) -> Blob:
        """Store what comes in pieces, by way of a file in `folder` that is gone afterwards.

        The name is the hash, so nothing can be sent before the last piece. Raises as `put_file`;
        TooLargeError with the first piece above the limit.
        """
        with writable(folder):
            file = await anyio.to_thread.run_sync(scratch, folder)
        with file:
            size, digest = 0, hashlib.sha256()
            async for piece in each_piece(chunks):
                size += len(piece)
                check_size(size, name or "this content", self._limit)
                with writable(folder):
                    await anyio.to_thread.run_sync(write_pieces, file, [piece], digest.update)
            blob = new_blob(digest.hexdigest(), size, name=name, media=media)
            await self._put(tenant, job, blob, lambda: from_start(file))
        return blob

    async def _put(self, tenant: str, job: str, blob: Blob, source: Callable[[], BinaryIO]) -> None:
        name = blob_name(tenant, job, blob.sha256)
        spent: set[str] = set()

        async def once() -> None:
            if await self._stands(name, blob, mend=True):
                return
            await self._send(name, blob, source, spent)
            if not await self._stands(name, blob):
                raise TransientError(f"the content {name} vanished while it was stored")

        try:
            await patiently(once)
        finally:
            for chunks in spent:
                await self._take_back(chunks)

    async def _stands(self, name: str, blob: Blob, *, mend: bool = False) -> bool:
        """Whether the object is there with all of its chunks; `mend` clears what is not whole."""
        found = await self._objects.info(name)
        if found is None:
            return False
        info, sequence = found
        if info is not None and info.holds(blob):
            chunks = self._bucket.chunks(info.nuid)
            if (await self._objects.count(chunks)).get(chunks, 0) == info.chunks:
                return True
        if mend:
            await self._objects.purge(self._bucket.info(name), {"seq": sequence + 1})
        return False

    async def _send(
        self, name: str, blob: Blob, source: Callable[[], BinaryIO], spent: set[str]
    ) -> None:
        """Chunks, then the description. Chunks of which nothing came are left in `spent`."""
        writer = chunk_id(name, secrets.token_hex(8))
        subject = self._bucket.chunks(writer)
        spent.add(subject)
        count = await self._send_chunks(subject, blob, source)
        info = ObjectInfo(
            name=name,
            bucket=self._bucket.name,
            nuid=writer,
            size=blob.size,
            chunks=count,
            digest=digest_of(blob.sha256),
            options={"max_chunk_size": self._chunk},
        )
        spent.discard(subject)  # from here on it may stand, whatever we hear of it
        if not await self._commit(info):
            spent.add(subject)

    async def _send_chunks(self, subject: str, blob: Blob, source: Callable[[], BinaryIO]) -> int:
        """Gives the number of chunks. Raises TransientError where one is lost on the way."""
        digest = hashlib.sha256()
        count = last = 0
        file = await anyio.to_thread.run_sync(source)
        with file:
            while pieces := await anyio.to_thread.run_sync(
                take_window, file, self._chunk, WINDOW, digest.update
            ):
                last = await self._objects.publish(subject, pieces, last)
                count += len(pieces)
        if digest.hexdigest() != blob.sha256:
            raise InvalidInputError("the content changed while it was being stored: put it again")
        if not count:  # so that an empty object has a place under the job, too
            await self._objects.publish(subject, [b""], last)
        return max(count, 1)

    async def _commit(self, info: ObjectInfo) -> bool:
        """Write the description, unless another stands. Not cut short: half told is not told."""
        subject = self._bucket.info(info.name)
        data, message_id = msgspec.json.encode(info), self._bus.new_message_id()
        with anyio.move_on_after(COMMIT, shield=True):
            stands = await store.write_once(
                self._bus, self._bucket.stream, subject, data, message_id
            )
            return stands is None
        raise UnavailableError("no word came whether the content is stored: put it again")

    async def _take_back(self, chunks: str) -> None:
        with anyio.move_on_after(TAKE_BACK, shield=True):
            try:
                await self._bus.publish(chunks, b"")  # a purge overtakes what is on its way
                await self._objects.purge(chunks)
            except GalerneError as error:
                log.debug("chunks are left for the job's end", chunks=chunks, error=str(error))

    # getting

    async def get_to(self, tenant: str, job: str, blob: Blob, path: Path) -> None:
        """Write the content to `path`, all of it or nothing.

        Raises NotFoundError (missing, or never whole), PermanentError (damaged, or the file
        cannot be written), TransientError when the server stays away.
        """
        name = blob_name(tenant, job, blob.sha256)
        part = path.with_name(f".galerne-{secrets.token_hex(8)}.part")
        digest = hashlib.sha256()
        with writable(path):
            try:
                file = await anyio.to_thread.run_sync(lambda: part.open("xb"))
                with file:
                    await self._receive(
                        name,
                        blob,
                        blob.size,
                        lambda pieces: write_pieces(file, pieces, digest.update),
                    )
                    _check_content(blob, digest.hexdigest())
                    await anyio.to_thread.run_sync(sync, file)
                await anyio.to_thread.run_sync(os.replace, part, path)
            finally:
                part.unlink(missing_ok=True)

    async def read(self, tenant: str, job: str, blob: Blob, most: int) -> bytes:
        """The first `most` bytes; compared with the hash where that is all. Raises as `get_to`."""
        name = blob_name(tenant, job, blob.sha256)
        pieces: list[bytes] = []
        await self._receive(name, blob, min(most, blob.size), pieces.extend)
        data = b"".join(pieces)[:most]
        if blob.size <= most:
            _check_content(blob, hashlib.sha256(data).hexdigest())
        return data

    async def exists(self, tenant: str, job: str, blob: Blob) -> bool:
        """Whether it is there with all of its chunks. Raises TransientError."""
        return await self._stands(blob_name(tenant, job, blob.sha256), blob)

    async def _receive(
        self, name: str, blob: Blob, most: int, take: Callable[[list[bytes]], object]
    ) -> None:
        """Give `take` the content, in a thread, until it has `most` bytes or more."""
        found = await patiently(lambda: self._objects.info(name))
        if found is None:
            raise NotFoundError(f"the content {name} is not in the store")
        info, _ = found
        if info is None or not info.holds(blob):
            raise NotFoundError(f"under {name} the store has something else")
        subject = self._bucket.chunks(info.nuid)
        received = last = 0
        while received < most:
            want = min(WINDOW * self._chunk, most - received)
            ask = partial(self._objects.chunks_after, subject, last, want, WINDOW)
            pieces = await patiently(ask)
            if not pieces:
                raise NotFoundError(f"chunks of {name} are missing in the store: put it again")
            last = pieces[-1][0]
            received += sum(len(data) for _, data in pieces)
            if received > blob.size:
                raise PermanentError(f"the content {name} is damaged: it is longer than it says")
            await anyio.to_thread.run_sync(take, [data for _, data in pieces])

    # collecting

    async def collect(self, tenant: str, job: str) -> int:
        """Delete everything that lies here for a job; gives the number of blobs.

        Safe to repeat and to break off. Raises TransientError.
        """
        prefix = f"{check_id(tenant, 'the tenant')}.{check_id(job, 'the job')}."
        starts = self._bucket.starts(prefix)  # so that not every job's name is decoded
        found = await self._objects.count(self._bucket.infos())
        near = [self._bucket.info_name(subject) for subject in found if subject.startswith(starts)]
        names = [name for name in near if name is not None and name.startswith(prefix)]
        limiter = anyio.CapacityLimiter(AT_ONCE)
        problems: list[GalerneError] = []

        async def delete(name: str) -> None:
            async with limiter:
                try:
                    await self._delete(name)
                except GalerneError as error:
                    problems.append(error)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(delete, name)
        if problems:
            raise problems[0]
        await self._objects.purge(
            self._bucket.chunks(f"{prefix}>")
        )  # last: as long as it holds something, the job is in `jobs`
        return len(names)

    async def _delete(self, name: str) -> None:
        """The description first: nobody shall see an object without chunks."""
        found = await self._objects.info(name)
        await self._objects.purge(self._bucket.info(name))
        if found is not None and found[0] is not None and found[0].nuid:
            await self._objects.purge(self._bucket.chunks(found[0].nuid))

    async def jobs(self) -> list[Held]:
        """What lies here, by job, the oldest first. Raises TransientError.

        Chunks without a description count with the size of a full chunk.
        """
        sizes: dict[tuple[TenantId, JobId], int] = {}
        times: dict[tuple[TenantId, JobId], float] = {}
        described: set[str] = set()
        for info, at in await self._objects.all_infos():
            described.add(info.nuid)
            if (parsed := parse_blob_name(info.name)) is not None:
                job = parsed[:2]
                sizes[job] = sizes.get(job, 0) + info.size
                times[job] = min(at, times.get(job, at))
        for subject, count in (await self._objects.count(self._bucket.chunks(">"))).items():
            writer = self._bucket.chunk_id_of(subject)
            parsed = parse_blob_name(name_of_chunks(writer))
            if parsed is None or writer in described:
                continue
            job = parsed[:2]
            if job not in times:
                found = await store.last(self._bus, self._bucket.stream, subject)
                if found is None:  # collected meanwhile
                    continue
                times[job] = found.at
            sizes[job] = sizes.get(job, 0) + count * self._chunk
        held = [Held(*job, sizes[job], times[job]) for job in sizes]
        return sorted(held, key=lambda one: one.since)


def _check_content(blob: Blob, sha256: str) -> None:
    if sha256 != blob.sha256:
        raise PermanentError(
            f"the content {blob.sha256} is damaged in the store: its hash is {sha256}"
        )
