"""A record of every request, independent of the system under test, for audits after a crash.

Each request has two lines: `started` when its body has been read, and how it ended:

    finished   the last byte of a whole answer was handed to the socket
    refused    an error status was handed to the socket (a mistake of the client, or a fault)
    cut        the `cut` fault closed the connection in the middle of the answer
    aborted    the client went away, or the server stopped, before the last byte

The second line is written *after* the last byte was handed over. So `finished` never claims too
much, and if this process is killed between the two, an answer that did arrive has no second line.
A line is one write to a file opened for appending, so it survives the death of the process
(though not of the machine), and several servers may share a file.
"""

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

Event = Literal["started", "finished", "refused", "cut", "aborted"]

_encode = msgspec.json.Encoder().encode


class LedgerEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line. `time` is in Unix seconds, `body` the sha256 of the request's body in hex.

    `request` is the same in both lines of one request; `status` is the HTTP status of an ending.
    """

    event: Event
    request: str
    time: float
    role: str
    model: str
    body: str
    key: str | None = None
    status: int | None = None


class Ledger:
    """An append-only list of entries, and a file of them where a path is given."""

    def __init__(self, path: Path | str | None, clock: Callable[[], float]) -> None:
        self.entries: list[LedgerEntry] = []
        self._path = path
        self._clock = clock
        self._file: int | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o644)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def start(
        self, *, request: str, key: str | None, role: str, model: str, body: str
    ) -> LedgerEntry:
        """Record that a request came; the entry is what `end` takes."""
        return self._append(
            LedgerEntry(
                event="started",
                request=request,
                time=self._clock(),
                role=role,
                model=model,
                body=body,
                key=key,
            )
        )

    def end(self, started: LedgerEntry, event: Event, status: int | None) -> None:
        self._append(
            msgspec.structs.replace(started, event=event, time=self._clock(), status=status)
        )

    def named(self, event: Event) -> list[LedgerEntry]:
        """The entries of one kind, oldest first."""
        return [entry for entry in self.entries if entry.event == event]

    def _append(self, entry: LedgerEntry) -> LedgerEntry:
        self.entries.append(entry)
        if self._file is not None:
            os.write(self._file, _encode(entry) + b"\n")
        return entry


def read_ledger(path: Path | str) -> list[LedgerEntry]:
    """The entries of a ledger file; a last line that a crash cut short is left out."""
    decode = msgspec.json.Decoder(LedgerEntry).decode
    *whole, _torn = Path(path).read_bytes().split(b"\n")
    return [decode(line) for line in whole]
