"""Conversations: a job sees what was said in its session before it, whoever dies."""

from collections.abc import Callable

import msgspec
import pytest

from galerne.agent import TaskContext, load_agents
from galerne.bus.log import FactLog, Record
from galerne.bus.sessions import Sessions
from galerne.client import Client
from galerne.errors import InvalidInputError, NotFoundError, PermanentError, TooLongError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
from galerne.messages.facts import AnyFact, Ended, Moved, PlanEnded, Planned, Ready, Submitted, Turn
from galerne.messages.ids import DEFAULT_TENANT, TenantId
from galerne.messages.sessions import Said
from galerne.messages.subjects import JobAddress
from galerne.settings import Settings
from integration.fleet import Fleet, agent, echoing, fleet_on, silence, task, until

pytestmark = pytest.mark.anyio


async def answering(context: TaskContext) -> object:
    """Plan one task; the answer is the goal, and what was said before it."""
    ready = context.ready
    if ready.task.kind == "plan":
        context.write(Planned(revision=1, n=1, task=task("1")))
        context.write(PlanEnded(revision=1, count=1))
        return {"tasks": 1}
    if ready.goal == "fail":
        raise PermanentError("as it was asked")
    if ready.goal.startswith("large"):
        return {"text": "x" * int(ready.goal.split()[1])}
    return f"{ready.goal} after {', '.join(turn.goal for turn in ready.history) or 'nothing'}"


async def whole(fleet: Fleet) -> None:
    """One of each."""
    await fleet.coordinator()
    await fleet.planner(agent(answering, lane="planner", kinds=("plan", "answer")))
    await fleet.worker(echoing)


async def history(fleet: Fleet, job: str, tenant: str = DEFAULT_TENANT) -> tuple[Turn, ...]:
    begun = await fleet.find(job, "submitted", tenant)
    assert isinstance(begun, Submitted)
    return begun.job.history


async def test_a_job_sees_what_was_said_before_it(settings: Settings) -> None:
    """Across clients: nothing of a conversation is in anybody's memory."""
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        answers: list[object] = []
        for goal in ("one", "two", "three"):
            async with Client.connect(settings=settings.bus) as client:
                job = await client.submit(goal, job=f"job-{goal}", session="talk")
                answers.append(await job.result())
        assert answers == ["one after nothing", "two after one", "three after one, two"]
        told = (
            Turn("one", "one after nothing", "job-one"),
            Turn("two", "two after one", "job-two"),
        )
        assert await history(fleet, "job-three") == told
        for name in ("ready.planner.normal.plan-1", "ready.planner.normal.answer"):
            ready = await fleet.find("job-three", name)
            assert isinstance(ready, Ready)
            assert ready.history == told
        executor = await fleet.find("job-three", "ready.executor.normal.1")
        assert isinstance(executor, Ready)
        assert executor.history == ()


async def test_sessions_are_listed_shown_and_forgotten(settings: Settings) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        assert await client.sessions() == []
        for session, goal in (("a", "one"), ("b", "two"), ("a", "three")):
            await (await client.submit(goal, job=f"job-{goal}", session=session)).result()
        await (await client.submit("alone")).result()
        found = [(one.name, one.turns, one.goal) for one in await client.sessions()]
        assert found == [("a", 2, "three"), ("b", 1, "two")]
        turns = await client.session("a").turns()
        assert [(one.job, one.goal) for one in turns] == [
            ("job-one", "one"),
            ("job-three", "three"),
        ]
        assert turns[1].answer == "three after one"
        assert await client.session("a").forget() == 2
        with pytest.raises(NotFoundError, match="no session a"):
            await client.session("a").forget()
        with pytest.raises(NotFoundError, match="no session a"):
            await client.session("a").turns()
        assert [one.name for one in await client.sessions()] == ["b"]
        again = await client.submit("four", session="a")
        assert await again.result() == "four after nothing"


