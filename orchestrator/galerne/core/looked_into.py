"""Which values have to be read whole before a task's arguments can be made."""

from collections.abc import Sequence
from typing import Any, cast

from galerne.core.refs import REF, references


def looked_into(args: Any) -> set[str]:
    """The tasks whose values have to be known to resolve the references in `args`.

    A whole reference passes a value on as it stands and needs none.
    """
    match args:
        case {"$ref": _}:
            return {one.task for one in references({REF: args[REF]}) if one.path}
        case dict():
            fields = cast("dict[str, Any]", args)
            return {task for inner in fields.values() for task in looked_into(inner)}
        case list():
            return {task for inner in cast("Sequence[Any]", args) for task in looked_into(inner)}
        case str():
            return {one.task for one in references(args)}
        case _:
            return set()
