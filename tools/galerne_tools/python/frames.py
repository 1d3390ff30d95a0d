"""What worker and sandbox say to each other: the order, and what comes back.

What comes back counts as written by the code: lengths are compared with the limits before anything
is read, and whatever is not a frame ends the run.
"""

from typing import Annotated

import msgspec

from galerne.errors import ToolError

CAME_APART = "the sandbox came apart, perhaps by what the code did to it: run simpler code"
Count = Annotated[int, msgspec.Meta(ge=0)]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may take. `become` is the user to change to; sizes are in bytes."""

    interpreter: str
    become: int | None
    seconds: float
    memory: int
    processes: int
    output: int
    scratch: int
    filter: int = 0
    code: int = 0


class Ready(msgspec.Struct, frozen=True, tag_field="kind", tag="ready"):
    """The sandbox stands, and the code begins."""


class Ran(msgspec.Struct, frozen=True, tag_field="kind", tag="ran"):
    """How the code ended. Of each stream: bytes of its beginning, of its end, and left out."""

    why: str
    number: int
    output: tuple[Count, Count, Count]
    errors: tuple[Count, Count, Count]


class File(msgspec.Struct, frozen=True, tag_field="kind", tag="file"):
    """A file of `size` bytes; `sent` of them follow, None: it was too large or unreadable."""

    path: str
    size: Count
    sent: Count | None


class End(msgspec.Struct, frozen=True, tag_field="kind", tag="end"):
    """No more files: so many were not named, and so many things are no files."""

    more: Count
    others: Count


Frame = Ready | Ran | File | End
_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def order_bytes(order: Order, program: bytes, code: bytes) -> bytes:
    """As `inside` reads it: a line of JSON, the filter, the code."""
    line = msgspec.structs.replace(order, filter=len(program), code=len(code))
    return msgspec.json.encode(line) + b"\n" + program + code


def read_frame(line: bytes, order: Order) -> Frame:
    """Raises ToolError for what the sandbox cannot have said."""
    try:
        frame: Frame = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ToolError(CAME_APART) from error
    match frame:
        case Ran(output=output, errors=errors):
            fits = sum(output[:2]) <= order.output and sum(errors[:2]) <= order.output
        case File(sent=sent):
            fits = (sent or 0) <= order.scratch
        case _:
            return frame
    if not fits:
        raise ToolError(CAME_APART)
    return frame