async def test_a_coordinator_that_dies_before_the_end_leaves_one_turn(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        [first] = fleet.living("coordinator")
        write = FactLog.write

        async def killed(
            log: FactLog, address: JobAddress, fact: AnyFact, message_id: str | None = None
        ) -> Record | None:
            if isinstance(fact, Ended) and first.alive:
                silence(first.bus)
                first.scope.cancel()
            return await write(log, address, fact, message_id)

        monkeypatch.setattr(FactLog, "write", killed)
        job = await client.submit("one", job="job", session="talk")
        await first.ended.wait()
        assert [one.goal for one in await client.session("talk").turns()] == ["one"]
        assert await fleet.find("job", "end") is None
        await fleet.coordinator()
        assert await job.result() == "one after nothing"
        assert [one.goal for one in await client.session("talk").turns()] == ["one"]


async def test_two_coordinators_write_one_turn(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        sessions = Sessions(fleet.bus)
        first = Said(job="job", goal="one", answer="first", at=1.0)
        second = msgspec.structs.replace(first, answer="second", at=2.0)
        assert await sessions.add(DEFAULT_TENANT, "talk", first)
        assert not await sessions.add(DEFAULT_TENANT, "talk", second)
        assert await sessions.read(DEFAULT_TENANT, "talk") == [first]


async def test_the_same_key_is_one_turn(settings: Settings) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        job = await client.submit("one", key="once", session="talk")
        again = await client.submit("one", key="once", session="talk")
        assert await job.result() == await again.result() == "one after nothing"
        assert len(await client.session("talk").turns()) == 1
        await job.purge()
        assert len(await client.session("talk").turns()) == 1
        await fleet.submit(job.id, goal="one", session="talk")  # its old answer tells it nothing
        assert (await fleet.end(job.id)).result == "one after nothing"
        assert len(await client.session("talk").turns()) == 1


async def test_tenants_do_not_see_each_other(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        await whole(fleet)
        for tenant in ("acme", "globex"):
            async with Client.connect(settings=settings.bus, tenant=tenant) as client:
                job = await client.submit(f"of {tenant}", session="talk")
                assert await job.result() == f"of {tenant} after nothing"
                assert [one.goal for one in await client.sessions()] == [f"of {tenant}"]
        async with Client.connect(settings=settings.bus, tenant="globex") as client:
            assert await client.session("talk").forget() == 1
        assert await Sessions(fleet.bus).last(TenantId("acme"), "talk") is not None


async def test_what_failed_says_nothing(settings: Settings) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        await fleet.submit("bad", goal="fail", session="talk", revisions=0)
        assert (await fleet.end("bad")).status == "failed"
        assert await client.sessions() == []
        good = await client.submit("one", session="talk")
        assert await good.result() == "one after nothing"


async def test_the_oldest_turns_go_first(settings: Settings) -> None:
    kept = msgspec.structs.replace(
        settings, retention=msgspec.structs.replace(settings.retention, turns=3)
    )
    async with fleet_on(kept) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        for n in range(5):
            await (await client.submit(f"goal {n}", session="talk")).result()

        async def trimmed() -> bool:
            turns = await client.session("talk").turns()
            return [one.goal for one in turns] == ["goal 2", "goal 3", "goal 4"]

        await until(trimmed, "three turns are left")


async def test_a_long_conversation_reaches_a_job_shortened(settings: Settings) -> None:
    """Whatever was said, and however much stands beside it in the request."""
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        sessions = Sessions(fleet.bus)
        for n in range(300):
            said = Said(job=f"job-{n}", goal=f"goal {n}", answer="word " * 400, at=float(n))
            await sessions.add(DEFAULT_TENANT, "talk", said)
        big = await client.submit("large 300000", job="large", session="talk")
        await big.result()
        seen = await history(fleet, "large")
        assert seen[0].goal.endswith("earlier goals]")
        assert seen[-1].answer == "word " * 400
        newest = (await client.session("talk").turns())[-1]
        assert newest.answer.startswith("[too large to keep: 293.0 kB; it began:]\n{")


async def test_a_request_that_fills_its_message_leaves_no_room_for_history(
    settings: Settings,
) -> None:
    """It was accepted, so it must not fail for what was said before it."""
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await whole(fleet)
        await (await client.submit("one", session="talk")).result()
        goal = "two " * 130_000
        await (await client.submit(goal, job="full", session="talk", inputs={})).result()
        assert await history(fleet, "full") == ()
        assert [one.goal[:3] for one in await client.session("talk").turns()] == ["one", "two"]


MUCH = ("Much was said, and then more. " * 10).strip()


class Brief:
    """A model that plans one task, answers, and sums up; it remembers what it was to sum up."""

    def __init__(self) -> None:
        self.older: list[str] = []

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        system, user = (turn.content for turn in request.messages)
        text = "the answer"
        if system.startswith("You plan"):
            text = '{"id": "1", "instruction": "do it"}\n'
        elif system.startswith("You sum up"):
            self.older.append(user)
            text = MUCH
        if on_text is not None:
            on_text(text)
        return ChatReply(ChatMessage("assistant", text), f"brief {key}", usage=TokenUsage(2, 3))


async def test_older_turns_are_summed_up_once_for_the_jobs_that_follow(settings: Settings) -> None:
    """Before any of them has to be cut; nothing of the session itself is changed."""
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        model = Brief()
        await fleet.coordinator()
        await fleet.worker(echoing)
        await fleet.worker(load_agents("planner"), model, lane="planner")
        sessions = Sessions(fleet.bus)
        for n in range(10):
            said = Said(job=f"job-{n}", goal=f"goal {n}", answer="word " * 400, at=float(n))
            await sessions.add(DEFAULT_TENANT, "talk", said)
        for n in (10, 11, 12):
            await (await client.submit(f"goal {n}", job=f"job-{n}", session="talk")).result()
        (older,) = model.older
        assert older.startswith("# Earlier in this conversation\n\n## Goal\ngoal 0\n\n## Answer\n")
        assert "goal 3" in older
        assert "goal 9" not in older
        turns = await client.session("talk").turns()
        assert [one.goal for one in turns] == [f"goal {n}" for n in range(13)]
        (summed,) = [one for one in turns if one.summary]
        assert (summed.job, summed.summary) == ("job-10", MUCH)
        head, *rest = await history(fleet, "job-11")
        assert (head.job, head.answer) == (summed.until, MUCH)
        assert [one.job for one in rest] == [f"job-{n}" for n in range(11)]


class Narrow:
    """A model that takes prompts up to so many characters, and plans one task or answers."""

    def __init__(self, most: int) -> None:
        self.asked: list[int] = []
        self._most = most

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        prompt = "".join(turn.content for turn in request.messages)
        self.asked.append(len(prompt))
        if len(prompt) > self._most:
            raise TooLongError(f"the prompt of {key} is over {self._most} characters")
        text = '{"id": "1", "instruction": "do it"}\n' if "You plan" in prompt else "the answer"
        if on_text is not None:
            on_text(text)
        return ChatReply(ChatMessage("assistant", text), "narrow", usage=TokenUsage(2, 3))


async def long_session(fleet: Fleet) -> None:
    said = Said(job="before", goal="Tell me all", answer="word " * 8_000, at=1.0)
    await Sessions(fleet.bus).add(DEFAULT_TENANT, "talk", said)


async def test_a_session_that_outgrows_a_model_moves_to_one_with_more_context(
    settings: Settings,
) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await fleet.coordinator()
        await fleet.worker(echoing)
        small, large = Narrow(20_000), Narrow(100_000)
        agents = load_agents("planner")
        await fleet.worker(agents, small, lane="planner", above={"longer": large})
        short = await client.submit("Say it", job="short")
        await short.result()
        assert large.asked == []
        await long_session(fleet)
        job = await client.submit("Say it again", job="long", session="talk")
        await job.result()
        assert large.asked != []
        moved = await fleet.find("long", "moved.plan-1.1")
        assert isinstance(moved, Moved)
        assert (moved.to_model, moved.reason) == (
            "longer",
            "the prompt of long.plan-1.1 is over 20000 characters",
        )


async def test_a_session_that_no_model_can_take_says_what_to_do(settings: Settings) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await fleet.coordinator()
        await fleet.worker(load_agents("planner"), Narrow(20_000), lane="planner")
        await long_session(fleet)
        await client.submit("Say it again", job="long", session="talk", revisions=0)
        end = await fleet.end("long")
        assert end.status == "failed"
        assert end.error is not None
        assert "is over 20000 characters; `models.longer` names models" in end.error
        assert "another --session begins without what was said in this one" in end.error
        assert "\n" not in end.error


async def test_a_name_that_is_no_id_is_refused(settings: Settings) -> None:
    async with fleet_on(settings) as fleet, Client.connect(settings=settings.bus) as client:
        await fleet.coordinator()
        for name in ("a.b", "", "my talk", "x" * 65, ">"):
            with pytest.raises(InvalidInputError, match="the session"):
                await client.submit("one", session=name)
            with pytest.raises(InvalidInputError, match="the session"):
                client.session(name)
        await fleet.submit("job", session="a.b")
        end = await fleet.end("job")
        assert end.status == "failed"
        assert "the session 'a.b' is not usable" in (end.error or "")
