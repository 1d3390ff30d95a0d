"""A job in one file: every fact that its log holds, for an archive or for a replay.

    line 1   {"galerne_export": 1, "tenant": …, "job": …, "partitions": …, "at": …, "galerne": …}
    line n   {"sequence": …, "at": …, "name": "done.2", "fact": {…}}             a fact as it stands
             {"sequence": …, "at": …, "name": "done.3", "data": "…", "error": "…"}   no fact: base64

The log is read a batch at a time, so a large job is never in memory. A file appears under its name
only when it is whole. Times are Unix seconds. What a person has not read again by `read_export`
needs nothing of Galerne: each line is one JSON document.
"""

import base64
import binascii
import contextlib
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

FORMAT = 1


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


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Either of them, as it is read."""

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
    after, more = 0, True
    while more:
        stored, more = await patiently(bus, partial(log.batch, subject, after))
        if not after:
            if not stored:
                raise NotFoundError(f"the log has nothing of job {address.job}: nothing to export")
            yield _encoded_line(_header(subjects, address, at, version))
        if stored:
            after = stored[-1].sequence
            yield b"".join(_encoded_line(_line(subjects, address, one)) for one in stored)


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


def _encoded_line(line: Header | FactLine | BytesLine) -> bytes:
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
    header = _read_header(next(numbered, (1, b""))[1], source)
    subjects = Subjects("galerne", header.partitions)
    address = subjects.address(header.tenant, header.job)
    entries: list[Entry] = []
    for number, data in numbered:
        try:
            line = msgspec.json.decode(data, type=Line)
            stored = bytes(line.fact) or base64.b64decode(line.data, validate=True)
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
            raise InvalidInputError(f"{source}, line {number}: {error}: export it again") from error
        with contextlib.suppress(InvalidMessageError):  # no fact's name: no coordinator took it
            subject = subjects.job(address, line.name)
            record = record_of(subjects, subject, stored, line.sequence, line.at)
            why = line.error or record.error  # in the words of the day
            entries.append(Entry(record.sequence, record.at, record.name, record.fact, why))
    return Recording(header, entries)


def _read_header(line: bytes, source: str) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
        check_id(header.tenant, "the tenant")
        check_id(header.job, "the job id")
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidInputError) as error:
        raise InvalidInputError(
            f"{source} is no export of a job ({error}): `galerne export JOB` writes one"
        ) from error
    if header.galerne_export != FORMAT or header.partitions < 1:
        raise InvalidInputError(
            f"{source} has form {header.galerne_export} and {header.partitions} partitions, which"
            f" this version cannot read: use that of galerne {header.galerne}"
        )
    return header
