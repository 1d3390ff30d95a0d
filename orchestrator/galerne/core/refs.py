"""References from one task's arguments to another task's result.

`{"$ref": "2"}` stands for the whole result of task 2 with its type; `{"$ref": "2.0.path"}`
descends into lists (by index, from the end when negative) and objects (by name). Inside a text,
`{{2}}` and `{{2.total}}` are replaced by text: a text as it is, every other value as JSON. A
result that is a text holding a JSON document (perhaps in a code fence) is parsed on the way
down. What was inserted is never read again for references.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from galerne.errors import InvalidInputError

REF: Final = "$ref"

# Possessive, for texts may be anybody's: what does not match is not tried in other ways.
_TEMPLATE = re.compile(r"\{\{\s*+([A-Za-z0-9_-]{1,64})(\s*+|(?:\.[^{}.]++)++)\}\}")
_WHOLE = re.compile(r"([A-Za-z0-9_-]{1,64})((?:\.[^{}.]+)*)")
_FENCE_OPENS = re.compile(r"\s*+```\w*+[^\S\n]*+\n")
_INDEX = re.compile(r"-?[0-9]{1,9}")


class Reference(msgspec.Struct, frozen=True):
    """A task's id and the way down into its result."""

    task: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.task, *self.path))


def references(value: Any) -> Iterator[Reference]:
    """Every reference in an arguments value, in the order in which they stand.

    Raises InvalidInputError when a `$ref` is not a usable reference.
    """
    match value:
        case str():
            yield from (_from_match(found) for found in _TEMPLATE.finditer(value))
        case {"$ref": _}:
            yield _from_object(cast("Mapping[str, Any]", value))
        case {"$blob": _}:  # how a stranger's content begins is no reference
            return
        case dict():
            for inner in cast("Mapping[str, Any]", value).values():
                yield from references(inner)
        case list():
            for inner in cast("Sequence[Any]", value):
                yield from references(inner)
        case _:
            return


def resolve(args: Any, results: Mapping[str, Any]) -> Any:
    """`args` with each reference replaced from `results` (task id → value).

    Raises InvalidInputError that names the reference and what is missing.
    """
    match args:
        case str():
            return _TEMPLATE.sub(
                lambda found: _as_text(_look_up(_from_match(found), results)), args
            )
        case {"$ref": _}:
            return _look_up(_from_object(cast("Mapping[str, Any]", args)), results)
        case {"$blob": _}:
            return cast("object", args)
        case dict():
            fields = cast("Mapping[str, Any]", args)
            return {name: resolve(inner, results) for name, inner in fields.items()}
        case list():
            return [resolve(inner, results) for inner in cast("Sequence[Any]", args)]
        case _:
            return args


def filled(text: str, results: Mapping[str, Any], limit: int) -> str:
    """`text` with the references in it replaced by what they stand for, where that is short.

    Short is a number, a truth value, or one line of at most `limit` characters. Any other, and one
    that leads nowhere, stays as it is.
    """

    def put(found: re.Match[str]) -> str:
        try:
            value = _look_up(_from_match(found), results)
        except InvalidInputError:
            return found[0]
        words = _as_text(value)
        plain = isinstance(value, str | int | float) and len(words) <= limit
        return words if plain and len(words.splitlines()) == 1 else found[0]

    return _TEMPLATE.sub(put, text)


def template(text: str) -> Reference | None:
    """The reference that a text consists of, as in `{{1.files}}`; None: it is more, or another."""
    found = _TEMPLATE.fullmatch(text.strip())
    return _from_match(found) if found else None


def renamed(args: Any, names: Mapping[str, str]) -> Any:
    """`args` with the tasks of its references under other names; those without one stay."""
    match args:
        case str():
            return _TEMPLATE.sub(lambda found: f"{{{{{_renamed(found, names)}}}}}", args)
        case {"$ref": _}:
            reference = _from_object(cast("Mapping[str, Any]", args))
            task = names.get(reference.task, reference.task)
            return {REF: str(Reference(task, reference.path))}
        case {"$blob": _}:
            return cast("object", args)
        case dict():
            fields = cast("Mapping[str, Any]", args)
            return {name: renamed(inner, names) for name, inner in fields.items()}
        case list():
            return [renamed(inner, names) for inner in cast("Sequence[Any]", args)]
        case _:
            return args


def _renamed(found: re.Match[str], names: Mapping[str, str]) -> Reference:
    reference = _from_match(found)
    return Reference(names.get(reference.task, reference.task), reference.path)


def parsed(value: Any) -> Any:
    """The JSON document in a text, perhaps in a code fence; any other value as it is."""
    if not isinstance(value, str):
        return value
    inside = _inside_fence(value)
    try:
        return msgspec.json.decode(value if inside is None else inside)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value


def _inside_fence(text: str) -> str | None:
    """What stands between the two lines of a code fence; None: the text is none."""
    opening, end = _FENCE_OPENS.match(text), text.rstrip()
    if opening is None or len(end) < opening.end() or not end.endswith("```"):
        return None
    inside = end[opening.end() : -len("```")]
    return inside if "\n" in inside[len(inside.rstrip()) :] else None


def _from_match(found: re.Match[str]) -> Reference:
    path = tuple(part.strip() for part in found[2].split(".")[1:])
    return Reference(found[1], path)


def _from_object(value: Mapping[str, Any]) -> Reference:
    if len(value) > 1:
        raise InvalidInputError(f"a {REF} stands alone in its object, without other fields")
    target = value[REF]
    if isinstance(target, int) and not isinstance(target, bool):
        target = str(target)
    found = _WHOLE.fullmatch(target.strip()) if isinstance(target, str) else None
    if found is None:
        raise InvalidInputError(
            f"{REF} {str(target)[:80]!r} is no reference: write a task's id, or id.field"
        )
    return _from_match(found)


def _look_up(reference: Reference, results: Mapping[str, Any]) -> Any:
    if reference.task not in results:
        raise InvalidInputError(f"{reference} refers to a task that is not among the task's needs")
    value = results[reference.task]
    for part in reference.path:
        value = _descend(value, part, reference)
    return value


def _descend(value: Any, part: str, reference: Reference) -> Any:
    whole = parsed(value)
    match whole:
        case dict():
            named = cast("Mapping[str, Any]", whole)
            if part in named:
                return named[part]
            there = ", ".join(list(named)[:20]) or "nothing"
            raise InvalidInputError(f"{reference}: there is no {part!r}, only {there}")
        case list():
            listed = cast("Sequence[Any]", whole)
            if _INDEX.fullmatch(part) and -len(listed) <= int(part) < len(listed):
                return listed[int(part)]
            raise InvalidInputError(f"{reference}: {part!r} is no index of {len(listed)} items")
        case _:
            raise InvalidInputError(f"{reference}: the result has no parts, so no {part!r}")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
