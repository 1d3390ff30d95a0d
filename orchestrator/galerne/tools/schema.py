"""What a model is told about a tool: a JSON Schema, a description, a line that shows a call.

msgspec writes JSON Schema 2020-12 with references; small models and older back ends want Draft 7
in one piece. So references are replaced by what they point to, fixed tuples take Draft 7's form,
and what only helps code generators (titles, discriminators) is left out.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from galerne.errors import InvalidInputError
from galerne.messages.blobs import KEY
from galerne.tools.context import BlobFile

Schema = dict[str, Any]

_HEADING = re.compile(
    r"(args|arguments|parameters|returns|raises|yields|examples?|notes?):", re.IGNORECASE
)
_ARGS = ("args:", "arguments:", "parameters:")
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_LITERAL = frozenset({"default", "enum", "const", "examples"})


def object_schema(struct: type[msgspec.Struct]) -> Schema:
    """The struct as one self-contained Draft 7 schema of type object.

    Raises InvalidInputError for a type that refers to itself, TypeError for one without a schema.
    """
    return value_schema(struct)


def value_schema(kind: Any) -> Schema:
    """Any type as one self-contained Draft 7 schema. Raises as `object_schema`."""
    (reference,), components = msgspec.json.schema_components([kind], schema_hook=_own)
    return cast("Schema", _draft7(reference, components, ()))


def result_schema(kind: Any) -> Schema:
    """What a tool gives that returns this type: an object has its fields and no others.

    Raises as `object_schema`.
    """
    return cast("Schema", _closed(value_schema(kind)))


def _closed(node: Any) -> Any:
    match node:
        case list():
            return [_closed(item) for item in cast("Sequence[Any]", node)]
        case dict():
            fields = cast("Mapping[str, Any]", node)
            closed = {
                key: value if key in _LITERAL else _closed(value)
                for key, value in fields.items()
                if key != "properties"
            }
            if "properties" not in fields:
                return closed
            properties = {name: _closed(field) for name, field in fields["properties"].items()}
            return {"additionalProperties": False} | closed | {"properties": properties}
        case _:
            return node


def _own(kind: type) -> Schema:
    """The schema of a type of ours that msgspec does not know. Raises NotImplementedError."""
    if kind is not BlobFile:
        raise NotImplementedError
    sha256 = {"type": "string", "description": "64 digits, as they were shown"}
    size = {"type": "integer", "description": "bytes, as they were shown"}
    return {
        "type": "object",
        "properties": {KEY: sha256, "size": size},
        "required": [KEY, "size"],
    }


def _draft7(node: Any, components: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    match node:
        case list():
            items = cast("Sequence[Any]", node)
            return [_draft7(item, components, within) for item in items]
        case dict():
            fields = cast("Mapping[str, Any]", node)
            convert = _inlined if "$ref" in fields else _converted
            return convert(fields, components, within)
        case _:
            return node


def _converted(
    fields: Mapping[str, Any], components: Mapping[str, Any], within: tuple[str, ...]
) -> Schema:
    converted: Schema = {}
    for key, value in fields.items():
        if key in {"title", "discriminator"}:
            continue
        if key in _LITERAL:
            converted[key] = value
        elif key == "properties":
            converted[key] = {
                name: _draft7(field, components, within) for name, field in value.items()
            }
        else:
            converted[_draft7_key(key, fields)] = _draft7(value, components, within)
    return converted


def _draft7_key(key: str, fields: Mapping[str, Any]) -> str:
    """Draft 7 says `items` and `additionalItems` where 2020-12 says `prefixItems` and `items`."""
    if "prefixItems" not in fields:
        return key
    return {"prefixItems": "items", "items": "additionalItems"}.get(key, key)


def _inlined(
    fields: Mapping[str, Any], components: Mapping[str, Any], within: tuple[str, ...]
) -> Schema:
    name = str(fields["$ref"]).rsplit("/", 1)[-1]
    if name in within:
        raise InvalidInputError(f"the type {name} contains itself; a model needs a finite schema")
    target = _draft7(components[name], components, (*within, name))
    beside = {key: value for key, value in fields.items() if key != "$ref"}
    return {**target, **beside}


def without_null(field: Schema) -> Schema:
    """An optional field as a model reads it best: leave it out, rather than say null.

    `{"anyOf": [X, null], "default": null}` becomes X. Null stays accepted by the decoder.
    """
    branches: list[Schema] = field.get("anyOf", [])
    kept = [branch for branch in branches if branch != {"type": "null"}]
    if field.get("default", ...) is not None or len(kept) == len(branches):
        return field
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
    return {**kept[0], **rest} if len(kept) == 1 else {"anyOf": kept, **rest}


def read_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The text above the first section, and the entries of a Google-style `Args:` section.

    Both on one line each, as prompts list them.
    """
    lines = inspect.cleandoc(docstring or "").splitlines()
    heads = [n for n, line in enumerate(lines) if _HEADING.fullmatch(line.rstrip())]
    end = heads[0] if heads else len(lines)
    described: dict[str, str] = {}
    for n, head in enumerate(heads):
        if lines[head].rstrip().lower() in _ARGS:
            stop = heads[n + 1] if n + 1 < len(heads) else len(lines)
            described.update(_read_entries(lines[head + 1 : stop]))
    return _one_line(lines[:end]), described


def _read_entries(lines: list[str]) -> dict[str, str]:
    """Entries start at the section's own indentation; deeper lines continue them."""
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    entries: dict[str, list[str]] = {}
    name: str | None = None
    for line in lines:
        found = _ENTRY.fullmatch(line.strip())
        if found and len(line) - len(line.lstrip()) == indents[0]:
            name = str(found[1])
            entries[name] = [found[2]]
        elif name is not None:
            entries[name].append(line)
    return {name: _one_line(text) for name, text in entries.items()}


def _one_line(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def signature_line(name: str, schema: Schema) -> str:
    """How to call it: `read_file(path: string, start_line?: integer)`."""
    required = schema.get("required", ())
    shown = (
        f"{field}{'' if field in required else '?'}: {_type_word(kind)}"
        for field, kind in schema.get("properties", {}).items()
    )
    return f"{name}({', '.join(shown)})"


def _type_word(kind: Schema | bool) -> str:  # noqa: FBT001 - JSON Schema has true and false
    if isinstance(kind, bool):
        return "any" if kind else "never"
    if "enum" in kind:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in kind["enum"])
    if "anyOf" in kind:
        return " | ".join(_type_word(branch) for branch in kind["anyOf"])
    if kind.get("type") == "array" and isinstance(kind.get("items"), dict):
        return f"array of {_type_word(kind['items'])}"
    word: str | list[str] = kind.get("type", "any")
    return " | ".join(word) if isinstance(word, list) else str(word)
