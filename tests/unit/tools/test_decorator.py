from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest

from galerne.errors import InvalidInputError
from galerne.messages.tools import ToolSpec
from galerne.tools import ToolContext, tool


class Point(msgspec.Struct):
    """A place."""

    x: int
    y: int = 0


class Near(msgspec.Struct, tag="near"):
    point: Point


class Named(msgspec.Struct, tag="named"):
    title: str


class Tree(msgspec.Struct):
    children: "list[Tree]"


def test_the_whole_spec_of_a_plain_tool() -> None:
    @tool(effect="idempotent", name="make-note", timeout=5, version="3")
    async def note(
        text: Annotated[str, msgspec.Meta(description="What to write.")],
        context: ToolContext,
        colour: Literal["red", "blue"] = "red",
        folder: str | None = None,
    ) -> str:
        """Write a note
        into a folder.

        More of it.

        Args:
            text: not this one, the annotation has its own words
            colour (str): The colour
                of the paper.
            folder: Where: a folder.

        Returns:
            nothing of interest
        """
        return f"{text}{context.key}{colour}{folder}"

    assert note.spec == ToolSpec(
        name="make-note",
        description="Write a note into a folder. More of it.",
        effect="idempotent",
        timeout=5,
        version="3",
        returns={"type": "string"},
        parameters={
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What to write."},
                "colour": {
                    "enum": ["blue", "red"],
                    "default": "red",
                    "description": "The colour of the paper.",
                },
                "folder": {"type": "string", "description": "Where: a folder."},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
    )


def test_nested_types_come_in_one_piece_and_in_draft_7() -> None:
    @tool
    async def draw(
        at: Annotated[Point, msgspec.Meta(description="where")],
        pair: tuple[int, str],
        kind: Near | Named,
        points: list[Point] | None = None,
    ) -> None: ...

    point = {
        "description": "A place.",
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
        "required": ["x"],
    }
    assert draw.spec.parameters["properties"] == {
        "at": {**point, "description": "where"},
        "pair": {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": [{"type": "integer"}, {"type": "string"}],
            "additionalItems": False,
        },
        "kind": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"type": {"enum": ["near"]}, "point": point},
                    "required": ["type", "point"],
                },
                {
                    "type": "object",
                    "properties": {"type": {"enum": ["named"]}, "title": {"type": "string"}},
                    "required": ["type", "title"],
                },
            ]
        },
        "points": {"type": "array", "items": point},
    }
    assert draw.spec.description == "draw"


def test_a_decorated_function_is_still_callable() -> None:
    @tool
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert repr(double) == "<tool double (pure)>"


def test_a_bound_method_can_be_a_tool() -> None:
    class Box:
        def size(self, of: str) -> int:
            """Size of a box."""
            return len(of)

    sized = tool(Box().size)
    assert sized.spec.name == "size"
    assert sized.spec.parameters["required"] == ["of"]


def bare(n, *, m: int = 1) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
    return int(n) + m  # pyright: ignore[reportUnknownArgumentType]


def many(*numbers: int) -> int:
    return sum(numbers)


def anything(**options: int) -> int:
    return len(options)


def positional(n: int, /) -> int:
    return n


def unknown_type(when: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


def custom_type(thing: Callable[[], int]) -> None: ...


def endless(tree: Tree) -> None: ...


def full_default(numbers: list[int] = [1]) -> None: ...  # noqa: B006


def two_contexts(a: ToolContext, b: ToolContext) -> None: ...


def generator(n: int) -> Any:
    yield n


async def async_generator(n: int) -> AsyncIterator[int]:
    yield n


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (bare, "annotate the parameter n with its type"),  # pyright: ignore[reportUnknownArgumentType]
        (many, "*numbers: int cannot be filled"),
        (anything, "**options: int cannot be filled"),
        (positional, "n: int cannot be filled"),
        (unknown_type, "an annotation cannot be read: name 'Nowhere'"),
        (custom_type, "tool custom_type: "),
        (endless, "the type Tree contains itself"),
        (full_default, "tool full_default: all calls would share the default of "),
        (two_contexts, "a and b both take the context"),
        (generator, "it yields"),
        (async_generator, "it yields"),
        (lambda: None, "cannot be named '<lambda>'"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_at_once(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tool(function)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "not a name"}, "cannot be named 'not a name'"),
        ({"name": ""}, "cannot be named ''"),
        ({"name": "x" * 65}, "1 to 64"),
        ({"effect": "harmless"}, "'harmless' is not one of pure, idempotent, once"),
        ({"timeout": 0}, "must be seconds above 0, not 0"),
        ({"timeout": "1m"}, "must be seconds above 0, not 1m"),
        ({"timeout": None}, "must be seconds above 0, not None"),
        ({"version": 2}, "version must be a text such as '1', not 2"),
        ({"concurrency": "2"}, "must be at least 1, not 2"),
        ({"timeout": float("inf")}, "must be seconds above 0, not inf"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tool(**options)(positional_free)
    assert said in str(caught.value)


def positional_free(n: int) -> int:
    return n


def test_what_a_tool_returns_is_known_by_its_annotation() -> None:
    class Found(msgspec.Struct):
        points: list[Point]
        default: int = 0

    @tool
    def typed() -> Found:
        return Found([])

    @tool
    def anything() -> Any:
        return 1

    @tool
    def unknown():  # type: ignore[no-untyped-def]  # noqa: ANN202 - as people write them
        return 1

    @tool
    def odd() -> Callable[[], int]:
        return lambda: 1

    point = {
        "type": "object",
        "description": "A place.",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
        "required": ["x"],
        "additionalProperties": False,
    }
    assert typed.spec.returns == {
        "type": "object",
        "properties": {
            "points": {"type": "array", "items": point},
            "default": {"type": "integer", "default": 0},
        },
        "required": ["points"],
        "additionalProperties": False,
    }
    assert [one.spec.returns for one in (anything, unknown, odd)] == [None] * 3


def test_plain_words_in_an_annotation_describe_the_parameter() -> None:
    @tool
    def forecast(
        days: Annotated[int, "how many days", msgspec.Meta(ge=1)],
        city: Annotated[str, "not this", msgspec.Meta(description="where")],
    ) -> str:
        return f"{days} {city}"

    assert forecast.spec.parameters["properties"] == {
        "days": {"type": "integer", "minimum": 1, "description": "how many days"},
        "city": {"type": "string", "description": "where"},
    }


def test_a_type_without_a_form_is_named_in_one_line() -> None:
    with pytest.raises(InvalidInputError) as refused:
        tool(custom_type)
    assert str(refused.value) == (
        "tool custom_type: the parameter thing has the type Callable, of which a model can write"
        " no value: use types of JSON, Literal, a dataclass or a msgspec.Struct"
    )


def test_a_tool_may_say_how_many_calls_it_takes_at_once() -> None:
    assert tool(concurrency=2)(positional_free).concurrency == 2
    with pytest.raises(InvalidInputError, match="concurrency must be at least 1, not 0"):
        tool(concurrency=0)(positional_free)
