r"""LLMCompiler's text form of a plan: one numbered call a line, `$1` for the result of call 1.

    1. search("Mount Everest")
    2. math("half of its height in metres?", ["$1"])
    Thought: I can answer the question now.
    3. join()<END_OF_PLAN>

A line is a task once it ends; `join()` and the words between are none. Arguments are read as
loosely as models write calls (JSON or Python, without names in the order of the tool's schema, a
bracket missing at the end, a text without quotes), and never evaluated. `$1` is a reference only
where a call with that number stands above it, because a dollar is also a currency.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

from galerne.messages.tools import ToolSpec
from galerne.models.repair import parse_calls
from galerne.planner.objects import MAX_CHARACTERS, BrokenObject, Found, JsonObject, ObjectScanner

JOINS: Final = frozenset({"join", "finish"})
_LINE: Final = re.compile(r"\s{0,16}([0-9]{1,6})[.)][ \t]{1,8}([A-Za-z_][\w.-]{0,127})\(")
_MAY_BE_LINE: Final = re.compile(r"\s{0,16}(?:[0-9]{1,6}(?:[.)](?:[ \t]{1,8}[\w.-]{0,128})?)?)?")
_REFERENCE: Final = re.compile(r"\$\{?([0-9]{1,6})\}?")
_CLOSERS: Final = ("", ")", "])", '")', '"])')
"""What models forget at the end of a line."""


class PlanScanner:
    """An `ObjectScanner` that also reads numbered calls of the tools that it is given."""

    def __init__(self, tools: Mapping[str, ToolSpec]) -> None:
        self._tools = tools
        self._objects = ObjectScanner()
        self._begin()

    def _begin(self) -> None:
        self._line: list[str] | None = []
        """What may be a numbered call, from its line's beginning; None: something else."""
        self._numbered = False
        self._size = 0
        self._numbers: set[str] = set()

    def feed(self, text: str) -> list[Found]:
        found: list[Found] = []
        for part in text.splitlines(keepends=True):
            self._take(part, found)
        return found

    def finish(self) -> list[Found]:
        """The end of the text: a line needs no line end there. Afterwards a new text may begin."""
        found: list[Found] = []
        self._end_line(found)
        found += self._objects.finish()
        self._begin()
        return found

    def _take(self, part: str, found: list[Found]) -> None:
        """One line or a piece of it."""
        if self._line is None or self._objects.is_open:
            self._line = None
            found += self._objects.feed(part)
        else:
            self._line.append(part)
            self._size += len(part)
            if not self._numbered:
                self._decide(found)
        if part.endswith("\n"):
            self._end_line(found)

    def _decide(self, found: list[Found]) -> None:
        """Whether the line, as far as it is there, is a numbered call, may be one, or is none."""
        begun = "".join(self._line or ())
        if call := _LINE.match(begun):
            self._numbered = call[2] in self._tools or call[2] in JOINS or self._alike(call[2])
        if not self._numbered and not _MAY_BE_LINE.fullmatch(begun):
            self._line = None
            found += self._objects.feed(begun)

    def _alike(self, name: str) -> bool:
        """Whether a tool that does not exist was meant: in a plan of numbered calls all are."""
        return bool(self._numbers) and name.isidentifier()

    def _end_line(self, found: list[Found]) -> None:
        line = "".join(self._line or ())
        numbered, size = self._numbered, self._size
        self._line, self._numbered, self._size = [], False, 0
        if not numbered:
            found += self._objects.feed(line)
        elif size > MAX_CHARACTERS:
            reason = f"this line is over {MAX_CHARACTERS} characters: split it into smaller tasks"
            found.append(BrokenObject(line, reason))
        else:
            self._read(line, found)

    def _read(self, line: str, found: list[Found]) -> None:
        head = _LINE.match(line)
        if head is None or head[2] in JOINS:
            return
        number, name = head[1], head[2]
        known = name in self._tools  # else nobody needs its arguments
        arguments = self._arguments(name, _inside(line[head.end() :])) if known else {}
        if arguments is None:
            reason = f'the arguments of {name} cannot be read: write {number}. {name}("text", 2)'
            found.append(BrokenObject(line.strip(), reason, number))
            return
        fields: dict[str, Any] = {
            "id": number,
            "kind": "tool",
            "tool": name,
            "args": _referring(arguments, self._numbers),
        }
        self._numbers.add(number)
        found.append(JsonObject(fields, line.strip()))

    def _arguments(self, name: str, inside: str) -> dict[str, Any] | None:
        """By name; None where they cannot be read. `inside` stands between the brackets."""
        if not inside.strip():
            return {}
        order = _order(self._tools.get(name))
        for closer in _CLOSERS:
            parsed = parse_calls(f"{name}({inside}{closer})", (name,), {name: order})
            if parsed.calls and len(parsed.calls) == 1:
                return parsed.calls[0].arguments
        if order and not inside.lstrip().startswith(('"', "'", "[", "{")):
            return {order[0]: inside.strip()}  # a text without quotes
        return None


def _order(tool: ToolSpec | None) -> tuple[str, ...]:
    properties: Any = tool.parameters.get("properties") if tool is not None else None
    return tuple(cast("Mapping[str, Any]", properties or {}))


def _inside(rest: str) -> str:
    """What stands between the brackets of a call, of which the second may be missing."""
    text = rest.rstrip()
    if text.endswith("<END_OF_PLAN>"):
        text = text.removesuffix("<END_OF_PLAN>").rstrip()
    return text.removesuffix(")")


def _referring(value: Any, numbers: Collection[str]) -> Any:
    """The arguments with each `$1` as a reference, whole or inside a text."""
    match value:
        case str():
            whole = _REFERENCE.fullmatch(value.strip())
            if whole and whole[1] in numbers:
                return {"$ref": whole[1]}
            return _REFERENCE.sub(
                lambda found: f"{{{{{found[1]}}}}}" if found[1] in numbers else found[0], value
            )
        case list():
            return [_referring(one, numbers) for one in cast("Sequence[Any]", value)]
        case dict():
            fields = cast("dict[str, Any]", value)
            return {name: _referring(one, numbers) for name, one in fields.items()}
        case _:
            return value
