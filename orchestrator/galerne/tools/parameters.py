"""A function's parameters: read once when it is decorated, used to decode every call.

Decoding is lenient where nothing can be lost, because small models write `"5"` for 5, `1.0` for
1, `"true"` for true and null for "not given": these are taken as meant (msgspec's
`strict=False`; null for an optional parameter that has no use for null is dropped). Anything else
that is wrong is refused with all its faults in one line, and with the signature, so that the
model's next try can be right. A text is never taken for a list, nor a number for a text.
"""

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints

import msgspec

from galerne.errors import InvalidInputError, InvalidMessageError
from galerne.messages.blobs import Blob, is_blob, to_blob
from galerne.tools.annotations import is_context, readable
from galerne.tools.context import NO_BLOBS, BlobFile, BlobStore
from galerne.tools.schema import (
    Schema,
    object_schema,
    result_schema,
    signature_line,
    value_schema,
    without_null,
)

_SHOWN = 60
"""Characters of a wrong value that its refusal repeats."""


class ReadsArguments(Protocol):
    """How a tool's arguments are read, whether its parameters are annotations or a schema."""

    @property
    def schema(self) -> Schema: ...

    @property
    def context(self) -> str | None:
        """The parameter that takes the ToolContext."""
        ...

    def decode(self, arguments: Mapping[str, Any], blobs: BlobStore = NO_BLOBS) -> dict[str, Any]:
        """JSON arguments as keyword arguments. Raises InvalidInputError, one line."""
        ...

    def to_read(self, arguments: Mapping[str, Any]) -> dict[str, Blob]:
        """The arguments that are content put aside, for parameters that want the value itself."""
        ...


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """`types` maps each parameter that a model gives to its annotation.

    `context` is the parameter that takes the ToolContext, `droppable` those where null means
    "not given".
    """

    tool: str
    types: dict[str, Any]
    struct: type[msgspec.Struct]
    schema: Schema
    droppable: frozenset[str]
    context: str | None

    def decode(self, arguments: Mapping[str, Any], blobs: BlobStore = NO_BLOBS) -> dict[str, Any]:
        """JSON arguments as keyword arguments, defaults filled in; files are read from `blobs`.

        Raises InvalidInputError, one line for the model.
        """
        given = {
            name: value
            for name, value in arguments.items()
            if value is not None or name not in self.droppable
        }
        try:
            decoded = _convert(given, self.struct, blobs)
        except msgspec.ValidationError as error:
            faults = "; ".join(self._faults(given)) or str(error)
            usage = signature_line(self.tool, self.schema)
            raise InvalidInputError(f"wrong arguments: {faults}. Call it as {usage}") from error
        return {name: getattr(decoded, name) for name in self.types}

    def to_read(self, arguments: Mapping[str, Any]) -> dict[str, Blob]:
        """The arguments that are content put aside, for parameters that want the value itself."""
        return {
            name: to_blob(value)
            for name, value in arguments.items()
            if is_blob(value) and name in self.types and _fault(value, self.types[name])
        }

    def _faults(self, given: Mapping[str, Any]) -> list[str]:
        required: list[str] = self.schema.get("required", [])
        missing = [f"{name} is missing" for name in required if name not in given]
        unknown = [self._unknown(name) for name in given if name not in self.types]
        wrong = [
            f"{name}: {fault}, not {_shown(given[name])}"
            for name, kind in self.types.items()
            if name in given and (fault := _fault(given[name], kind))
        ]
        return missing + unknown + wrong

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name[:64], self.types, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"there is no parameter {_shown(name)}{hint}"


