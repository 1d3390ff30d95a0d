"""The operations of a document, each as a tool needs it: a name, one schema, where arguments go.

Parameters of path, query, head and cookies and the fields of a JSON body stand side by side in one
object; where two have one name, each gets the name of its place in front.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast, get_args

import msgspec

from galerne.errors import InvalidInputError
from galerne.messages.tools import Effect
from galerne_tools.openapi.document import Tree
from galerne_tools.openapi.schemas import References, Schema, Schemas

Where = Literal["path", "query", "header", "cookie", "field", "body"]

EFFECT = "x-galerne-effect"
KEY_HEADER = "x-galerne-idempotency-key"
"""Extension of an operation: the name of the header that takes a call's key."""
_METHODS: Mapping[str, Effect] = {
    "get": "pure",
    "head": "pure",
    "put": "idempotent",
    "delete": "idempotent",
    "post": "once",
    "patch": "once",
}
_STYLES: Mapping[str, str] = {
    "path": "simple",
    "query": "form",
    "header": "simple",
    "cookie": "form",
}
_NOT_PARAMETERS = frozenset(
    [
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers that are HTTP's own, or a login; OpenAPI ignores most of them, too."""
_DESCRIPTION = 800


class Place(msgspec.Struct, frozen=True):
    """Where an argument goes: as which name, and in which of OpenAPI's styles.

    `is_json`: it is written as JSON there. `field` is one of the body's, `body` the whole of it.
    """

    name: str
    where: Where
    style: str = "form"
    explode: bool = True
    reserved: bool = False
    is_json: bool = False


class Operation(msgspec.Struct, frozen=True):
    """`media` is the body's content type, empty where it has none.

    `key_header` is the header that takes a call's key, None where there is none.
    """

    id: str
    name: str
    method: str
    path: str
    description: str
    schema: Schema
    places: dict[str, Place]
    media: str
    effect: Effect
    key_header: str | None


class _Argument(msgspec.Struct, frozen=True):
    place: Place
    schema: Schema
    required: bool


class Unusable(msgspec.Struct, frozen=True):
    """An operation that becomes no tool, and why."""

    id: str
    why: str


def operations_of(
    tree: Tree, service: str, login: tuple[str, str] | None = None
) -> Iterator[Operation | Unusable]:
    """All of them in the document's order; names are different from one another.

    `login` is place and name of the parameter that the settings fill in, and no model.
    """
    references = References(tree, login)
    taken: set[str] = set()
    paths: Any = tree.get("paths")
    for path, node in cast("Mapping[str, Any]", paths if isinstance(paths, dict) else {}).items():
        try:
            item = references.followed(node)
        except InvalidInputError as error:
            yield Unusable(path, str(error))
            continue
        for method in _METHODS:
            if not isinstance(item.get(method), dict):
                continue
            fields = cast("Tree", item[method])
            stated = fields.get("operationId")
            named = stated if isinstance(stated, str) and stated else f"{method} {path}"
            name = _unique(_tool_name(service, named), taken)
            try:
                yield _operation(references, item, fields, (named, name, method, path))
            except InvalidInputError as error:
                yield Unusable(named, str(error))


def _operation(
    references: References, item: Tree, fields: Tree, called: tuple[str, str, str, str]
) -> Operation:
    named, name, method, path = called
    schemas = Schemas(references)
    header = fields.get(KEY_HEADER)
    key_header = header if isinstance(header, str) and header else None
    arguments: list[_Argument] = []
    for parameter in _parameters(references, item, fields):
        if parameter.get("in") == "header" and str(parameter["name"]).lower() == "idempotency-key":
            key_header = key_header or str(parameter["name"])
            continue
        argument = _argument(schemas, parameter)
        if argument is not None:
            arguments.append(argument)
    _check_path(path, arguments)
    media, of_body = _body(references, schemas, fields.get("requestBody"))
    schema, places = _together([*arguments, *of_body])
    return Operation(
        id=named,
        name=name,
        method=method.upper(),
        path=path,
        description=_description(fields, method, path),
        schema=schema,
        places=places,
        media=media,
        effect=_effect(fields, method, has_key=key_header is not None),
        key_header=key_header,
    )


def _parameters(references: References, item: Tree, fields: Tree) -> list[Tree]:
    """An operation's own parameters stand for those of its path with the same name and place."""
    found: dict[tuple[str, str], Tree] = {}
    for holder in (item, fields):
        listed: Any = holder.get("parameters")
        for node in cast("Sequence[Any]", listed if isinstance(listed, list) else []):
            parameter = references.followed(node)
            name, where = parameter.get("name"), parameter.get("in")
            if isinstance(name, str) and where in _STYLES and not references.is_login(parameter):
                found[name, str(where)] = parameter
    return list(found.values())


def _argument(schemas: Schemas, parameter: Tree) -> _Argument | None:
    """None for a header that is not a parameter's to set."""
    name, where = str(parameter["name"]), cast("Where", parameter["in"])
    if where == "header" and name.lower() in _NOT_PARAMETERS:
        return None
    style = parameter.get("style") or _STYLES[where]
    content: Any = parameter.get("content")
    is_json = isinstance(content, dict) and bool(cast("Tree", content))
    node = next(iter(cast("Tree", content).values())) if is_json else parameter
    schema = schemas.draft7(cast("Tree", node).get("schema") if isinstance(node, dict) else None)
    if isinstance(parameter.get("description"), str):
        schema["description"] = _short(parameter["description"])
    place = Place(
        name=name,
        where=where,
        style=str(style),
        explode=bool(parameter.get("explode", style == "form")),
        reserved=parameter.get("allowReserved") is True,
        is_json=is_json,
    )
    return _Argument(place, schema, where == "path" or parameter.get("required") is True)


def _check_path(path: str, arguments: Sequence[_Argument]) -> None:
    named = set(re.findall(r"\{([^{}]+)\}", path))
    given = {one.place.name for one in arguments if one.place.where == "path"}
    if named - given:
        raise InvalidInputError(f"{path} needs {', '.join(sorted(named - given))}, not described")


def _body(references: References, schemas: Schemas, node: Any) -> tuple[str, list[_Argument]]:
    """The body's content type and its arguments: its fields, or the whole of it."""
    body = references.followed(node)
    content: Any = body.get("content")
    if not isinstance(content, dict) or not content:
        return "", []
    kinds = cast("Tree", content)
    media = next((kind for kind in kinds if is_json(kind)), None) or next(
        (kind for kind in kinds if kind.startswith(("application/x-www-form", "text/"))), None
    )
    if media is None:
        raise InvalidInputError(f"it takes {', '.join(kinds)[:80]}, which a model cannot write")
    described: Any = kinds[media]
    schema = schemas.draft7(
        cast("Tree", described).get("schema") if isinstance(described, dict) else None
    )
    required = body.get("required") is True
    sent = "application/json" if media == "*/*" else media
    if schema.get("type") != "object" or not schema.get("properties"):
        return sent, [_Argument(Place("body", "body"), schema, required)]
    needed = cast("Sequence[str]", schema.get("required", []))
    return sent, [
        _Argument(Place(name, "field"), one, required and name in needed)
        for name, one in schema["properties"].items()
    ]


def is_json(media: str) -> bool:
    kind = media.partition(";")[0].strip().lower()
    return kind in {"application/json", "*/*"} or kind.endswith("+json")


def _together(arguments: Sequence[_Argument]) -> tuple[Schema, dict[str, Place]]:
    named = [one.place.name for one in arguments]
    properties: Schema = {}
    places: dict[str, Place] = {}
    required: list[str] = []
    for one in arguments:
        name = one.place.name
        if named.count(name) > 1:
            name = _unique(f"{one.place.where}_{name}", set(places) | set(named))
        properties[name] = one.schema
        places[name] = one.place
        if one.required:
            required.append(name)
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return schema, places


def _effect(fields: Tree, method: str, *, has_key: bool) -> Effect:
    stated = fields.get(EFFECT)
    if stated in get_args(Effect):
        return cast("Effect", stated)
    if stated is not None:
        raise InvalidInputError(f"its {EFFECT} is none of {', '.join(get_args(Effect))}")
    usual = _METHODS[method]
    return "idempotent" if has_key and usual == "once" else usual


def _description(fields: Tree, method: str, path: str) -> str:
    texts = [fields.get("summary"), fields.get("description")]
    said = [" ".join(text.split()) for text in texts if isinstance(text, str) and text.strip()]
    whole = ". ".join(dict.fromkeys(text.rstrip(".") for text in said))
    return _short(f"{whole}." if whole else f"{method.upper()} {path}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _DESCRIPTION else f"{line[:_DESCRIPTION]}…"


def _tool_name(service: str, named: str) -> str:
    """As models allow names: 64 letters, digits, `_` and `-`; long ones stay different."""
    name = re.sub(r"_{2,}", "_", re.sub(r"[^a-zA-Z0-9_-]", "_", f"{service}_{named}")).strip("_")
    if len(name) <= 60:  # noqa: PLR2004 - room for a number at its end
        return name
    return f"{name[:51]}_{hashlib.sha256(named.encode()).hexdigest()[:8]}"


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
