"""Calls written as data: `{"name": …, "arguments": {…}}` and its many cousins.

    {"name": f, "arguments": {…}}           also `parameters`, `args`, `input`; `tool` for `name`
    {"type": "function", "function": {"name": f, "arguments": "{…}"}}
    {"tool_calls": [ … ]}                   a wrapper around any of these
    {"f": {…}}                              the name as the only key

Several stand in a list, or one after another. Where only a call's own last brace is missing, or
the list's last bracket, the call is whole; where its arguments do not close it is cut. An object
of another form is data, and a text that holds one is not made of calls.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from galerne.models.repair.literals import CutError, MalformedError, Reader
from galerne.models.repair.written import Written

_ARGUMENTS: Final = ("arguments", "parameters", "args", "input")
_NAMES: Final = ("name", "tool", "tool_name", "function")
_BESIDE: Final = frozenset({"id", "call_id", "tool_call_id", "type", "index"})
"""Keys that may stand in a call beside its name and arguments without making it something else."""
_WRAPPER: Final = "tool_calls"
_NO_OBJECT: Final = "has arguments that are not one JSON object"


class Objects(msgspec.Struct):
    """Calls in order; one that could not be read to its end is the last. `rest`: more stands in
    the list, and it is no object.
    """

    calls: list[Written]
    rest: bool = False


def read_objects(reader: Reader) -> Objects | None:
    """The calls written as objects from here on; None where there is data that is no call."""
    in_list = reader.passed("[")
    calls: list[Written] = []
    while reader.peek() == "{":
        found, stopped = _read_object(reader)
        if found is None:
            return None
        calls += found
        if stopped:
            return Objects(calls)
        while reader.peek() in {",", ";"}:
            reader.at += 1
    closed = not in_list or reader.passed("]") or reader.ended
    return Objects(calls, rest=not closed)


def calls_in(members: dict[str, Any], *, closed: bool = True) -> list[Written] | None:
    """The calls that an object is; None where it is other data. Not `closed`: its brace lacks."""
    wrapped = members.get(_WRAPPER)
    if isinstance(wrapped, list):
        return _calls_in_list(cast("Sequence[Any]", wrapped))
    inner = members.get("function")
    if isinstance(inner, dict):
        calls = calls_in(cast("dict[str, Any]", inner))
        for call in calls or ():
            call.id = call.id or _id(members)
        return calls
    name = _name(members)
    if name is not None and (key := _arguments_key(members)):
        return _named_call(name, key, members)
    if name is not None and "name" in members and members.keys() <= _BESIDE | {"name"}:
        return [Written(name=name, id=_id(members), cut=not closed, bare=True)]
    return _by_key(members)


def _read_object(reader: Reader) -> tuple[list[Written] | None, bool]:
    """The calls of the object here, and whether nothing can be read after it."""
    members: dict[str, Any] = {}
    try:
        closed = reader.members(members)
    except CutError:
        return [_unfinished(members, cut=True)], True
    except MalformedError as error:
        return [_unfinished(members, cut=False, fault=str(error))], True
    return calls_in(members, closed=closed), False


def _unfinished(members: dict[str, Any], *, cut: bool, fault: str = "") -> Written:
    """A call that could not be read to its end, as far as it goes."""
    name = _name(members)
    certain = name is not None and _arguments_key(members) is not None
    if name is None and len(members) == 1:
        # `{"f": {…`: the key may be the name, which only a tool of that name can tell.
        name = next(iter(members))
        name = "" if name in {*_NAMES, *_ARGUMENTS, _WRAPPER} else name
    alone = members.keys() <= {*_NAMES, *_ARGUMENTS, *_BESIDE}
    return Written(
        name=name or "",
        cut=cut,
        fault=fault,
        certain=certain or ("arguments" in members and alone),
    )


def _calls_in_list(items: Sequence[Any]) -> list[Written] | None:
    found: list[Written] = []
    for item in items:
        calls = calls_in(cast("dict[str, Any]", item)) if isinstance(item, dict) else None
        if calls is None:
            return None
        found += calls
    return found


def _name(members: dict[str, Any]) -> str | None:
    texts = (members.get(key) for key in _NAMES)
    return next((text for text in texts if isinstance(text, str)), None)


def _id(members: dict[str, Any]) -> str:
    texts = (members.get(key) for key in ("id", "call_id", "tool_call_id"))
    return next((text for text in texts if isinstance(text, str)), "")


def _arguments_key(members: dict[str, Any]) -> str | None:
    return next((key for key in _ARGUMENTS if key in members), None)


def _named_call(name: str, key: str, members: dict[str, Any]) -> list[Written] | None:
    arguments = _object(members[key])
    if arguments is None:
        certain = key == "arguments"
        return [Written(name=name, id=_id(members), fault=_NO_OBJECT, certain=certain)]
    if key != "arguments" and _is_schema(arguments):
        return None  # the model repeats what it was told of the tool
    exact = "name" in members and members.keys() <= {"name", key} | _BESIDE
    certain = exact or key == "arguments"
    return [Written(name=name, arguments=arguments, id=_id(members), certain=certain)]


def _object(value: Any) -> dict[str, Any] | None:
    """Arguments as an object; OpenAI's form writes them as JSON text."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        inner = Reader(value)
        try:
            value = inner.value()
        except (CutError, MalformedError):
            return None
        if inner.peek():
            return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _is_schema(arguments: dict[str, Any]) -> bool:
    return arguments.get("type") == "object" and isinstance(arguments.get("properties"), dict)


def _by_key(members: dict[str, Any]) -> list[Written] | None:
    """`{"f": {…}}`: a call if the key is a tool's name."""
    if len(members) != 1:
        return None
    [(name, written)] = members.items()
    arguments = _object(written) if written else None
    if arguments is None and written != {}:
        return None
    return [Written(name=name, arguments=arguments or {}, certain=False)]
