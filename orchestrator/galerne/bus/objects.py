"""NATS's Object Store as its stream holds it: descriptions, chunks, and how they are read.

Descriptions are read from the stream's leader, chunks by batches of direct reads that any replica
answers. What an object means, and when it may be seen, is the matter of `blobs`.
"""

import base64
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import msgspec

from galerne.bus import store
from galerne.bus.connection import Bus, Message
from galerne.errors import (
    GalerneError,
    NotFoundError,
    PermanentError,
    TransientError,
    UnavailableError,
)
from galerne.messages.blobs import Blob, Bucket, digest_of

T = TypeVar("T")

OUTAGE = 30.0
"""Seconds that a put or get goes on trying while the server is away."""
BATCH = 256
"""Descriptions of one batch read."""


class ObjectInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object's description in the Object Store's layout; `nuid` is its chunks' id."""

    name: str
    bucket: str
    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str = ""
    deleted: bool = False
    options: dict[str, Any] | None = None

    def holds(self, blob: Blob) -> bool:
        """Whether this says of itself that it is that content, and no link to another."""
        digest = digest_of(blob.sha256).rstrip("=")
        same = self.size == blob.size and self.digest.rstrip("=") == digest
        return same and not self.deleted and "link" not in (self.options or {})


class Objects:
    """Reads and purges one bucket over one connection. Everything may raise TransientError."""

    def __init__(self, bus: Bus, bucket: Bucket) -> None:
        self._bus = bus
        self._bucket = bucket

    async def info(self, name: str) -> tuple[ObjectInfo | None, int] | None:
        """An object's description and its sequence, from the leader; None for one unreadable."""
        found = await store.last(self._bus, self._bucket.stream, self._bucket.info(name))
        return None if found is None else (_decoded(found.data), found.sequence)

    async def all_infos(self) -> list[tuple[ObjectInfo, float]]:
        """Every readable description and its Unix time."""
        infos: list[tuple[ObjectInfo, float]] = []
        start = 1
        while True:
            body = {"batch": BATCH, "seq": start, "next_by_subj": self._bucket.infos()}
            messages = await self._batch(body)
            if not messages:
                return infos
            for message in messages:
                start = max(start, int(message.headers["Nats-Sequence"]) + 1)
                if (info := _decoded(message.data)) is not None and not info.deleted:
                    infos.append((info, store.unix_time(message.headers["Nats-Time-Stamp"])))

    async def _batch(self, body: dict[str, Any]) -> list[Message]:
        """Messages of one batch of direct reads; none at the end."""
        send, receive = anyio.create_memory_object_stream[Message | GalerneError](math.inf)
        timeout = self._bus.settings.request_timeout
        reply = self._bus.expect(send.send_nowait, send.send_nowait, timeout)
        messages: list[Message] = []
        try:
            with send, receive:
                subject = f"$JS.API.DIRECT.GET.{self._bucket.stream}"
                await self._bus.send(subject, msgspec.json.encode(body), reply=reply)
                async for message in receive:
                    if not isinstance(message, Message):
                        raise message
                    if "Nats-Sequence" in message.headers:
                        messages.append(message)
                        continue
                    if message.headers.get("Status") in {"204", "404"}:
                        return messages
                    break
        finally:
            self._bus.forget(reply)
        raise UnavailableError("reading the store of blobs broke off: try again")

    async def count(self, subjects: str) -> dict[str, int]:
        """The number of messages by subject, for a subject with wildcards."""
        counts: dict[str, int] = {}
        while True:
            body = {"subjects_filter": subjects, "offset": len(counts)}
            state = (await self._bus.api(f"STREAM.INFO.{self._bucket.stream}", body))["state"]
            page: dict[str, int] = state.get("subjects") or {}
            if not page.keys() - counts.keys():
                return counts
            counts |= page

    async def purge(self, subject: str, extra: dict[str, int] | None = None) -> None:
        body = {"filter": subject, **(extra or {})}
        await self._bus.api(f"STREAM.PURGE.{self._bucket.stream}", body)

    async def publish(self, subject: str, pieces: list[bytes], after: int) -> int:
        """Publish side by side; gives the last sequence, once all are stored in this order."""
        sequences = [0] * len(pieces)
        problems: list[GalerneError] = []

        async def one(n: int) -> None:
            try:
                sequences[n] = await self._bus.publish(subject, pieces[n])
            except GalerneError as error:
                problems.append(error)

        async with anyio.create_task_group() as tasks:
            for n in range(len(pieces)):
                tasks.start_soon(one, n)
        for problem in sorted(problems, key=lambda error: isinstance(error, TransientError)):
            raise problem
        if sorted({after, *sequences}) != [after, *sequences]:
            raise TransientError("chunks were stored in another order than they were sent in")
        return sequences[-1]

    async def chunks_after(
        self, subject: str, after: int, want: int, batch: int
    ) -> list[tuple[int, bytes]]:
        """Some chunks with their sequences, as far as `want` bytes; none when there is no more.

        Any replica may answer, and one may lag: the end is believed only of the leader.
        """
        body = {"batch": batch, "max_bytes": want, "seq": after + 1, "next_by_subj": subject}
        messages = await self._batch(body)
        chunks = [(int(one.headers["Nats-Sequence"]), one.data) for one in messages]
        if not chunks:
            try:
                answer = await self._bus.api(
                    f"STREAM.MSG.GET.{self._bucket.stream}",
                    {"seq": after + 1, "next_by_subj": subject},
                )
            except NotFoundError:
                return []
            found = answer["message"]
            chunks = [(int(found["seq"]), base64.b64decode(found.get("data", "")))]
        if sorted({after, *(n for n, _ in chunks)}) != [after, *(n for n, _ in chunks)]:
            raise PermanentError(f"the chunks of {subject} are damaged: they come out of order")
        return chunks


def _decoded(data: bytes) -> ObjectInfo | None:
    try:
        return msgspec.json.decode(data, type=ObjectInfo)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def patiently(doing: Callable[[], Awaitable[T]]) -> T:
    """Do it, again and again for `OUTAGE` seconds where the server is away."""
    delay = 0.05
    end: float | None = None
    while True:
        try:
            return await doing()
        except TransientError:
            end = end or anyio.current_time() + OUTAGE
            if anyio.current_time() >= end:
                raise
        await anyio.sleep(delay)
        delay = min(delay * 2, 1.0)
