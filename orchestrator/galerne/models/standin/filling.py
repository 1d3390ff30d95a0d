"""An answer in words → a value of the JSON Schema that was asked for, by rule.

    {"longer": string, "words": integer}  ◀─  "a.md has 7 words.", "b.md is longer (9 words)."
    {"longer": "b.md is longer (9 words).", "words": 7}

A field takes what stands beside its own name: of a number the one that is said of it, of a text the
line that speaks of it. Nothing is made up: where a field that is required finds nothing, there is
no value, and the answer stays as it is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from galerne.core.answers import first_fault

_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{1,300}(?:\.\d{1,300})?(?![\w/]|\.\d)", re.ASCII)
_WORD: Final = re.compile(r"[^\W_]+")
_YES: Final = re.compile(r"\b(?:yes|true)\b", re.IGNORECASE)
_NO: Final = re.compile(r"\b(?:no|not|false)\b", re.IGNORECASE)
_DEEPEST: Final = 12


class _NothingError(Exception):
    """The text has nothing for a field that must have something."""


class _Said(msgspec.Struct, frozen=True):
    """What is taken from: the text, and the words of the field that looks."""

    text: str
    name: str = ""

    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    def lines_about(self) -> list[str]:
        """The lines that speak of the field, or all."""
        lines = self.lines()
        words = [word.lower().rstrip("s") for word in _WORD.findall(self.name)]
        about = [line for line in lines if words and all(word in line.lower() for word in words)]
        return about or lines


def filled(schema: Mapping[str, Any], text: str) -> str | None:
    """The value as JSON. None: the text has none that fits."""
    try:
        value = _value(schema, _Said(text), schema, 0)
        if first_fault(value, dict(schema)):
            return None
        return msgspec.json.encode(value).decode()
    except Exception:  # noqa: BLE001 - of whatever odd schema: then the text is the answer
        return None


def _value(schema: Mapping[str, Any], said: _Said, root: Mapping[str, Any], depth: int) -> Any:
    """Raises _NothingError."""
    if depth > _DEEPEST:
        raise _NothingError
    match schema:
        case {"$ref": str(path)}:
            return _value(_pointed(root, path), said, root, depth + 1)
        case {"const": value}:
            return value
        case {"enum": [*values]}:
            return _named(values, said)
        case {"anyOf": [*branches]} | {"oneOf": [*branches]}:
            return _first(branches, said, root, depth)
        case {"type": [*types]}:
            kinds: list[Any] = [{**schema, "type": one} for one in types]
            return _first(kinds, said, root, depth)
        case {"type": "object"} | {"properties": _}:
            return _fields(schema, said, root, depth)
        case {"type": "array"}:
            return _items(schema, said, root, depth)
        case _:
            return _plain(schema, said)


def _plain(schema: Mapping[str, Any], said: _Said) -> Any:
    match schema.get("type"):
        case "integer" | "number" as kind:
            return _number(said, whole=kind == "integer")
        case "boolean":
            return _truth(said)
        case "null":
            return None
        case _:
            return _text(schema, said)


def _fields(
    schema: Mapping[str, Any], said: _Said, root: Mapping[str, Any], depth: int
) -> dict[str, Any]:
    required = schema.get("required", ())
    made: dict[str, Any] = {}
    for name, one in cast("Mapping[str, Any]", schema.get("properties", {})).items():
        try:
            made[name] = _value(one, _Said(said.text, name), root, depth + 1)
        except _NothingError:
            if name in required:
                raise
    return made


def _items(
    schema: Mapping[str, Any], said: _Said, root: Mapping[str, Any], depth: int
) -> list[Any]:
    items = schema.get("items", {})
    made: list[Any] = []
    for line in said.lines_about()[: schema.get("maxItems", 1000)]:
        try:
            made.append(_value(items, _Said(line), root, depth + 1))
        except _NothingError:
            continue
    return made


def _first(branches: list[Any], said: _Said, root: Mapping[str, Any], depth: int) -> Any:
    for branch in branches:
        try:
            return _value(branch, said, root, depth + 1)
        except _NothingError:
            continue
    raise _NothingError


def _named(values: list[Any], said: _Said) -> Any:
    """The value that the last line to speak of one speaks of first: there the answer is."""
    for line in reversed(said.lines()):
        places = [(line.lower().find(str(value).lower()), n) for n, value in enumerate(values)]
        found = [(place, n) for place, n in places if place >= 0]
        if found:
            return values[min(found)[1]]
    raise _NothingError


def _number(said: _Said, *, whole: bool) -> int | float:
    for number, after in _numbers(said):
        if not said.name or after.rstrip("s") == said.name.lower().rstrip("s"):
            return _read(number, whole=whole)
    for number, _ in _numbers(_Said("\n".join(said.lines_about()))):
        return _read(number, whole=whole)
    raise _NothingError


def _numbers(said: _Said) -> Iterator[tuple[str, str]]:
    """Each number of the text, and the word behind it in lower case."""
    for found in _NUMBER.finditer(said.text):
        after = _WORD.match(said.text, found.end() + 1)
        yield found[0], after[0].lower() if after else ""


def _read(number: str, *, whole: bool) -> int | float:
    if "." not in number:
        return int(number)
    value = float(number)
    if whole and not value.is_integer():
        raise _NothingError
    return int(value) if whole else value


def _truth(said: _Said) -> bool:
    text = "\n".join(said.lines_about())
    if _NO.search(text):
        return False
    if _YES.search(text):
        return True
    raise _NothingError


def _text(schema: Mapping[str, Any], said: _Said) -> str:
    text = "\n".join(said.lines_about())
    if not text:
        raise _NothingError
    return text[: schema.get("maxLength", len(text))]


def _pointed(root: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    place: Any = root
    for step in path.removeprefix("#").split("/")[1:]:
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return cast("Mapping[str, Any]", place)
