"""The body of an answer, as much as a limit allows, counted after decompression.

aiohttp leaves bodies as they were sent (`auto_decompress=False`), since a compressed megabyte may
be a thousand plain ones: here each piece is decompressed only as far as there is room for it.
"""

import zlib

import aiohttp
import msgspec

from galerne.errors import ToolError

ENCODINGS = "gzip, deflate"
"""What is asked for: what `zlib` reads, and no more."""

_PIECE = 64 * 1024


class Body(msgspec.Struct, frozen=True):
    """`cut`: it went on, or broke off, after this."""

    data: bytes
    cut: bool


async def read_body(response: aiohttp.ClientResponse, most: int) -> Body:
    """At most `most` bytes. Raises ToolError for an encoding that nobody asked for.

    What breaks off in the middle is cut there; what breaks off before its first byte is empty.
    Raises TimeoutError where the session has a time limit for reading.
    """
    reader = _reader(response.headers.get("Content-Encoding", ""))
    kept = bytearray()
    try:
        async for piece in response.content.iter_chunked(_PIECE):
            kept += reader.read(piece, most + 1 - len(kept))
            if len(kept) > most:
                return Body(bytes(kept[:most]), cut=True)
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionError):
        return Body(bytes(kept), cut=True)
    except zlib.error:
        return Body(bytes(kept), cut=True)
    return Body(bytes(kept), cut=not reader.is_whole)


class _Plain:
    is_whole = True

    def read(self, piece: bytes, most: int) -> bytes:
        return piece[:most]


class _Deflated:
    """gzip with any number of members, or deflate with or without zlib's frame."""

    def __init__(self, *, gzip: bool) -> None:
        self._bits = zlib.MAX_WBITS | 16 if gzip else zlib.MAX_WBITS
        self._gzip = gzip
        self._inner = zlib.decompressobj(self._bits)
        self._begun = False

    @property
    def is_whole(self) -> bool:
        return self._inner.eof or not self._begun

    def read(self, piece: bytes, most: int) -> bytes:
        if not self._begun:
            self._begun = True
            raw = not self._gzip and bool(piece) and piece[0] & 0x0F != zlib.DEFLATED
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS if raw else self._bits)
        given = bytearray(self._inner.decompress(piece, most))
        while self._gzip and self._inner.eof and self._inner.unused_data and len(given) < most:
            rest = self._inner.unused_data
            self._inner = zlib.decompressobj(self._bits)
            given += self._inner.decompress(rest, most - len(given))
        return bytes(given)


def _reader(encoding: str) -> _Plain | _Deflated:
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Deflated(gzip=True)
        case "deflate":
            return _Deflated(gzip=False)
        case _:
            raise ToolError(
                f"the answer is compressed as {encoding[:40]!r}, which was not asked for; "
                "use another source"
            )
