"""From an operation and its arguments to a request: styles, bodies, and what is refused."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ToolError
from galerne_tools.openapi.operations import Operation, Unusable, operations_of
from galerne_tools.openapi.request import Request, request_of

LIST = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}
STYLES: list[tuple[str, str, bool, Any, str]] = [
    ("path", "matrix", False, "blue", ";color=blue"),
    ("path", "matrix", False, LIST, ";color=blue,black,brown"),
    ("path", "matrix", False, OBJECT, ";color=R,100,G,200,B,150"),
    ("path", "matrix", True, LIST, ";color=blue;color=black;color=brown"),
    ("path", "matrix", True, OBJECT, ";R=100;G=200;B=150"),
    ("path", "label", False, "blue", ".blue"),
    ("path", "label", False, LIST, ".blue,black,brown"),
    ("path", "label", True, LIST, ".blue.black.brown"),
    ("path", "label", True, OBJECT, ".R=100.G=200.B=150"),
    ("path", "simple", False, "blue", "blue"),
    ("path", "simple", False, LIST, "blue,black,brown"),
    ("path", "simple", False, OBJECT, "R,100,G,200,B,150"),
    ("path", "simple", True, OBJECT, "R=100,G=200,B=150"),
    ("query", "form", False, LIST, "color=blue,black,brown"),
    ("query", "form", False, OBJECT, "color=R,100,G,200,B,150"),
    ("query", "form", True, "blue", "color=blue"),
    ("query", "form", True, LIST, "color=blue&color=black&color=brown"),
    ("query", "form", True, OBJECT, "R=100&G=200&B=150"),
    ("query", "spaceDelimited", False, LIST, "color=blue%20black%20brown"),
    ("query", "pipeDelimited", False, LIST, "color=blue%7Cblack%7Cbrown"),
    ("query", "deepObject", True, OBJECT, "color[R]=100&color[G]=200&color[B]=150"),
    ("header", "simple", False, LIST, "blue,black,brown"),
    ("header", "simple", True, OBJECT, "R=100,G=200,B=150"),
    ("cookie", "form", True, "blue", "color=blue"),
]
"""The table of styles in OpenAPI 3.1, 4.8.12.4."""


def operation(method: str = "get", path: str = "/x", **fields: Any) -> Operation:
    (found,) = operations_of({"paths": {path: {method: fields}}}, "s")
    assert isinstance(found, Operation), found
    return found


def sent(fields: Operation, **arguments: Any) -> Request:
    return request_of(fields, arguments, "key-1")


@pytest.mark.parametrize(("where", "style", "explode", "value", "written"), STYLES)
def test_values_are_written_in_the_style_of_their_parameter(
    where: str, style: str, explode: bool, value: Any, written: str
) -> None:
    parameter: dict[str, Any] = {
        "name": "color",
        "in": where,
        "style": style,
        "explode": explode,
        "schema": {},
    }
    path = "/x/{color}" if where == "path" else "/x"
    request = sent(operation(path=path, parameters=[parameter]), color=value)
    match where:
        case "path":
            assert request.target == f"/x/{written}"
        case "query":
            assert request.target == f"/x?{written}"
        case "header":
            assert request.headers == {"color": written}
        case _:
            assert request.headers == {"Cookie": written}


@given(st.text(min_size=1, max_size=40))
def test_a_text_comes_back_out_of_path_and_query_and_stays_in_its_place(text: str) -> None:
    both = operation(
        path="/x/{id}/end",
        parameters=[{"name": "id", "in": "path"}, {"name": "q", "in": "query"}],
    )
    if text in {".", ".."}:
        with pytest.raises(ToolError, match="part of the path"):
            sent(both, id=text, q=text)
        return
    whole = urlsplit("http://h" + sent(both, id=text, q=text).target)
    assert whole.path.count("/") == 3
    assert whole.netloc == "h"
    readable = text.encode(errors="replace").decode()
    assert parse_qsl(whole.query, keep_blank_values=True) == [("q", readable)]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "ü", "a\x00"])
def test_a_header_takes_no_second_line(value: str) -> None:
    one = operation(parameters=[{"name": "X-Note", "in": "header"}])
    with pytest.raises(ToolError, match="header"):
        sent(one, **{"X-Note": value})


def test_fields_of_a_body_and_parameters_stand_side_by_side() -> None:
    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "id": {"type": "integer"}},
    }
    one = operation(
        "put",
        "/items/{id}",
        parameters=[{"name": "id", "in": "path", "schema": {"type": "integer"}}],
        requestBody={"required": True, "content": {"application/json": {"schema": schema}}},
    )
    assert set(one.schema["properties"]) == {"path_id", "name", "field_id"}
    assert one.schema["required"] == ["path_id", "name"]
    request = sent(one, path_id=7, name="ü", field_id=8)
    assert (request.method, request.target) == ("PUT", "/items/7")
    assert msgspec.json.decode(request.body or b"") == {"name": "ü", "id": 8}
    assert request.headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("media", "value", "body"),
    [
        ("application/x-www-form-urlencoded", {"a": [1, 2], "b": "x y"}, b"a=1&a=2&b=x+y"),
        ("text/plain", "so", b"so"),
        ("application/vnd.api+json", [1], b"[1]"),
        ("*/*", {"a": None}, b'{"a":null}'),
    ],
)
def test_bodies_without_known_fields_are_given_whole(media: str, value: Any, body: bytes) -> None:
    one = operation("post", requestBody={"content": {media: {"schema": {}}}})
    assert set(one.schema["properties"]) == {"body"}
    assert sent(one, body=value).body == body
    assert sent(one).body is None


def test_effects_are_those_of_the_methods_and_what_the_document_states() -> None:
    methods = ("get", "head", "put", "delete", "post", "patch")
    effects = [operation(method).effect for method in methods]
    assert effects == ["pure", "pure", "idempotent", "idempotent", "once", "once"]
    assert operation("post", **{"x-galerne-effect": "pure"}).effect == "pure"
    keyed = operation("post", parameters=[{"name": "Idempotency-Key", "in": "header"}])
    assert keyed.effect == "idempotent"
    assert keyed.schema["properties"] == {}
    assert sent(keyed).headers == {"Idempotency-Key": "key-1"}


def found(document: dict[str, Any]) -> list[Operation | Unusable]:
    return list(operations_of(document, "s"))


def test_names_are_those_that_models_take_and_differ() -> None:
    long = "x" * 100
    ids = ["get.pet/byId", "get pet byId", long + "1", long + "2", None]
    paths = {f"/{n}": {"get": {"operationId": one} if one else {}} for n, one in enumerate(ids)}
    names = [one.name for one in found({"paths": paths}) if isinstance(one, Operation)]
    assert len(set(names)) == len(ids)
    assert all(len(name) <= 64 for name in names)
    assert names[:2] == ["s_get_pet_byId", "s_get_pet_byId_2"]
    assert names[-1] == "s_get_4"


def test_schemas_refer_nullable_and_recursive() -> None:
    tree = {
        "paths": {
            "/n": {
                "post": {
                    "requestBody": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Node"}}
                        }
                    }
                }
            }
        },
        "components": {
            "schemas": {
                "Base": {"type": "object", "properties": {"id": {"readOnly": True}}},
                "Node": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Base"},
                        {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": {"type": "string", "nullable": True},
                                "next": {"$ref": "#/components/schemas/Node"},
                                "size": {"minimum": 0, "exclusiveMinimum": True},
                            },
                        },
                    ]
                },
            }
        },
    }
    (one,) = found(tree)
    assert isinstance(one, Operation)
    assert one.schema["properties"] == {
        "name": {"type": ["string", "null"]},
        "next": {"description": "as Node above"},
        "size": {"exclusiveMinimum": 0},
    }


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"parameters": [{"$ref": "#/components/none"}]}, "leads nowhere"),
        ({"parameters": [{"$ref": "other.yaml#/x"}]}, "bundle it"),
        ({"requestBody": {"content": {"image/png": {}}}}, "a model cannot write"),
        ({"x-galerne-effect": "maybe"}, "x-galerne-effect"),
    ],
)
def test_what_becomes_no_tool_says_why(fields: dict[str, Any], why: str) -> None:
    document: dict[str, Any] = {"paths": {"/x": {"post": fields}, "/y": {"get": {}}}}
    bad, good = found(document)
    assert isinstance(bad, Unusable)
    assert why in bad.why
    assert isinstance(good, Operation)


def test_a_path_whose_part_is_not_described_becomes_no_tool() -> None:
    (one,) = found({"paths": {"/x/{id}": {"get": {}}}})
    assert isinstance(one, Unusable)
    assert "id" in one.why


WORDS = [
    *("paths", "/a", "get", "post", "parameters", "name", "in", "schema", "$ref", "content"),
    *("requestBody", "application/json", "type", "properties", "required", "allOf"),
]
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda one: (
        st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(WORDS), one, max_size=4)
    ),
    max_leaves=25,
)


@given(JSON)
def test_whatever_a_document_says_nothing_breaks(tree: Any) -> None:
    document = {"paths": {"/a": {"get": tree, "post": tree, "parameters": tree}, "/b": tree}}
    for one in found(document):
        assert one.id
