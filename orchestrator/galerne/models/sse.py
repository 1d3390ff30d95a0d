"""Server-sent events, piece by piece: bytes of any size in, the data of whole events out.

A line ends with LF, CR or CRLF; an empty line ends an event; the `data` lines of an event are
joined with LF; comments (`: ping`) and the fields `event`, `id` and `retry` are passed over. Where
the bytes are split never matters. Two liberties beyond the standard: a field `error` counts as
data (llama.cpp's server writes its failures so), and `finish` gives out an event whose closing
empty line never came, because some servers end right after `data: [DONE]`.
"""

DONE = b"[DONE]"
"""The payload that ends a chat-completions stream."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DATA_FIELDS = frozenset({b"data", b"error"})
_BEGIN = b"data: "
_END = b"\n\n"
_BETWEEN = _END + _BEGIN


class EventParser:
    """Feed it bytes; it keeps what is not complete yet."""

    __slots__ = ("_at_start", "_data", "_ended_with_cr", "_holds", "_tail")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._ended_with_cr = False
        self._at_start = True
        self._holds = False  # whether any of the first three says something

    def feed(self, piece: bytes) -> list[bytes]:
        """The payloads of the events that `piece` completes, in order."""
        if self._holds or not (piece.startswith(_BEGIN) and piece.endswith(_END)):
            return self._take_any(piece)
        payloads = piece[len(_BEGIN) : -len(_END)].split(_BETWEEN)
        if piece.count(b"\n") != len(_END) * len(payloads) or b"\r" in piece:
            return self._take_any(piece)
        self._at_start = False
        return payloads  # whole events of one line each, as nearly all pieces are

    def finish(self) -> list[bytes]:
        """The payload of the event that the end of the bytes left open, if there is one."""
        lines, self._tail = [b"".join(self._tail)], []
        return self._take([*lines, b""])

    def _take_any(self, piece: bytes) -> list[bytes]:
        """Bytes that begin or end anywhere, with any kind of line end."""
        if self._ended_with_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._ended_with_cr = False
        payloads: list[bytes] = []
        if b"\n" in piece or b"\r" in piece:
            self._ended_with_cr = piece.endswith(b"\r")
            lines = b"".join((*self._tail, piece)).splitlines()
            self._tail = [] if piece.endswith((b"\n", b"\r")) else [lines.pop()]
            payloads = self._take(lines)
        elif piece:
            self._tail.append(piece)
        self._holds = bool(self._tail or self._data or self._ended_with_cr)
        return payloads

    def _take(self, lines: list[bytes]) -> list[bytes]:
        payloads: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    payloads.append(b"\n".join(self._data))
                    self._data = []
            else:
                self._take_field(line)
        return payloads

    def _take_field(self, line: bytes) -> None:
        if self._at_start:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        field, _, value = line.partition(b":")
        if field in _DATA_FIELDS:
            self._data.append(value.removeprefix(b" "))
