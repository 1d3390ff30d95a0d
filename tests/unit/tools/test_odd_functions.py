"""Functions as people really hand them in, and what libraries under them really raise."""

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
import structlog.testing

from galerne.errors import InvalidInputError, ToolError
from galerne.messages.tools import ToolRefused
from galerne.tools import AnyTool, ToolContext, invoke, schema_tool, tool
from unit.tools.calls import call, context, refusal_of, value_of

pytestmark = pytest.mark.anyio


class PanicError(BaseException):
    """As a library written in Rust panics: no Exception."""


class Client:
    """Something that is called, and does it later."""

    async def __call__(self, arguments: dict[str, Any], _: ToolContext) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        return arguments


async def later(arguments: dict[str, Any], _: ToolContext) -> dict[str, Any]:
    await anyio.lowlevel.checkpoint()
    return arguments


def passed_on(arguments: dict[str, Any], given: ToolContext) -> Awaitable[Any]:
    """As a lambda around an async function."""
    return later(arguments, given)


def logged(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """A decorator that knows nothing of coroutines."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@pytest.mark.parametrize("function", [later, Client(), passed_on, functools.partial(later)])
async def test_whatever_gives_an_awaitable_is_awaited(function: Callable[..., Any]) -> None:
    made = schema_tool("later", "Give it back, later.", {}, function, effect="pure")
    assert await value_of(made, a=1) == {"a": 1}


async def test_a_plain_decorator_around_an_async_function_is_no_obstacle() -> None:
    @tool
    @logged
    async def double(x: int) -> int:
        """Twice as many."""
        await anyio.lowlevel.checkpoint()
        return 2 * x

    assert await value_of(double, x=2) == 4


def raising(error: BaseException, *, in_thread: bool) -> AnyTool:
    def plain() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    return tool(effect="pure", name="odd")(plain if in_thread else coroutine)


@pytest.mark.parametrize("in_thread", [True, False])
@pytest.mark.parametrize(
    "error",
    [PanicError("at src/lib.rs"), asyncio.CancelledError(), BaseExceptionGroup("", [PanicError()])],
)
async def test_what_is_no_exception_ends_the_call_and_not_its_worker(
    error: BaseException, in_thread: bool
) -> None:
    with structlog.testing.capture_logs() as logs:
        refused = await refusal_of(raising(error, in_thread=in_thread))
    assert refused.code == "tool_bug"
    assert "lib.rs" not in refused.message
    assert [line["event"] for line in logs] == ["tool_bug"]


async def test_a_call_cancelled_from_outside_is_no_bug_of_the_tool() -> None:
    @tool
    async def wait() -> None:
        """Wait for ever."""
        await anyio.sleep_forever()

    async with asyncio.timeout(5):
        waiting = asyncio.ensure_future(invoke(wait, {}, context()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    with anyio.move_on_after(0.01) as scope:
        await invoke(wait, {}, context())
    assert scope.cancelled_caught


@pytest.mark.parametrize("error", [ToolError(""), ToolError()])
async def test_a_refusal_without_a_word_says_so(error: ToolError) -> None:
    refused = await refusal_of(raising(error, in_thread=False))
    assert refused == ToolRefused(code="tool", message="odd refused without a reason")


@dataclasses.dataclass
class Looked:
    name: str

    def __post_init__(self) -> None:
        {"known": 1}[self.name]  # pyright: ignore[reportUnusedExpression]


def asked(looked: Looked) -> bool:
    return looked.name == "asked"


@tool(effect="once", approve=asked)
def look(looked: Looked) -> str:
    """Look it up."""
    return looked.name


async def test_arguments_whose_own_class_fails_are_a_bug_and_no_crash() -> None:
    assert await value_of(look, looked={"name": "known"}) == "known"
    refused = await refusal_of(look, looked={"name": "unknown"})
    assert (refused.code, refused.message) == (
        "tool_bug",
        "look could not read its arguments: KeyError",
    )
    assert look.leave({"looked": {"name": "unknown"}}) is None


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "arguments",
    [{"x": nested(600)}, {"x": "\ud800"}, {"\ud800": 1}, {"no": 1}, {"x": 1, "y": [1]}],
)
async def test_no_arguments_break_a_tool_by_schema(arguments: dict[str, Any]) -> None:
    parameters = {"properties": {"x": {"type": ["integer", "null"]}, "y": True, "no": False}}
    made = schema_tool("odd", "", parameters, lambda given, _: given.get("x"), effect="pure")
    outcome = await call(made, **arguments)
    if "y" in arguments:
        assert outcome.__class__.__name__ == "ToolResult"
    else:
        assert isinstance(outcome, ToolRefused)
        assert (outcome.code, "\n" in outcome.message) == ("invalid_input", False)
        assert outcome.message.endswith("odd(x?: integer | null, y?: any, no?: never)")


async def test_the_context_may_be_optional() -> None:
    @tool
    async def key(x: int, context: ToolContext | None = None) -> str:
        """The call's key."""
        return context.key if context else f"none of {x}"

    assert list(key.spec.parameters["properties"]) == ["x"]
    assert await value_of(key, x=1) == "j.t.1"
    assert await key(1) == "none of 1"


class Note:
    """Holds what it is given, as the notes of other packages do."""

    def __init__(self, **said: Any) -> None:
        vars(self).update(said)


@tool
def bounded(
    ge: Annotated[int, Note(ge=1), "at least one"],
    part: Annotated[float, Note(ge=0, lt=1, gt=None, le=None), Note(documentation="a share")] = 0,
    words: Annotated[list[str] | None, Note(min_length=0, max_length=2)] = None,
    field: Annotated[int, Note(description="of pydantic", metadata=[Note(le=9)])] = 1,
    inner: Annotated[int, Note(gt=3)] | None = None,
) -> str:
    """Say yes."""
    return f"{ge}{part}{words}{field}{inner}"


async def test_bounds_and_words_of_other_packages_hold() -> None:
    told = bounded.spec.parameters["properties"]
    assert told["ge"] == {"type": "integer", "minimum": 1, "description": "at least one"}
    assert (told["part"]["exclusiveMaximum"], told["part"]["description"]) == (1.0, "a share")
    assert (told["field"]["maximum"], told["field"]["description"]) == (9, "of pydantic")
    assert told["inner"] == {"type": "integer", "exclusiveMinimum": 3}
    assert await value_of(bounded, ge=1, words=["a"], inner=4) == "10['a']14"
    for wrong in ({"ge": 0}, {"part": 1.0}, {"words": ["a"] * 3}, {"field": 10}, {"inner": 3}):
        assert "wrong arguments" in (await refusal_of(bounded, **{"ge": 1, **wrong})).message


def test_a_name_of_the_languages_own_is_refused_in_one_line() -> None:
    def odd(__x: int) -> int:  # noqa: PYI063 - what is refused
        return __x

    with pytest.raises(InvalidInputError, match="name the parameter __x without underscores"):
        tool(odd)
