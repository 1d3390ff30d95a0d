"""Calls written as in Python: `f(a=1, b=[2])`, alone, one after another, or in a list.

Only literals may stand as values: nothing is looked up, nothing is computed. A name may be dotted,
quoted or have Markdown's escaped underscores. Whatever else Python could mean (an assignment, a
call inside a call, a star, an operator) makes the text something other than calls.
"""

import re
from typing import Any, Final

from galerne.models.repair.literals import CutError, MalformedError, Reader
from galerne.models.repair.strings import plain_name
from galerne.models.repair.written import Written

_NAME: Final = r"[^\W\d](?:[\w.-]|\\_){0,99}"
_OPENING: Final = re.compile(rf"({_NAME}|\"{_NAME}\"|'{_NAME}'|`{_NAME}`)\(")
_KEYWORD: Final = re.compile(r"([^\W\d]\w*+(?:\\_\w*+)*+)\s*+[=:](?!=)")
_BEGUN_KEYWORD: Final = re.compile(r"[^\W\d]\w*+(?:\\\w*+)*+\s*+")
_MAX_ARGUMENTS: Final = 256


def read_functions(reader: Reader) -> list[Written] | None:
    """The Python-like calls from here on; None where there is none, or something else in one.

    One that could not be read to its end is the last.
    """
    in_list = reader.passed("[")
    calls: list[Written] = []
    reader.peek()
    while opening := reader.take(_OPENING):
        call = _read_call(reader, plain_name(opening[1]))
        if call is None:
            return None
        calls.append(call)
        if call.cut or call.fault:
            return calls
        while reader.peek() in {",", ";"}:
            reader.at += 1
    if not calls or (in_list and not reader.passed("]") and not reader.ended):
        return None
    return calls


def _read_call(reader: Reader, name: str) -> Written | None:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    try:
        _read_arguments(reader, positional, named)
    except CutError:
        return Written(name=name, cut=True, certain=bool(named))
    except MalformedError as error:
        return Written(name=name, fault=str(error), certain=False) if named else None
    return Written(
        name=name,
        arguments=named,
        positional=tuple(positional),
        certain=bool(named) and not positional,
    )


def _read_arguments(reader: Reader, positional: list[Any], named: dict[str, Any]) -> None:
    comma = True
    while not reader.passed(")"):
        if reader.ended:
            raise CutError
        if not comma or len(positional) + len(named) >= _MAX_ARGUMENTS:
            raise MalformedError("has arguments that are not valid")
        if keyword := reader.take(_KEYWORD):
            key = plain_name(keyword[1])
            if key in named:
                raise MalformedError(f"gives the argument {key[:64]!r} twice")
            named[key] = None  # from here on it is a call, even where its value is none
            named[key] = reader.value()
        elif named:
            _end_of_keyword(reader)
        else:
            positional.append(_positional(reader))
        comma = reader.passed(",")


def _positional(reader: Reader) -> Any:
    start = reader.at
    try:
        return reader.value()
    except MalformedError:
        reader.at = start
        return _end_of_keyword(reader)


def _end_of_keyword(reader: Reader) -> Any:
    """A keyword that the end of the text cuts; anything else here is malformed."""
    if reader.take(_BEGUN_KEYWORD) and reader.ended:
        raise CutError
    raise MalformedError("has a value without a name after one with a name")
