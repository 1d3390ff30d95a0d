"""From arguments to a request, as OpenAPI's styles say. Pure; nothing is sent here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, urlencode

import msgspec

from galerne.errors import ToolError
from galerne.messages.codec import encode
from galerne_tools.openapi.operations import Operation, Place, is_json

_RESERVED = ":/?[]@!$'()*,;="
"""What a query may hold as it is, where a parameter says so."""
_IN_PATH = "/:@!$&'()*+,;=~%"


class Request(msgspec.Struct, frozen=True):
    """`target` is the path with its query, each part encoded; it comes after the base."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None = None


def request_of(operation: Operation, arguments: Mapping[str, Any], key: str) -> Request:
    """Raises ToolError for a value that a path or a header cannot carry.

    A `null` for what may be left out is left out. `key` is the call's.
    """
    in_path: dict[str, str] = {}
    query: list[str] = []
    cookies: list[str] = []
    headers: dict[str, str] = {}
    given = [(operation.places[name], value) for name, value in arguments.items()]
    for place, value in given:
        if value is None or place.where in {"field", "body"}:
            continue
        match place.where:
            case "path":
                in_path[place.name] = _in_path(place, value)
            case "query":
                query += _in_query(place, value)
            case "header":
                headers[place.name] = _in_header(place, value)
            case _:
                cookies += _in_query(place, value)
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    if operation.key_header is not None:
        headers[operation.key_header] = key
    body = _body(operation, arguments)
    if body is not None:
        headers["Content-Type"] = operation.media
    target = _filled(operation.path, in_path) + (f"?{'&'.join(query)}" if query else "")
    return Request(method=operation.method, target=target, headers=headers, body=body)


def _filled(path: str, values: Mapping[str, str]) -> str:
    """The document's path with the values, which are encoded, in its braces."""
    pieces = re.split(r"\{([^{}]+)\}", path)
    fixed = [quote(piece, safe=_IN_PATH) for piece in pieces[::2]]
    filled = [values.get(name, "") for name in pieces[1::2]]
    return "".join(part for pair in zip(fixed, [*filled, ""], strict=True) for part in pair)


def _in_path(place: Place, value: Any) -> str:
    first, between = {"label": (".", "."), "matrix": (";", ";")}.get(place.style, ("", ","))
    parts = _parts(place, value)
    joined = between if place.explode else ","
    if place.style == "matrix":
        name = quote(place.name, safe="")
        if isinstance(value, dict) and place.explode:
            text = ";" + ";".join(parts)
        elif isinstance(value, list) and place.explode:
            text = "".join(f";{name}={part}" for part in parts)
        else:
            text = f";{name}={','.join(parts)}"
    else:
        text = first + joined.join(parts)
    if text in {"", ".", ".."}:
        raise ToolError(f"{place.name} must not be empty or dots: it is a part of the path")
    return text


def _in_query(place: Place, value: Any) -> list[str]:
    name = quote(place.name, safe="[]")
    match value:
        case dict() if place.style == "deepObject" and not place.is_json:
            return list(_deep(name, cast("Mapping[str, Any]", value), place))
        case dict() if place.explode and not place.is_json:
            return _parts(place, cast("Any", value))
        case list() if place.explode and not place.is_json:
            return [f"{name}={part}" for part in _parts(place, cast("Any", value))]
        case _:
            between = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}.get(place.style, ",")
            return [f"{name}={between.join(_parts(place, value))}"]


def _deep(name: str, value: Mapping[str, Any], place: Place) -> Iterable[str]:
    """`filter[color]=red`, and below that `filter[size][min]=2`."""
    for key, inner in value.items():
        inside = f"{name}[{quote(key, safe='')}]"
        if isinstance(inner, dict):
            yield from _deep(inside, cast("Mapping[str, Any]", inner), place)
        elif isinstance(inner, list):
            yield from (f"{inside}={_encoded(one, place)}" for one in cast("Sequence[Any]", inner))
        elif inner is not None:
            yield f"{inside}={_encoded(inner, place)}"


def _in_header(place: Place, value: Any) -> str:
    raw = ",".join(_parts(place, value, in_header=True))
    if not (raw.isprintable() and raw.isascii()):
        raise ToolError(f"{place.name} goes into a header: give one line of ASCII")
    return raw


def _parts(place: Place, value: Any, *, in_header: bool = False) -> list[str]:
    """The pieces that a style joins; those of an object are pairs."""

    def written(one: Any) -> str:
        return _text(one) if in_header else _encoded(one, place)

    match value:
        case _ if place.is_json:
            return [written(encode(value).decode())]
        case list():
            return [written(one) for one in cast("Sequence[Any]", value)]
        case dict():
            pairs = [(key, inner) for key, inner in cast("Mapping[str, Any]", value).items()]
            if place.explode:
                return [f"{written(key)}={written(inner)}" for key, inner in pairs]
            return [written(one) for pair in pairs for one in pair]
        case _:
            return [written(value)]


def _encoded(value: Any, place: Place) -> str:
    safe = _RESERVED if place.reserved else ""
    return quote(_text(value), safe=safe, errors="replace")


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return encode(value).decode()


def _body(operation: Operation, arguments: Mapping[str, Any]) -> bytes | None:
    """None where nothing was given for it, and nothing had to be."""
    given = {operation.places[name].where: value for name, value in arguments.items()}
    if not operation.media:
        return None
    fields = {
        operation.places[name].name: value
        for name, value in arguments.items()
        if operation.places[name].where == "field"
    }
    has_fields = any(place.where == "field" for place in operation.places.values())
    if not fields and "body" not in given and not (has_fields and operation.method != "GET"):
        return None
    value = fields if has_fields else given["body"]
    if is_json(operation.media):
        return encode(value)
    if operation.media.startswith("text/"):
        return _text(value).encode("utf-8", "replace")
    return _form(cast("Any", value)).encode()


def _form(value: Any) -> str:
    """`a=1&b=x&b=y`; what is no object is one field named `body`."""
    fields = cast("Mapping[str, Any]", value) if isinstance(value, dict) else {"body": value}
    pairs = [
        (name, _text(one))
        for name, given in fields.items()
        for one in (cast("Sequence[Any]", given) if isinstance(given, list) else [given])
    ]
    return urlencode(pairs, errors="replace")
