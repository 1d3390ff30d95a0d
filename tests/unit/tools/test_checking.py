"""What the check of a module finds, each fault alone; and that a good tool has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from galerne.messages.tools import Effect
from galerne.testing import (
    FakeClock,
    assert_idempotent,
    call_tool,
    check_tools,
    memory_blobs,
    refusal_of,
    value_of,
)
from galerne.tools import AnyTool, ToolContext, schema_tool, tool
from galerne.tools.checking import LONGEST, look_over

pytestmark = pytest.mark.anyio

N = Annotated[int, "a number"]


@tool(effect="pure", examples=[{"n": 3}])
def double(n: N) -> dict[str, int]:
    """Twice a number."""
    return {"twice": 2 * n}


def _untold(n: N) -> int:
    return n


def _undescribed(n: int) -> int:
    """Count."""
    return n


def _vague(n: Annotated[Any, "what you like"]) -> int:
    """Count."""
    return int(n)


def _untyped(n: N):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as people write them
    """Count."""
    return n


def _no_json(n: N) -> Callable[[], int]:
    """Count."""
    return lambda: n


def _bad_default(n: Annotated[int, "a number"] = "three") -> int:  # type: ignore[assignment]
    """Count."""
    return n


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (tool(_undescribed), ("its effect is not stated: "
                             'write effect="pure", "idempotent" or "once"')),
        (tool(_untold), "has no description: write a docstring, models choose tools by it"),
        (tool(_undescribed), "the parameter n has no description: add it to the docstring's Args"),
        (tool(_vague), "the parameter n may be anything: give it a type"),
        (tool(_untyped), "what it returns has no type: annotate it, plans refer to its fields"),
        (tool(_no_json), "what it returns does not serialise: Callable has no form in JSON"),
        (tool(_bad_default), ("the default of n does not fit its own type: "
                             '$: "three" is not of type "integer"')),
    ],
)  # fmt: skip
def test_each_fault_is_one_line(made: AnyTool, what: str) -> None:
    assert what in [one.what for one in look_over([made]) if one.weight == "problem"]


def test_a_good_tool_has_nothing_to_mend() -> None:
    assert look_over([double]) == []
    given = schema_tool("given", "By a schema.", {"properties": {}}, lambda _, __: 1, effect="once")
    assert look_over([given]) == []


def test_a_schema_that_requires_what_it_does_not_describe_and_an_unstated_effect() -> None:
    given = schema_tool("given", "By a schema.", {"required": ["zip"]}, lambda _, __: 1)
    assert [one.what for one in look_over([given])] == [
        'its effect is not stated: write effect="pure", "idempotent" or "once"',
        "the parameter zip is required and not described: add it to the properties",
    ]
    assert given.spec.effect == "once"


def test_one_name_twice_and_endless_words_are_found() -> None:
    long = schema_tool("double", "word " * LONGEST, {}, lambda _, __: 1)
    said = [one.what for one in look_over([double, long])]
    assert said[0] == "two tools have this name: rename one with @tool(name=…)"
    assert said[1].startswith(f"its description has {5 * LONGEST - 1} characters")


async def test_a_result_that_does_not_serialise_is_told_as_that() -> None:
    @tool(effect="pure", examples=[{"n": 1}])
    def opaque(n: N) -> dict[str, Any]:
        """Give what has no form in JSON."""
        return {"n": object()}

    [found] = await check_tools([opaque], run=True)
    assert found.what == (
        "example 1: it gave an error (tool_bug): "
        "opaque gave a result that does not serialise: object is no JSON"
    )


async def test_examples_are_called_and_judged() -> None:
    calls: list[str] = []

    def made(effect: Effect, example: dict[str, Any]) -> AnyTool:
        @tool(effect=effect, examples=[example], name=effect)
        def counting(n: N, context: ToolContext) -> int:
            """Count the calls."""
            calls.append(context.key)
            return len(calls) if effect == "idempotent" else n

        return counting

    @tool(effect="pure", examples=[{"n": 1}])
    def lies(n: N) -> dict[str, int]:
        """Say one thing and give another."""
        return {"n": "x"}  # type: ignore[dict-item]

    tools = [made("pure", {"n": 1}), made("pure", {"m": 1}), made("idempotent", {"n": 1}),
             made("once", {"n": 1}), lies]  # fmt: skip
    found = await check_tools(tools, run=True)
    assert [(one.tool, one.what.partition(":")[0]) for one in found] == [
        ("pure", "two tools have this name"),
        ("pure", "example 1"),
        ("idempotent", "example 1"),
        ("once", "its effect is once"),
        ("lies", "example 1"),
    ]
    assert "called twice with one key" in found[2].what
    assert '$.n: "x" is not of type "integer"' in found[4].what
    assert len(calls) == 3


# the kit


async def test_a_tool_is_called_without_a_bus() -> None:
    clock = FakeClock(100.0)

    @tool(effect="idempotent")
    async def stamp(word: Annotated[str, "a word"], context: ToolContext) -> str:
        """Stamp it."""
        context.progress("stamping", 0.5)
        return f"{word} {context.key} {context.clock():.0f} {context.deadline:.0f}"

    told: list[Any] = []

    def progress(text: str, fraction: float | None = None) -> None:
        told.append((text, fraction))

    clock.advance(1)
    how: dict[str, Any] = {"key": "a.b.1", "clock": clock, "seconds": 9.0, "progress": progress}
    assert await value_of(stamp, {"word": "hi"}, **how) == "hi a.b.1 101 110"
    assert told == [("stamping", 0.5)]
    assert (await refusal_of(stamp, {})).code == "invalid_input"
    with pytest.raises(AssertionError, match="stamp was refused"):
        await value_of(stamp)
    with pytest.raises(AssertionError, match="stamp was not refused: it gave hi"):
        await refusal_of(stamp, {"word": "hi"})


async def test_what_is_large_is_put_aside_in_memory() -> None:
    @tool(effect="pure")
    def much() -> str:
        """Give much."""
        return "x" * 1_000_000

    blobs = memory_blobs()
    outcome = await call_tool(much, blobs=blobs)
    assert "1 content" in repr(blobs).replace("contents", "content")
    assert outcome == await call_tool(much, blobs=blobs)


async def test_idempotence_is_seen_from_outside(tmp_path: Path) -> None:
    file = tmp_path / "notes"

    @tool(effect="idempotent")
    def note(word: Annotated[str, "a word"]) -> str:
        """Write it down."""
        with file.open("a") as out:
            out.write(f"{word}\n")
        return "ok"

    @tool(effect="idempotent")
    def note_by_key(word: Annotated[str, "a word"], context: ToolContext) -> str:
        """Write it down, once for each call."""
        (tmp_path / context.key).write_text(word)
        return "ok"

    await assert_idempotent(note_by_key, {"word": "a"}, (tmp_path / "job.task.1").read_text)
    with pytest.raises(AssertionError, match=r"note left 'a\\n', and after the same key again"):
        await assert_idempotent(note, {"word": "a"}, file.read_text)
