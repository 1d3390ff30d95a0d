"""Calls after a marker: Mistral's `[TOOL_CALLS]`, and the tags of other families.

    [TOOL_CALLS] [{"name": f, "arguments": {…}}, …]      v3: what follows the list is dropped
    [TOOL_CALLS]f{…}        [TOOL_CALLS]f[ARGS]{…}       v11, v13: text may stand between calls
    <tool_call>{…}</tool_call>   <function=f>{…}</function>   <|python_tag|>{…}

The text is read once from left to right and never split at markers first, since an argument may
speak of a marker. After a fault reading goes on at the next marker behind it. A marker that
nothing like a call follows is dropped, and the words after it stay.
"""

import re
from collections.abc import Collection
from typing import Final

from galerne.models.repair.blocks import Block, read_arguments, read_block
from galerne.models.repair.fences import without_open_fence
from galerne.models.repair.literals import Reader
from galerne.models.repair.markers import (
    FENCE,
    MARKER,
    cut_marker,
    is_mention,
)
from galerne.models.repair.names import offered
from galerne.models.repair.parsed import Syntax
from galerne.models.repair.strings import plain_name
from galerne.models.repair.written import Settled, Written

_CLOSERS: Final = re.compile(
    r"(?:[\s\]}]*+<(?:/|\|/?)(?:tool_calls?|function_?calls?|function)\|?>)+"
)
_STRAY: Final = re.compile(r"[\]}]++")
_FUNCTION_END: Final = re.compile(r"\s*+</function>")
_NAME_ONLY: Final = re.compile(
    r"\s*+([^\W\d][\w./-]*+(?:\\[\w./-]*+)*+)"
    r"(?P<ended>(?:(?!\[TOOL_CALLS\])\[\w*+\]?\w*+)+)?\s*+"  # no possessive group: gh-106052
    r"(?=\Z|\[TOOL_CALLS\])"
)
_LIST: Final = re.compile(r"\[\s{0,64}\{")
_EMPTY_LIST: Final = re.compile(r"\[\s*+\]")
_NO_CALL: Final = "is not written as a call"
_NO_LIST: Final = "stands in a list that is not valid JSON"


class Marked:
    """One text with markers, as it is read."""

    def __init__(self, text: str, known: Collection[str], settled: Settled) -> None:
        self._text = text
        self._known = known
        self._settled = settled
        self._content: list[str] = []

    def read(self) -> str:
        """Settle every call; what remains for a person."""
        at = 0
        while marker := MARKER.search(self._text, at):
            self._content.append(self._text[at : marker.start()])
            if is_mention(self._text, marker.start()):
                self._content.append(marker[0])
                at = marker.end()
            else:
                at = self._after(marker)
        self._end(self._text[at:])
        content = "".join(self._content)
        return content.rstrip() if self._content[0].strip() else content.strip()

    def _end(self, tail: str) -> None:
        if length := cut_marker(tail):
            self._settled.add([Written(cut=True)], "v3")
            tail = tail[:-length]
        self._content.append(tail)

    def _after(self, marker: re.Match[str]) -> int:
        """Read what `marker` begins; where to go on."""
        reader = Reader(self._text, marker.end())
        if marker["function"]:
            return self._function(plain_name(marker["function"]), reader)
        if not marker["mistral"]:
            return self._list(reader, "tags")
        if name_only := reader.take(_NAME_ONLY):
            return self._name_only(name_only)
        return self._list(reader, "v3")

    def _list(self, reader: Reader, syntax: Syntax) -> int:
        """Calls in a list or alone, in any syntax; `syntax` says what the marker is."""
        start = reader.at
        first = reader.peek()
        words = reader.at
        if MARKER.match(self._text, words):
            return words
        if first == "":
            self._settled.add([Written(cut=True)], syntax)
            return words
        block = read_block(reader)
        if block is None and reader.at == words and first not in "[{":
            found = None if syntax == "tags" else _LIST.search(self._text, words, self._next(words))
            if found is None:
                return start if self._content[-1].strip() else words
            reader.at = found.start()
            block = read_block(reader)
        if block is not None:
            return self._lists(block, reader, syntax)
        if not _EMPTY_LIST.match(self._text, words):
            self._settled.add([Written(fault=_NO_CALL)], syntax)
        return self._next(reader.at)

    def _lists(self, block: Block | None, reader: Reader, syntax: Syntax) -> int:
        """Settle a list and those that stand right behind it; where to go on."""
        at = reader.at
        while block is not None:
            at = self._settle(block, reader, syntax)
            reader.peek()
            if block.stopped or block.rest or syntax != "v3" or not self._list_follows(reader):
                return at
            block = read_block(reader)
        return self._next(max(at, reader.at))

    def _list_follows(self, reader: Reader) -> bool:
        return _LIST.match(self._text, reader.at) is not None

    def _settle(self, block: Block, reader: Reader, syntax: Syntax) -> int:
        """Settle the calls that were just read; where to go on."""
        if syntax == "v3" and block.syntax != "json":
            syntax = block.syntax
        self._settled.add(block.calls, syntax)
        self._content[-1] = without_open_fence(self._content[-1])
        if block.rest:
            self._settled.add([Written(fault=_NO_LIST)], syntax)
        if block.stopped or block.rest:
            return self._next(reader.end if block.calls[-1].cut else reader.at)
        return self._next(reader.at) if syntax == "v3" else self._past_closers(reader)

    def _function(self, name: str, reader: Reader) -> int:
        """`<function=f>{…}</function>`."""
        if reader.peek() == "{":
            call = read_arguments(reader, name)
        elif reader.ended:
            call = Written(name=name, cut=True)
        elif _FUNCTION_END.match(self._text, reader.at):
            call = Written(name=name)
        else:
            call = Written(name=name, fault="has arguments that are not one JSON object")
        return self._settle(Block([call], "tags"), reader, "tags")

    def _name_only(self, found: re.Match[str]) -> int:
        """A name without arguments is cut, and perhaps in the middle of the name."""
        name = offered(found[1], self._known) or (plain_name(found[1]) if found["ended"] else "")
        self._settled.add([Written(name=name, cut=True)], "v13" if found["ended"] else "v11")
        return found.end()

    def _next(self, at: int) -> int:
        found = MARKER.search(self._text, at)
        return found.start() if found else len(self._text)

    def _past_closers(self, reader: Reader) -> int:
        if not reader.take(_CLOSERS):
            reader.take(_STRAY)
        end, after = reader.at, reader.peek()
        fenced = after == "`" and self._text.startswith(FENCE, reader.at)
        return reader.at + len(FENCE) if fenced else end
