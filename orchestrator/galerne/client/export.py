"""A job in one file: every fact that its log holds, for an archive or for a replay.

    line 1   {"galerne_export": 2, "tenant": …, "job": …, "partitions": …, "at": …, "galerne": …}
    line n   {"sequence": …, "at": …, "name": "done.2", "fact": {…}}             a fact as it stands
             {"sequence": …, "at": …, "name": "done.3", "data": "…", "error": "…"}   no fact: base64
    last     {"facts": …, "sha256": …}   how many, and the hash of all lines before

The log is read a batch at a time, so a large job is never in memory. A file appears under its name
only when it is whole. Times are Unix seconds. What a person has not read again by `read_export`
needs nothing of Galerne: each line is one JSON document. Files of form 1 have no last line.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from galerne.bus.connection import Bus
from galerne.bus.log import FactLog, record_of
from galerne.bus.store import Stored
from galerne.client.patience import patiently
from galerne.core.replay import Entry
from galerne.errors import InvalidInputError, InvalidMessageError, NotFoundError
from galerne.messages.ids import JobId, TenantId, check_id
from galerne.messages.subjects import JobAddress, Subjects

FORMAT = 2
UNSEALED = 1
"""The form of files whose end does not say that they are whole."""
DAMAGED = "export it again"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: the form of the file, whose job it is, and when and by what it was read."""

    galerne_export: int
    tenant: TenantId
    job: JobId
    partitions: int
    at: float
    galerne: str


