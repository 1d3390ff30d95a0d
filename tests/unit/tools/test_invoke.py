import threading
from typing import Annotated, Any, Literal

import anyio
import anyio.from_thread
import msgspec
import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InDoubtError, InvalidInputError, ToolError, UnavailableError
from galerne.messages.codec import encode
from galerne.messages.tools import Effect, ToolRefused, ToolResult
from galerne.tools import MAX_RESULT, ToolContext, invoke, tool
from unit.tools.calls import call, context, refusal_of, value_of

pytestmark = pytest.mark.anyio


class Reply(msgspec.Struct):
    values: dict[str, Any]


@tool
async def echo(
    text: str,
    count: Annotated[int, msgspec.Meta(ge=1)] = 1,
    share: float = 0.5,
    loud: bool = False,
    mode: Literal["a", "b"] = "a",
    limit: int | None = 7,
    words: list[str] = [],  # noqa: B006  msgspec copies it
) -> Reply:
    """Give the arguments back."""
    given = {"text": text, "count": count, "share": share, "loud": loud, "mode": mode}
    return Reply({**given, "limit": limit, "words": words})


ALL: dict[str, Any] = {
    "text": "hi",
    "count": 1,
    "share": 0.5,
    "loud": False,
    "mode": "a",
    "limit": 7,
    "words": [],
}


async def test_a_typed_result_becomes_json_and_text() -> None:
    assert await call(echo, text="é") == ToolResult(
        value={"values": {**ALL, "text": "é"}},
        content='{"values":{"count":1,"limit":7,"loud":false,"mode":"a","share":0.5,"text":"é",'
        '"words":[]}}',
    )


async def test_a_text_is_read_as_it_is() -> None:
    @tool
    async def say() -> str:
        return 'line "one"\nline two'

    assert await call(say) == ToolResult('line "one"\nline two', 'line "one"\nline two')


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ({"count": "5"}, {"count": 5}),
        ({"count": 1.0}, {"count": 1}),
        ({"share": "0.25"}, {"share": 0.25}),
        ({"share": 1}, {"share": 1.0}),
        ({"loud": "true"}, {"loud": True}),
        ({"loud": "False"}, {"loud": False}),
        ({"count": None, "loud": None, "words": None}, {}),
        ({"limit": None}, {"limit": None}),  # null has a meaning of its own there
        ({"text": "5"}, {"text": "5"}),
        ({"text": "null"}, {"text": "null"}),
    ],
)
async def test_what_small_models_mean_is_taken(
    arguments: dict[str, Any], changed: dict[str, Any]
) -> None:
    value = await value_of(echo, **{"text": "hi", **arguments})
    assert value == {"values": {**ALL, **changed}}
    assert all(type(value["values"][name]) is type(ALL[name]) for name in ("count", "share"))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "text is missing"),
        ({"text": None}, "text: expected str, not null"),
        ({"text": 5}, "text: expected str, not 5"),
        ({"text": "a", "count": "many"}, 'count: expected int, not "many"'),
        ({"text": "a", "count": 1.5}, "count: expected int, not 1.5"),
        ({"text": "a", "count": 0}, "count: expected int >= 1, not 0"),
        ({"text": "a", "mode": "c"}, "mode: Invalid enum value 'c', not \"c\""),
        ({"text": "a", "words": "b"}, 'words: expected array, not "b"'),
        ({"text": "a", "words": ["b", 2]}, 'words: expected str, not ["b", 2]'),
        ({"txt": "a"}, 'text is missing; there is no parameter "txt" (did you mean text?)'),
        ({"text": "a", "zzz": 1}, 'there is no parameter "zzz"'),
    ],
)
async def test_wrong_arguments_are_named_with_what_was_expected(
    arguments: dict[str, Any], fault: str
) -> None:
    refused = await refusal_of(echo, **arguments)
    assert refused == ToolRefused(
        code="invalid_input",
        message=f"wrong arguments: {fault}. Call it as echo(text: string, count?: integer, "
        'share?: number, loud?: boolean, mode?: "a" | "b", limit?: integer | null, '
        "words?: array of string)",
    )


async def test_every_fault_is_told_at_once_and_long_values_are_cut() -> None:
    refused = await refusal_of(echo, count="x" * 1000, share=[])
    assert refused.message.startswith("wrong arguments: text is missing; count: expected int, not")
    assert "share: expected float, not []" in refused.message
    assert len(refused.message) < 400


@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(list(ALL)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=5,
    )
)
def test_no_arguments_break_it(arguments: dict[str, Any]) -> None:
    outcome = anyio.run(invoke, echo, arguments, context())
    assert isinstance(outcome, ToolResult) or outcome.code == "invalid_input"
    encode(outcome)


async def test_the_context_reaches_the_function_and_not_the_schema() -> None:
    @tool(effect="idempotent")
    async def keyed(context: ToolContext, n: int) -> str:
        return f"{context.tenant} {context.key} {n}"

    assert keyed.spec.parameters["properties"] == {"n": {"type": "integer"}}
    assert await value_of(keyed, n=2) == "t j.t.1 2"
    refused = await refusal_of(keyed, n=2, context="mine")
    assert 'there is no parameter "context"' in refused.message


