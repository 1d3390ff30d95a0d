"""What an annotation says of a parameter, in the forms that people use.

msgspec reads bounds and descriptions in `msgspec.Meta`, and passes over all else. So a plain text,
the `Doc` of typing_extensions, and the bounds of the annotated-types package (`Ge`, `Len`,
`Interval`; pydantic's `Field` holds them) are turned into `Meta` here. They are known by
their attributes: none of these packages is imported.
"""

import types
from collections.abc import Iterable
from functools import reduce
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from galerne.tools.context import ToolContext

_BOUNDS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length")
_UNIONS = frozenset({Union, types.UnionType})


def readable(hint: Any) -> Any:
    """The annotation with what its notes say in msgspec's form, in optional and union types too."""
    if get_origin(hint) in _UNIONS:
        return Union[tuple(readable(one) for one in get_args(hint))]  # noqa: UP007 - made of a tuple
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    described = any(isinstance(note, msgspec.Meta) and note.description for note in notes)
    words = "" if described else " ".join(_words(notes))
    kept = [note for note in notes if isinstance(note, msgspec.Meta)]
    if words:
        kept.append(msgspec.Meta(description=words))
    bounds = [msgspec.Meta(**bound) for bound in _bounds(notes)]
    return _with(kept, _bounded(readable(kind), bounds))


def is_context(hint: Any) -> bool:
    """Whether the parameter takes the call's context; it may be optional."""
    match get_origin(hint):
        case origin if origin is Annotated:
            return is_context(get_args(hint)[0])
        case origin if origin in _UNIONS:
            kinds = [one for one in get_args(hint) if one is not type(None)]
            return len(kinds) == 1 and is_context(kinds[0])
        case _:
            return hint is ToolContext


def _with(notes: Iterable[msgspec.Meta], kind: Any) -> Any:
    return reduce(lambda made, note: Annotated[made, note], notes, kind)


def _bounded(kind: Any, bounds: list[msgspec.Meta]) -> Any:
    """Bounds are of what an optional value is where there is one: null has none."""
    kinds = get_args(kind) if get_origin(kind) in _UNIONS else ()
    if not bounds or type(None) not in kinds:
        return _with(bounds, kind)
    rest = tuple(one for one in kinds if one is not type(None))
    return Union[_with(bounds, Union[rest]), None]  # noqa: UP007 - made of a tuple


def _words(notes: Iterable[Any]) -> Iterable[str]:
    for note in notes:
        for said in (
            note,
            getattr(note, "documentation", None),
            getattr(note, "description", None),
        ):
            if isinstance(said, str) and said:
                yield said


def _bounds(notes: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for note in notes:
        if isinstance(note, msgspec.Meta | str | type):
            continue
        bound = {name: getattr(note, name, None) for name in _BOUNDS}
        given = {name: value for name, value in bound.items() if value is not None}
        if given:
            yield given
        yield from _bounds(getattr(note, "metadata", None) or ())