def read_parameters(
    function: Callable[..., Any], tool: str, described: Mapping[str, str]
) -> Parameters:
    """What `function` takes; `described` is what its docstring says of each parameter.

    Raises InvalidInputError for a parameter that a model could not give by name and type.
    """
    hints, defaults = _read_hints(function, tool)
    contexts = [name for name, hint in hints.items() if is_context(hint)]
    if len(contexts) > 1:
        raise InvalidInputError(f"tool {tool}: {' and '.join(contexts)} both take the context")
    types = {name: hint for name, hint in hints.items() if name not in contexts}
    try:
        struct = _make_struct(tool, types, defaults)
        for name, kind in types.items():
            _check_form(name, kind)
        schema = _describe(object_schema(struct), described)
        droppable = frozenset(n for n in types if n in defaults and not _takes_null(types[n]))
    except (TypeError, ValueError, RuntimeError, InvalidInputError) as error:
        raise InvalidInputError(f"tool {tool}: {' '.join(str(error).split())}") from error
    return Parameters(
        tool=tool,
        types=types,
        struct=struct,
        schema=schema,
        droppable=droppable,
        context=contexts[0] if contexts else None,
    )


def _check_form(name: str, kind: Any) -> None:
    """Raises InvalidInputError for a type that no JSON can have."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    try:
        value_schema(bare)  # with an annotation msgspec takes any type there is
    except TypeError as error:
        shown = getattr(bare, "__name__", None) or str(bare)
        raise InvalidInputError(
            f"the parameter {name} has the type {shown}, of which a model can write no value: use"
            " types of JSON, Literal, a dataclass or a msgspec.Struct"
        ) from error


def read_returns(function: Callable[..., Any]) -> Schema | None:
    """The schema of what it returns; None where that is not said, or is any JSON at all."""
    try:
        hint = get_type_hints(function, include_extras=True).get("return", Any)
        schema = result_schema(hint)
    except (NameError, TypeError, ValueError, InvalidInputError):
        return None
    return schema or None


def _read_hints(function: Callable[..., Any], tool: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Annotation and, where there is one, default of each parameter, in order."""
    signature = inspect.signature(function)
    try:
        annotations = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise InvalidInputError(f"tool {tool}: an annotation cannot be read: {error}") from error
    hints: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise InvalidInputError(
                f"tool {tool}: a model gives arguments by name, so {parameter} cannot be filled; "
                "use plain named parameters"
            )
        if name.startswith("__"):
            raise InvalidInputError(f"tool {tool}: name the parameter {name} without underscores")
        if name not in annotations:
            raise InvalidInputError(f"tool {tool}: annotate the parameter {name} with its type")
        hints[name] = readable(annotations[name])
        default: Any = parameter.default
        if type(default) in {list, dict, set} and default:
            raise InvalidInputError(
                f"tool {tool}: all calls would share the default of {name}; write None or a tuple,"
                " and make it inside"
            )
        if default is not parameter.empty:
            defaults[name] = default
    return hints, defaults


def _make_struct(
    tool: str, types: Mapping[str, Any], defaults: Mapping[str, Any]
) -> type[msgspec.Struct]:
    fields = [
        (name, kind, defaults[name]) if name in defaults else (name, kind)
        for name, kind in types.items()
    ]
    return msgspec.defstruct(f"{tool}_arguments", fields, kw_only=True, forbid_unknown_fields=True)


def _describe(schema: Schema, described: Mapping[str, str]) -> Schema:
    """The schema with the docstring's words on each parameter that has none of its own."""
    properties: dict[str, Schema] = {}
    for name, field in schema["properties"].items():
        words = described.get(name)
        beside = {"description": words} if words and "description" not in field else {}
        properties[name] = without_null({**field, **beside})
    return {**schema, "properties": properties}


def _takes_null(kind: Any) -> bool:
    """Whether null is a value of its own here. `Any` counts: what else could it mean?"""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return bare is Any or _fault(None, kind) is None


def _convert(value: Any, kind: Any, blobs: BlobStore = NO_BLOBS) -> Any:
    def own(kind: type, value: Any) -> Any:
        if kind is not BlobFile:
            raise NotImplementedError
        try:
            return BlobFile(to_blob(value), blobs)
        except InvalidMessageError as error:
            raise ValueError('expected content, {"$blob": 64 digits, "size": bytes}') from error

    return msgspec.convert(value, kind, strict=False, str_keys=True, dec_hook=own)


def _fault(value: Any, kind: Any) -> str | None:
    try:
        _convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error).replace("`", "").partition(", got ")[0].replace("Expected", "expected")
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