async def test_a_plain_function_runs_in_a_thread() -> None:
    @tool
    def where() -> bool:
        anyio.from_thread.check_cancelled()  # an error anywhere but in a worker thread
        return threading.current_thread() is threading.main_thread()

    assert await value_of(where) is False


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ToolError("no such\ncity"), "tool"),
        (InvalidInputError("no such city"), "invalid_input"),
        (UnavailableError("no such city"), "unavailable"),
        (InDoubtError("no such city"), "in_doubt"),
    ],
)
async def test_what_a_tool_says_reaches_the_model(error: Exception, code: str) -> None:
    @tool
    async def fails() -> None:
        raise error

    @tool
    def fails_in_a_thread() -> None:
        raise error

    @tool
    async def fails_in_a_group() -> None:
        async with anyio.create_task_group():
            raise error

    for failing in (fails, fails_in_a_thread, fails_in_a_group):
        assert await call(failing) == ToolRefused(code=code, message="no such city")


@pytest.mark.parametrize("error", [ValueError("secret"), TimeoutError("secret"), SystemExit(3)])
async def test_a_bug_is_logged_and_not_told(error: BaseException) -> None:
    @tool
    async def broken() -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        refused = await refusal_of(broken)
    name = type(error).__name__
    assert refused == ToolRefused(code="tool_bug", message=f"broken failed inside: {name}")
    assert [(log["event"], log["tool"], log["exc_info"]) for log in logs] == [
        ("tool_bug", "broken", error)
    ]


async def test_a_result_that_is_no_json_is_a_bug() -> None:
    @tool
    async def odd() -> object:
        return object()

    @tool
    async def half_a_character() -> str:
        return "\ud800"

    with structlog.testing.capture_logs():
        assert (await refusal_of(odd)).code == "tool_bug"
        assert (await refusal_of(half_a_character)).code == "tool_bug"


async def test_sets_have_one_order() -> None:
    @tool
    async def letters() -> set[str]:
        return set("gfedcba")

    assert (await call(letters)) == ToolResult(list("abcdefg"), '["a","b","c","d","e","f","g"]')


async def test_a_result_over_the_limit_is_refused() -> None:
    @tool
    async def repeat(n: int) -> str:
        return "x" * n

    room = MAX_RESULT - len(encode(ToolResult("", "")))
    fits = await call(repeat, n=room // 2)
    assert isinstance(fits, ToolResult)
    assert len(encode(fits)) <= MAX_RESULT
    refused = await refusal_of(repeat, n=room // 2 + 1)
    assert refused.code == "too_large"
    assert refused.message.endswith("the limit is 256 kB; ask repeat(n: integer) for less")


@pytest.mark.parametrize(
    ("effect", "code"), [("pure", "deadline"), ("idempotent", "deadline"), ("once", "in_doubt")]
)
async def test_a_slow_tool_is_stopped(effect: Effect, code: str) -> None:
    stopped: list[bool] = []

    @tool(effect=effect, timeout=0.01)
    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(True)

    refused = await refusal_of(slow)
    assert refused.code == code
    assert refused.message.startswith("slow did not finish within 0.01 s")
    assert stopped == [True]


async def test_the_calls_deadline_counts_too() -> None:
    begun: list[bool] = []

    @tool(timeout=3600)
    async def slow() -> None:
        begun.append(True)
        await anyio.sleep_forever()

    def clock() -> float:
        return 1000.0

    soon = ToolContext(key="k", deadline=1000.01, tenant="t", clock=clock)
    outcome = await invoke(slow, {}, soon)
    assert isinstance(outcome, ToolRefused)
    assert (outcome.code, len(begun)) == ("deadline", 1)
    past = ToolContext(key="k", deadline=1000.0, tenant="t", clock=clock)
    assert await invoke(slow, {}, past) == ToolRefused(
        code="deadline", message="slow was not begun: the call's time was already over"
    )
    assert len(begun) == 1


async def test_a_thread_that_does_not_end_is_left_and_told() -> None:
    begun, told, go_on = threading.Event(), threading.Event(), threading.Event()

    @tool(timeout=0.01)
    def stuck() -> None:
        begun.set()
        go_on.wait()
        try:
            anyio.from_thread.check_cancelled()
        except BaseException:
            told.set()
            raise

    while not begun.is_set():  # on a busy machine its time may be over before a thread is there
        assert (await refusal_of(stuck)).code == "deadline"
    go_on.set()
    assert await anyio.to_thread.run_sync(told.wait, 30)


async def test_a_thread_may_look_whether_anybody_waits() -> None:
    begun, ended = threading.Event(), threading.Event()

    @tool(timeout=0.01)
    def patient(context: ToolContext) -> None:
        begun.set()
        while not context.cancelled():
            ended.wait(0.001)
        ended.set()

    while not begun.is_set():
        assert (await refusal_of(patient)).code == "deadline"
    assert await anyio.to_thread.run_sync(ended.wait, 30)
    assert not context().cancelled()


async def test_progress_and_log_name_the_call() -> None:
    @tool
    def reads(context: ToolContext) -> str:
        context.progress("half of it", 0.5)
        context.log.info("opened", file="a.txt")
        return "done"

    told: list[tuple[str, float | None]] = []

    def progress(text: str, fraction: float | None = None) -> None:
        told.append((text, fraction))

    with structlog.testing.capture_logs() as lines:
        await invoke(reads, {}, msgspec.structs.replace(context(), progress=progress))
    assert told == [("half of it", 0.5)]
    (line,) = [line for line in lines if line["event"] == "opened"]
    assert (line["key"], line["tenant"], line["file"]) == ("j.t.1", "t", "a.txt")


async def test_cancellation_passes_through() -> None:
    begun = anyio.Event()
    outcomes: list[object] = []

    @tool
    async def waits() -> None:
        begun.set()
        await anyio.sleep_forever()

    async def caller() -> None:
        outcomes.append(await call(waits))

    async with anyio.create_task_group() as group:
        group.start_soon(caller)
        await begun.wait()
        group.cancel_scope.cancel()
    assert outcomes == []
