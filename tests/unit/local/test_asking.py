"""Questions of a run: `on_ask` gives leave, answers, settles doubts; without it the run ends."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from galerne import InvalidInputError, OpenQuestion, RunFailedError, Word, tool
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import Asked, Decided, Ready
from unit.local.scripted import (
    Facts,
    agent_task,
    calls,
    carry_out,
    executing,
    last,
    planning,
    says,
    tool_task,
)

pytestmark = pytest.mark.anyio


class Mailer:
    """A tool with an effect, and what it has sent."""

    def __init__(self, **options: Any) -> None:
        self.sent: list[str] = []
        given: dict[str, Any] = {"effect": "once", **options}

        @tool(**given)
        async def send(to: str) -> str:
            """Send a letter."""
            self.sent.append(to)
            if to == "slow":
                await anyio.sleep_forever()
            return f"sent to {to}"

        self.tool = send


class Person:
    """An `on_ask` with one answer."""

    def __init__(self, says: Any) -> None:
        self.asked: list[OpenQuestion] = []
        self._says = says

    async def __call__(self, question: OpenQuestion) -> Any:
        self.asked.append(question)
        await anyio.lowlevel.checkpoint()
        return self._says


def sending(to: str = "anna") -> Any:
    return planning(tool_task("1", "send", {"to": to}))


async def test_a_call_waits_for_leave_and_is_made_once() -> None:
    mailer, person, facts = Mailer(), Person(True), Facts()
    result = await carry_out(
        planner=sending(), tools=[mailer.tool], approve=["*"], on_ask=person, on_event=facts
    )
    assert mailer.sent == ["anna"]
    (question,) = person.asked
    assert (question.call, question.what, question.tool) == ("1.1", "approval", "send")
    assert question.arguments == {"to": "anna"}
    assert result.tasks[1].result == "sent to anna"
    assert (result.tasks[1].resumed, result.tasks[1].attempt) == (1, 2)
    names = facts.names
    assert names.index("ask.1.1.1") < names.index("decided.1.1.1")
    assert names.index("decided.1.1.1") < names.index("resume.executor.normal.1.1")


async def test_a_call_that_is_refused_is_not_made_and_the_reason_is_read() -> None:
    async def sends(task: str, request: ChatRequest) -> ChatReply:
        told = "not on a Sunday" in last(request)
        return says(f"refused: {last(request)}") if told else calls("send", to="anna")

    mailer = Mailer(approve=True)
    result = await carry_out(
        planner=planning(agent_task("1", "send a letter", tools=["send"])),
        executor=executing(sends),
        tools=[mailer.tool],
        on_ask=Person(Word("denied", why="not on a Sunday", by="anna")),
    )
    assert mailer.sent == []
    assert result.tasks[1].result == (
        "refused: Error: a person refused this call of send: not on a Sunday"
    )


async def test_a_tool_asks_by_its_arguments() -> None:
    def strangers(to: str) -> bool | str:
        return "a stranger" if to == "zoe" else False

    mailer, person = Mailer(approve=strangers), Person(True)
    plan = planning(tool_task("1", "send", {"to": "anna"}), tool_task("2", "send", {"to": "zoe"}))
    await carry_out(planner=plan, tools=[mailer.tool], on_ask=person)
    assert sorted(mailer.sent) == ["anna", "zoe"]
    assert [(one.call, one.question) for one in person.asked] == [("2.1", "a stranger")]


async def test_an_ask_task_is_answered_and_typed() -> None:
    task = {"id": "1", "kind": "ask", "instruction": "How many?", "output": {"type": "integer"}}
    person = Person(3)
    executor = executing()
    await carry_out(
        planner=planning(task, agent_task("2", "use it", "1")),
        executor=executor,
        on_ask=person,
        tools=[],
    )
    assert (person.asked[0].what, person.asked[0].output) == ("question", {"type": "integer"})
    assert "3" in last(executor.requests[0])
    with pytest.raises(InvalidInputError, match="does not fit"):
        await carry_out(planner=planning(task), on_ask=Person("three"), tools=[])
    with pytest.raises(RunFailedError, match="said no"):
        await carry_out(planner=planning(task), on_ask=Person(None), tools=[])


async def test_without_anybody_to_ask_the_run_ends_and_says_what_to_give() -> None:
    task = {"id": "1", "kind": "ask", "instruction": "How many?"}
    with pytest.raises(RunFailedError) as caught:
        await carry_out(planner=planning(task), tools=[])
    assert str(caught.value) == (
        "the run failed: task 1 wants an answer of a person (How many?): give run(on_ask=…)"
    )
    with pytest.raises(RunFailedError, match=r"task 1 wants leave of a person .*on_ask"):
        await carry_out(planner=sending(), tools=[Mailer(approve=True).tool])
    with pytest.raises(InvalidInputError, match="on_ask"):
        await carry_out(planner=sending(), tools=[], approve=["*"])


@pytest.mark.parametrize(
    ("word", "sent", "result"),
    [
        (True, 1, None),
        (Word("happened", value="receipt 7"), 1, "receipt 7"),
    ],
)
async def test_an_effect_in_doubt_is_settled(word: Any, sent: int, result: Any) -> None:
    mailer, person = Mailer(timeout=0.05), Person(word)
    run_ = await carry_out(planner=sending("slow"), tools=[mailer.tool], on_ask=person)
    assert person.asked[0].what == "doubt"
    assert len(mailer.sent) == sent
    assert run_.tasks[1].result == result


async def test_an_effect_that_did_not_happen_is_begun_anew() -> None:
    mailer = Mailer(timeout=0.05)
    words = iter([False, True])

    async def says_what_happened(question: OpenQuestion) -> Any:
        return next(words)

    facts = Facts()
    await carry_out(
        planner=sending("slow"), tools=[mailer.tool], on_ask=says_what_happened, on_event=facts
    )
    assert mailer.sent == ["slow", "slow"]
    assert [one.verdict for one in facts.of(Decided)] == ["not_happened", "happened"]
    assert [one.round for one in facts.of(Asked)] == [1, 2]
    assert [one.resume for one in facts.of(Ready) if one.task.id == "1"] == [0, 1, 2]


async def test_questions_come_one_at_a_time_while_other_tasks_go_on() -> None:
    open_now: list[str] = []
    most = 0

    async def slowly(question: OpenQuestion) -> bool:
        nonlocal most
        open_now.append(question.call)
        most = max(most, len(open_now))
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        open_now.remove(question.call)
        return True

    mailer = Mailer(approve=True)
    plan = planning(*(tool_task(str(n), "send", {"to": str(n)}) for n in range(1, 5)))
    await carry_out(planner=plan, tools=[mailer.tool], on_ask=slowly)
    assert sorted(mailer.sent) == ["1", "2", "3", "4"]
    assert most == 1


async def test_a_question_whose_time_is_over_is_taken_back() -> None:
    async def thinks(question: OpenQuestion) -> Any:
        await anyio.sleep_forever()

    task = {"id": "1", "kind": "ask", "instruction": "How many?", "timeout": 0.1}
    with pytest.raises(RunFailedError, match="nobody answered in time"):
        await carry_out(planner=planning(task), on_ask=thinks, tools=[])


async def test_what_does_not_fit_the_question_is_raised() -> None:
    mailer = Mailer(approve=True)
    with pytest.raises(InvalidInputError, match="give True, False or a Word"):
        await carry_out(planner=sending(), tools=[mailer.tool], on_ask=Person("maybe"))
    with pytest.raises(InvalidInputError, match="approved or denied, not happened"):
        await carry_out(planner=sending(), tools=[mailer.tool], on_ask=Person(Word("happened")))

    async def broken(question: OpenQuestion) -> bool:
        raise LookupError("no such person")

    with pytest.raises(LookupError, match="no such person"):
        await carry_out(planner=sending(), tools=[mailer.tool], on_ask=broken)
    assert mailer.sent == []
