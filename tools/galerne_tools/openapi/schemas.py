"""What OpenAPI 3.0 and 3.1 write about values, as JSON Schema Draft 7 in one piece.

References are replaced by what they lead to, where that ends: inside itself, a schema is any
value. `nullable`, the limits of 3.0 that are true or false, tuples of 3.1 and what only the
server fills in (`readOnly`) are written as Draft 7 and a model need them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from galerne.core.patterns import without_unusable_patterns
from galerne.core.schema_words import in_words_of_json
from galerne.errors import InvalidInputError
from galerne_tools.openapi.document import Tree

Schema = dict[str, Any]

MAX_NODES = 5000
"""Nodes of one operation's schema; a model could not read a tenth of them."""
_CHAIN = 30
"""References in a row, and levels below one another."""

_LITERAL = frozenset({"default", "enum", "const"})
_PLAIN = frozenset(
    [
        "type",
        "format",
        "description",
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "required",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "nullable",
        "pattern",
    ]
)
_ONE = ("additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_MANY = ("anyOf", "oneOf", "allOf")
_OF_OBJECT = frozenset({"type", "properties", "required", "description"})


class References:
    """Finds what `$ref` leads to inside one document."""

    def __init__(self, tree: Tree, login: tuple[str, str] | None = None) -> None:
        self._tree = tree
        self._login = login

    def is_login(self, parameter: Tree) -> bool:
        """Whether it is the one that the settings fill in; names of headers have no case."""
        where, name = str(parameter.get("in")), str(parameter.get("name"))
        return (where, name.lower() if where == "header" else name) == self._login

    def followed(self, node: Any) -> Tree:
        """A parameter, a body, a path: what it refers to, or itself. Raises InvalidInputError."""
        for _ in range(_CHAIN):
            if not isinstance(node, dict):
                return {}
            fields = cast("Tree", node)
            if not isinstance(fields.get("$ref"), str):
                return fields
            node = self.at(fields["$ref"])
        raise InvalidInputError("a reference leads to itself")

    def at(self, reference: str) -> Any:
        """What stands at `#/components/…`. Raises InvalidInputError."""
        if not reference.startswith("#"):
            raise InvalidInputError(
                f"{reference[:80]!r} leads out of the document; bundle it into one file"
            )
        found: Any = self._tree
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            match found:
                case dict() if name in found:
                    found = cast("Tree", found)[name]
                case list() if name.isdecimal() and int(name) < len(cast("Sequence[Any]", found)):
                    found = cast("Sequence[Any]", found)[int(name)]
                case _:
                    raise InvalidInputError(f"{reference[:80]!r} leads nowhere in the document")
        return found


class Schemas:
    """Rewrites the schemas of one operation; together they have at most `MAX_NODES` nodes."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._left = MAX_NODES

    def draft7(self, node: Any) -> Schema:
        """Raises InvalidInputError where it is too large, or refers to what is not there."""
        schema = in_words_of_json(self._draft7(node, (), 0))
        return without_unusable_patterns(schema)

    def _draft7(self, node: Any, inside: tuple[str, ...], depth: int) -> Schema:
        self._left -= 1
        if self._left < 0:
            raise InvalidInputError(f"its schema has more than {MAX_NODES} nodes")
        if node is False:
            return {"not": {}}
        if not isinstance(node, dict) or depth > _CHAIN:
            return {}
        fields = cast("Tree", node)
        reference = fields.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                return {"description": f"as {reference.rpartition('/')[2]} above"}
            target = self._references.at(reference)
            found = self._draft7(target, (*inside, reference), depth + 1)
            beside = {key: value for key, value in fields.items() if key != "$ref"}
            return found | self._draft7(beside, inside, depth + 1) if beside else found
        return self._own(fields, inside, depth + 1)

    def _own(self, fields: Tree, inside: tuple[str, ...], depth: int) -> Schema:
        schema: Schema = {
            key: value for key, value in fields.items() if key in _PLAIN or key in _LITERAL
        }
        for key in _ONE:
            if key in fields and fields[key] is not True:
                schema[key] = self._draft7(fields[key], inside, depth)
        for key in _MANY:
            if isinstance(fields.get(key), list):
                schema[key] = [self._draft7(one, inside, depth) for one in fields[key]]
        self._properties(schema, fields, inside, depth)
        self._items(schema, fields, inside, depth)
        return _merged(schema)

    def _properties(
        self, schema: Schema, fields: Tree, inside: tuple[str, ...], depth: int
    ) -> None:
        if not isinstance(fields.get("properties"), dict):
            return
        schema.setdefault("type", "object")
        given = cast("Mapping[str, Any]", fields["properties"])
        hidden = {name for name, one in given.items() if self._is_read_only(one)}
        schema["properties"] = {
            name: self._draft7(one, inside, depth)
            for name, one in given.items()
            if name not in hidden
        }
        if hidden and isinstance(schema.get("required"), list):
            schema["required"] = [name for name in schema["required"] if name not in hidden]

    def _is_read_only(self, node: Any) -> bool:
        return isinstance(node, dict) and cast("Tree", node).get("readOnly") is True

    def _items(self, schema: Schema, fields: Tree, inside: tuple[str, ...], depth: int) -> None:
        if isinstance(fields.get("prefixItems"), list):
            schema["items"] = [self._draft7(one, inside, depth) for one in fields["prefixItems"]]
            if "items" in fields:
                schema["additionalItems"] = self._draft7(fields["items"], inside, depth)
        elif "items" in fields:
            schema["items"] = self._draft7(fields["items"], inside, depth)


def _merged(schema: Schema) -> Schema:
    """Objects that an `allOf` puts together, as one: small models read no `allOf`."""
    parts = cast("Sequence[Schema]", schema.get("allOf", []))
    rest = {key: value for key, value in schema.items() if key != "allOf"}
    if len(parts) == 1 and not (rest.keys() - {"description", "default", "nullable"}):
        return parts[0] | rest
    if not parts or not all(_is_object(part) for part in (*parts, rest)):
        return schema
    properties: Schema = {}
    required: list[str] = []
    for part in (*parts, rest):
        for name, one in part.get("properties", {}).items():
            if properties.get(name, one) != one:
                return schema
            properties[name] = one
        required += [name for name in part.get("required", []) if name not in required]
    merged = {"type": "object", "properties": properties} | {
        key: value for key, value in rest.items() if key not in {"properties", "required"}
    }
    return merged | ({"required": required} if required else {})


def _is_object(part: Schema) -> bool:
    extra = part.keys() - _OF_OBJECT - {"nullable", "default"}
    return not extra and part.get("type", "object") == "object"
