"""A text that is nothing but calls, in whatever syntax: a message, a fenced block, a tag's body.

The first characters decide which of the readers is asked; each stops where calls stop, so that
what surrounds them (a closing fence, a closing tag, a person's words) is the asker's business.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from galerne.models.repair.functions import read_functions
from galerne.models.repair.literals import CutError, MalformedError, Reader
from galerne.models.repair.names import offered
from galerne.models.repair.objects import read_objects
from galerne.models.repair.parsed import Syntax
from galerne.models.repair.strings import plain_name
from galerne.models.repair.written import Written

_NAMED: Final = re.compile(
    r"([\"'`]?[^\W\d](?:[\w./-]|\\_){0,99}[\"'`]?)"
    r"(?:\[CALL_ID\]\s*+([A-Za-z0-9_-]*+))?\s{0,64}+(\[ARGS\]\s*+)?(?=\{)"
)
_BEGINS: Final = re.compile(
    r"\s*+[{\[]|\s*+[\"'`]?[^\W\d](?:[\w./-]|\\_){0,99}[\"'`]?\s{0,64}+[\[({]|\s*+#"
)
"""What every block begins with, at the least: most texts are found to be none by it."""
_STRAY: Final = re.compile(r"[\]})\s]*+")
_END: Final = re.compile(r"\s*+(?:(?:</s>|<\|im_end\|>|<\|eot_id\|>)\s*+)*")


class Block(msgspec.Struct):
    """The calls that were read, and how they were written. `rest`: a list has more in it."""

    calls: list[Written]
    syntax: Syntax
    rest: bool = False

    @property
    def stopped(self) -> bool:
        """Whether the last call could not be read to its end, so that nothing follows it."""
        return bool(self.calls) and (self.calls[-1].cut or bool(self.calls[-1].fault))


def read_block(reader: Reader) -> Block | None:
    """The calls that begin here; None where other things do, and the reader is then past them."""
    start = reader.at
    if reader.peek() in {"{", "["}:
        objects = read_objects(reader)
        if objects and objects.calls:
            return Block(objects.calls, "json", objects.rest)
    elif named := read_named(reader):
        return named
    reached, reader.at = reader.at, start
    calls = read_functions(reader)
    if calls is None:
        reader.at = max(reader.at, reached)
        return None
    return Block(calls, "python")


def read_named(reader: Reader) -> Block | None:
    """`name{…}` and `name[ARGS]{…}`, with an id between them in some versions."""
    reader.peek()
    if not (head := reader.take(_NAMED)):
        return None
    call = read_arguments(reader, plain_name(head[1]))
    call.id = head[2] or ""
    return Block([call], "v13" if head[3] else "v11")


def read_arguments(reader: Reader, name: str) -> Written:
    """The call of `name` with the object here as its arguments."""
    call = Written(name=name, certain=False)
    try:
        call.cut = not reader.members(call.arguments)
    except CutError:
        call.cut = True
    except MalformedError as error:
        call.fault = str(error)
    return call


def whole_block(
    text: str, known: Collection[str], at: int = 0, end: int | None = None
) -> Block | None:
    """The calls of a text that has nothing else in it; None where it is not so.

    Stray closing brackets after the last call are passed over. Calls that only look like calls
    count where at least one has a name that was offered.
    """
    reader = Reader(text, at, end)
    block = read_block(reader) if _BEGINS.match(text, at, reader.end) else None
    if block is not None and block.syntax in {"v11", "v13"}:
        _read_more(block, reader)
    if block is None or block.rest or any(call.bare for call in block.calls):
        return None
    return block if _ends_with(block, reader) and _believable(block.calls, known) else None


def _read_more(block: Block, reader: Reader) -> None:
    """The calls right behind a named one: a server has taken the markers out from between them."""
    while not block.stopped:
        while reader.peek() in {",", ";"}:
            reader.at += 1
        more = read_named(reader)
        if more is None:
            return
        block.calls += more.calls


def _ends_with(block: Block, reader: Reader) -> bool:
    """Whether nothing but calls stands up to the end."""
    if not block.stopped:
        reader.take(_STRAY)
        reader.take(_END)
        return reader.ended
    if block.calls[-1].cut or block.syntax != "python":
        return True
    # A person's words may begin with `f(a=` too; what was meant as a call ends with a bracket.
    return reader.text[reader.at : reader.end].rstrip().endswith((")", "]"))


def _believable(calls: Sequence[Written], known: Collection[str]) -> bool:
    """Whether these are calls, and not data or words that look like them."""
    return any(call.certain or offered(call.name, known) is not None for call in calls)