class FactLine(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is a fact: its JSON as it stands in the log."""

    sequence: int
    at: float
    name: str
    fact: msgspec.Raw


class BytesLine(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is none: its bytes in base64, and why."""

    sequence: int
    at: float
    name: str
    data: str
    error: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The last line."""

    facts: int
    sha256: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One of a fact or of bytes, as it is read."""

    sequence: int
    at: float
    name: str
    fact: msgspec.Raw = msgspec.Raw()
    data: str = ""
    error: str | None = None


class Recording(msgspec.Struct, frozen=True):
    """A file that was read: its header, and the facts in the log's order."""

    header: Header
    entries: list[Entry]


async def export_lines(
    bus: Bus, address: JobAddress, at: float, version: str
) -> AsyncGenerator[bytes]:
    """The file's content in pieces of many lines.

    Raises NotFoundError where the log has nothing of the job, UnavailableError.
    """
    log, subjects = FactLog(bus), bus.subjects
    subject = subjects.job(address)
    after, more, count, digest = 0, True, 0, hashlib.sha256()
    while more:
        stored, more = await patiently(bus, partial(log.batch, subject, after))
        lines: list[Header | FactLine | BytesLine] = []
        if not after:
            if not stored:
                raise NotFoundError(f"the log has nothing of job {address.job}: nothing to export")
            lines.append(_header(subjects, address, at, version))
        lines += [_line(subjects, address, one) for one in stored]
        after = stored[-1].sequence if stored else after
        count += len(stored)
        piece = b"".join(map(_encoded_line, lines))
        digest.update(piece)
        yield piece
    yield _encoded_line(Seal(facts=count, sha256=digest.hexdigest()))


def _header(subjects: Subjects, address: JobAddress, at: float, version: str) -> Header:
    return Header(
        galerne_export=FORMAT,
        tenant=address.tenant,
        job=address.job,
        partitions=subjects.partitions,
        at=at,
        galerne=version,
    )


def _line(subjects: Subjects, address: JobAddress, stored: Stored) -> FactLine | BytesLine:
    name = stored.subject.removeprefix(subjects.job(address, ""))
    try:
        error = record_of(subjects, stored.subject, stored.data, stored.sequence, stored.at).error
    except InvalidMessageError as problem:
        error = str(problem)
    if error is None:
        fact = msgspec.Raw(_in_one_line(stored.data))
        return FactLine(sequence=stored.sequence, at=stored.at, name=name, fact=fact)
    data = base64.b64encode(stored.data).decode()
    return BytesLine(sequence=stored.sequence, at=stored.at, name=name, data=data, error=error)


def _in_one_line(data: bytes) -> bytes:
    """JSON that others may have written over several lines."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data


def _encoded_line(line: Header | FactLine | BytesLine | Seal) -> bytes:
    return msgspec.json.encode(line) + b"\n"


async def write_whole(path: Path, pieces: AsyncIterable[bytes], *, replace: bool = True) -> bool:
    """Write a file that appears under its name when it is whole, and safe on the disk.

    Without `replace` a file that is there stays as it is; gives whether ours stands there now.
    Raises InvalidInputError where it cannot be written, and what `pieces` raises.
    """
    part = path.with_name(f".galerne-{secrets.token_hex(8)}.part")
    try:
        try:
            with part.open("xb") as file:
                async for piece in pieces:
                    await anyio.to_thread.run_sync(file.write, piece)
                await anyio.to_thread.run_sync(os.fsync, file.fileno())
            return await anyio.to_thread.run_sync(_settle, part, path, replace)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from error


def _settle(part: Path, path: Path, replace: bool) -> bool:  # noqa: FBT001 - run in a thread
    if replace:
        part.replace(path)
    else:
        try:
            os.link(part, path)
        except FileExistsError:
            return False
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


# reading


def read_export(path: Path) -> Recording:
    """A file that `galerne export` wrote, with its facts as today's code reads them.

    Raises InvalidInputError with the file and the line.
    """
    try:
        with path.open("rb") as file:
            return parse_export(file, str(path))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_export(lines: Iterable[bytes], source: str) -> Recording:
    """As `read_export`, from lines; `source` names them in errors."""
    numbered = enumerate(lines, 1)
    first = next(numbered, (1, b""))[1]
    header = _read_header(first, source)
    address = Subjects("galerne", header.partitions).address(header.tenant, header.job)
    entries: list[Entry] = []
    digest, sealed, count = hashlib.sha256(_line_end(first)), False, 0
    for number, data in numbered:
        if sealed:
            raise InvalidInputError(f"{source}, line {number}, stands behind the end: {DAMAGED}")
        if header.galerne_export != UNSEALED and (seal := _seal(data)) is not None:
            if seal.facts != count or seal.sha256 != digest.hexdigest():
                raise InvalidInputError(f"{source} is not as it was written: {DAMAGED}")
            sealed = True
            continue
        digest.update(_line_end(data))
        count += 1
        if entry := _entry(data, address, header.partitions, f"{source}, line {number}"):
            entries.append(entry)
    if not sealed and header.galerne_export != UNSEALED:
        raise InvalidInputError(
            f"{source} ends after {count} facts, and its last line is missing: {DAMAGED}"
        )
    return Recording(header, entries)


def _line_end(line: bytes) -> bytes:
    """The line as it was written, whatever reads lines makes of their ends."""
    return line.rstrip(b"\r\n") + b"\n"


def _seal(data: bytes) -> Seal | None:
    try:
        return msgspec.json.decode(data, type=Seal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _entry(data: bytes, address: JobAddress, partitions: int, place: str) -> Entry | None:
    """A line's fact; None where no coordinator took it for one. Raises InvalidInputError."""
    subjects = Subjects("galerne", partitions)
    try:
        line = msgspec.json.decode(data, type=Line)
        stored = bytes(line.fact) or base64.b64decode(line.data, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise InvalidInputError(f"{place}: {error}: {DAMAGED}") from error
    try:
        subject = subjects.job(address, line.name)
        record = record_of(subjects, subject, stored, line.sequence, line.at)
    except InvalidMessageError:
        return None
    why = line.error or record.error  # in the words of the day
    return Entry(record.sequence, record.at, record.name, record.fact, why)


def _read_header(line: bytes, source: str) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
        check_id(header.tenant, "the tenant")
        check_id(header.job, "the job id")
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidInputError) as error:
        raise InvalidInputError(
            f"{source} is no export of a job ({error}): `galerne export JOB` writes one"
        ) from error
    if not UNSEALED <= header.galerne_export <= FORMAT:
        raise InvalidInputError(
            f"{source} has form {header.galerne_export} and was written by galerne"
            f" {header.galerne}; this one reads forms up to {FORMAT}: take a newer galerne"
        )
    if header.partitions < 1:
        raise InvalidInputError(f"{source} says {header.partitions} partitions: {DAMAGED}")
    return header
