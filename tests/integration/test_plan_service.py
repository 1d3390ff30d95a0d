"""Plans asked for on the bus by a plain NATS client, from real planners."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from galerne.bus.server import NatsServer
from galerne.messages.codec import decode_plan_reply
from galerne.messages.planning import PlanEnd, PlanReply, PlanTask, PlanWorking
from galerne.messages.subjects import Subjects
from galerne.models.standin import StandIn, StandInSettings
from galerne.runtime.roles import Role, serve
from galerne.settings import PlanSettings, RoleSettings, Settings, ToolSettings
from integration.fleet import PATIENCE
from integration.hostile import Maker

pytestmark = pytest.mark.anyio

SUBJECT = "galerne.plan"
GOAL = "Compute 19 * 23, compute 6 * 7, then say which is larger"
CALCULATE = {
    "type": "function",
    "function": {
        "name": "calculate",
        "description": "Evaluate arithmetic.",
        "parameters": {"type": "dict", "properties": {"expression": {"type": "str"}}},
    },
}


def request(goal: Any = GOAL, **fields: Any) -> bytes:
    return json.dumps({"type": "plan", "goal": goal, "tools": [CALCULATE], **fields}).encode()


async def connected(settings: Settings) -> NatsClient:
    return await nats.connect(settings.bus.server or "")  # pyright: ignore[reportUnknownMemberType] - its options are untyped


class Asker:
    """A plain NATS client; nobody's library but nats-py's."""

    def __init__(self, connection: NatsClient) -> None:
        self.connection = connection
        self._inboxes = 0

    async def begin(self, data: bytes) -> "Answers":
        self._inboxes += 1
        inbox = f"_INBOX.asker.{id(self)}.{self._inboxes}"
        answers = Answers()
        await self.connection.subscribe(inbox, cb=answers.hear)  # pyright: ignore[reportUnknownMemberType] - its Future is untyped
        await self.connection.publish(SUBJECT, data, reply=inbox)
        return answers

    async def whole(self, data: bytes) -> list[PlanReply]:
        return await (await self.begin(data)).until_end()

    async def known(self, verb: str, name: str = "") -> list[dict[str, Any]]:
        """What services answer about themselves, as `nats micro` asks it."""
        inbox = self.connection.new_inbox()
        heard: list[dict[str, Any]] = []

        async def hear(message: Msg) -> None:
            heard.append(json.loads(message.data))

        listening = await self.connection.subscribe(inbox, cb=hear)  # pyright: ignore[reportUnknownMemberType] - as above
        await self.connection.publish(f"$SRV.{verb}{name}", b"", reply=inbox)
        with anyio.move_on_after(0.5):
            while len(heard) < 9:
                await anyio.sleep(0.01)
        await listening.unsubscribe()
        return heard


class Answers:
    """What came to one inbox."""

    def __init__(self) -> None:
        self.replies: list[PlanReply] = []
        self.headers: dict[str, str] = {}
        self.news = anyio.Event()

    async def hear(self, message: Msg) -> None:
        self.replies.append(decode_plan_reply(message.data))
        self.headers = message.headers or {}
        self.news.set()
        self.news = anyio.Event()

    async def until_end(self) -> list[PlanReply]:
        with anyio.fail_after(PATIENCE):
            while not (self.replies and isinstance(self.replies[-1], PlanEnd)):
                await self.news.wait()
        return self.replies

    async def first(self, kind: type[PlanReply]) -> None:
        with anyio.fail_after(PATIENCE):
            while not any(isinstance(one, kind) for one in self.replies):
                await self.news.wait()


def end_of(replies: list[PlanReply]) -> PlanEnd:
    assert sum(isinstance(one, PlanEnd) for one in replies) == 1
    assert isinstance(replies[-1], PlanEnd)
    return replies[-1]


def tasks_of(replies: list[PlanReply]) -> list[PlanTask]:
    return [one for one in replies if isinstance(one, PlanTask)]


class Served:
    """Planners and tool workers, the model that they ask, and someone who asks them."""

    def __init__(self, asker: Asker, model: StandIn, stop: anyio.Event) -> None:
        self.asker = asker
        self.model = model
        self.stop = stop

    def ends(self) -> list[str]:
        return [one.event for one in self.model.ledger.entries if one.event != "started"]

    async def until_ends(self, wanted: list[str]) -> None:
        with anyio.fail_after(PATIENCE):
            while self.ends() != wanted:
                await anyio.sleep(0.01)


@asynccontextmanager
async def served(
    settings: Settings,
    *roles: Role,
    plans: PlanSettings = PlanSettings(),  # noqa: B008 - frozen
    pace: int = 0,
) -> AsyncGenerator[Served]:
    stop = anyio.Event()
    async with StandIn(StandInSettings(pace=pace)) as model, anyio.create_task_group() as tasks:
        role = RoleSettings(
            endpoint=model.url, model="mixtral-8x22b", input_price=2.0, output_price=6.0
        )
        tools = ToolSettings(heartbeat=0.1)
        own = msgspec.structs.replace(settings, planner=role, plans=plans, tools=tools)
        for name in roles or ("planner",):
            started = anyio.Event()
            tasks.start_soon(serve, name, own, stop, started)
            with anyio.fail_after(PATIENCE):
                await started.wait()
        connection = await connected(settings)
        try:
            yield Served(Asker(connection), model, stop)
        finally:
            await connection.close()
            stop.set()


async def test_each_task_comes_as_it_closes_and_then_the_end(settings: Settings) -> None:
    async with served(settings) as running:
        replies = await running.asker.whole(request())
    assert isinstance(replies[0], PlanWorking)
    assert replies[0].by.startswith("planner-")
    tasks = tasks_of(replies)
    assert [one.n for one in tasks] == [1, 2, 3]
    assert [one.task.tool for one in tasks] == ["calculate", "calculate", None]
    end = end_of(replies)
    assert (end.count, end.rejected, end.error) == (3, (), None)
    (used,) = end.usage.models.values()
    assert used.calls == 1
    assert used.usd == pytest.approx(
        (2 * used.prompt_tokens + 6 * used.completion_tokens) / 1_000_000
    )


async def test_the_first_task_is_there_while_the_model_speaks(settings: Settings) -> None:
    async with served(settings, pace=40) as running:
        answers = await running.asker.begin(request())
        await answers.first(PlanTask)
        assert running.ends() == []
        assert end_of(await answers.until_end()).count == 3


async def test_without_tools_those_that_are_served_are_planned_with(settings: Settings) -> None:
    async with served(settings, "tools", "planner") as running:
        data = json.dumps({"type": "plan", "goal": "Compute 6 * 7"}).encode()
        (task,) = tasks_of(await running.asker.whole(data))
    assert task.task.tool == "calculate"


async def test_a_conversation_goes_on(settings: Settings) -> None:
    earlier = [{"goal": "Compute 2 * 3", "answer": "6"}]
    async with served(settings) as running:
        with_it = end_of(await running.asker.whole(request("Compute 6 * 7", history=earlier)))
        alone = end_of(await running.asker.whole(request("Compute 6 * 7")))
    assert (with_it.count, alone.count) == (1, 1)
    assert with_it.usage.tokens > alone.usage.tokens


async def test_nats_tools_find_it(settings: Settings) -> None:
    async with served(settings, "planner", "planner") as running:
        await running.asker.whole(request())
        await running.asker.whole(b"{")
        pings = await running.asker.known("PING")
        assert [ping["name"] for ping in pings] == ["galerne-plan"] * 2
        assert len({ping["id"] for ping in pings}) == 2
        (info, _) = await running.asker.known("INFO", ".galerne-plan")
        assert info["type"] == "io.nats.micro.v1.info_response"
        assert info["version"] == "0.1.0"
        assert info["description"]
        assert info["metadata"] == {"prefix": "galerne", "model": "mixtral-8x22b"}
        (endpoint,) = info["endpoints"]
        assert (endpoint["subject"], endpoint["queue_group"]) == (SUBJECT, "planners")
        stats = await running.asker.known("STATS", ".galerne-plan")
        said = [one["endpoints"][0] for one in stats]
        assert sum(one["num_requests"] for one in said) == 2
        assert sum(one["data"]["plans"] for one in said) == 1
        assert sum(one["data"]["refused"] for one in said) == 1
        one_alone = await running.asker.known("PING", f".galerne-plan.{info['id']}")
        assert [one["id"] for one in one_alone] == [info["id"]]


async def test_it_may_be_switched_off(settings: Settings) -> None:
    async with served(settings, plans=PlanSettings(serve=False)) as running:
        assert await running.asker.known("PING") == []
        with pytest.raises(nats.errors.NoRespondersError):
            await running.asker.connection.request(SUBJECT, request())


@pytest.mark.parametrize(
    ("data", "code", "number", "said"),
    [
        (b"", "invalid_message", "400", "this is not a request for a plan"),
        (b"\xff\x00{{", "invalid_message", "400", "this is not a request for a plan"),
        (b"[" * 5000, "invalid_message", "400", "this is not a request for a plan"),
        (b'{"type":"submit","goal":"x"}', "invalid_message", "400", "this is not a request"),
        (request(5), "invalid_message", "400", "Expected `str`, got `int` - at `$.goal`"),
        (request(" \n"), "invalid_input", "400", "the goal is empty"),
        (request(tools=[{}]), "invalid_input", "400", "tool 1 has no name"),
        (request(tools=[CALCULATE] * 2), "invalid_input", "400", "'calculate' is on offer twice"),
        (request(inputs=[]), "invalid_message", "400", "Expected `object`, got `array`"),
        (request("x" * 600_000), "too_large", "413", "is over the limit of 524288"),
        (request("\\ud800"), "invalid", "", ""),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_cannot_be_used_is_answered_at_once_in_one_line(
    settings: Settings, data: bytes, code: str, number: str, said: str
) -> None:
    async with served(settings) as running:
        if code == "invalid":
            end_of(await running.asker.whole(data.replace(b"\\\\u", b"\\u")))
        else:
            answers = await running.asker.begin(data)
            replies = await answers.until_end()
            error = end_of(replies).error
            assert error is not None
            assert error.code == code
            assert said in error.message
            assert len(error.message.splitlines()) == 1
            assert answers.headers["Nats-Service-Error-Code"] == number
            assert answers.headers["Nats-Service-Error"] == error.message[:400]
            assert tasks_of(replies) == []
            assert running.ends() == []
        assert end_of(await running.asker.whole(request())).count == 3


async def test_a_planner_at_its_limit_says_so_at_once(settings: Settings) -> None:
    plans = PlanSettings(concurrency=1)
    async with served(settings, plans=plans, pace=40) as running:
        first = await running.asker.begin(request())
        await first.first(PlanTask)
        error = end_of(await running.asker.whole(request())).error
        assert error is not None
        assert (error.code, error.retry_after) == ("busy", 1.0)
        assert end_of(await first.until_end()).count == 3
        assert end_of(await running.asker.whole(request())).error is None


async def test_a_plan_nobody_waits_for_ends_by_its_time_and_the_place_is_free(
    settings: Settings,
) -> None:
    plans = PlanSettings(concurrency=1, timeout=1.0)
    async with served(settings, plans=plans, pace=5) as running:
        gone = await connected(settings)
        answers = await Asker(gone).begin(request())
        await answers.first(PlanWorking)
        await gone.close()
        await running.until_ends(["aborted"])
        answers = await running.asker.begin(request())
        replies = await answers.until_end()
        error = end_of(replies).error
        assert error is not None
        assert error.code == "deadline"
        assert answers.headers["Nats-Service-Error-Code"] == "504"
        await running.until_ends(["aborted"] * 2)


async def test_silence_is_broken_by_heartbeats(settings: Settings) -> None:
    plans = PlanSettings(heartbeat=0.1)
    async with served(settings, plans=plans, pace=20) as running:
        replies = await running.asker.whole(request())
    working = [one for one in replies if isinstance(one, PlanWorking)]
    assert len(working) > 3
    assert {one.heartbeat for one in working} == {0.1}


async def test_a_planner_that_stops_finishes_its_plans(settings: Settings) -> None:
    async with served(settings, pace=40) as running:
        answers = await running.asker.begin(request())
        await answers.first(PlanTask)
        running.stop.set()
        assert end_of(await answers.until_end()).count == 3
        with anyio.fail_after(PATIENCE):
            while await running.asker.known("PING"):
                await anyio.sleep(0.05)


async def test_a_planner_that_may_not_finish_says_that_it_goes(settings: Settings) -> None:
    worker = msgspec.structs.replace(settings.worker, drain=0.1)
    own = msgspec.structs.replace(settings, worker=worker)
    async with served(own, pace=5) as running:
        answers = await running.asker.begin(request())
        await answers.first(PlanWorking)
        running.stop.set()
        error = end_of(await answers.until_end()).error
        assert error is not None
        assert error.code == "unavailable"


async def test_it_is_there_again_after_the_server_was_away(
    settings: Settings, server: NatsServer
) -> None:
    async with served(settings) as running:
        await server.kill()
        await server.start()
        with anyio.fail_after(PATIENCE):
            while not running.asker.connection.is_connected:
                await anyio.sleep(0.05)
            while True:
                replies: list[PlanReply] = []
                with anyio.move_on_after(1.0):
                    replies = await running.asker.whole(request())
                if replies:
                    break
        assert end_of(replies).count == 3


async def test_requests_without_an_inbox_and_hostile_questions_kill_nothing(
    settings: Settings,
) -> None:
    async with served(settings) as running:
        for subject in (SUBJECT, "$SRV.PING", "$SRV.INFO.galerne-plan", "$SRV.STATS"):
            for data in (b"", request(), b"\xff" * 1000):
                await running.asker.connection.publish(subject, data)
        await running.asker.connection.flush()
        assert end_of(await running.asker.whole(request())).count == 3
        assert len(await running.asker.known("PING")) == 1
        assert running.ends() == ["finished"]


async def test_every_one_of_hundreds_of_hostile_requests_has_one_end(settings: Settings) -> None:
    maker = Maker(20261123, Subjects("galerne", 8), list[str])
    count, ends = 400, dict[str, int]()
    async with served(settings) as running:
        connection = running.asker.connection

        async def hear(message: Msg) -> None:
            if isinstance(decode_plan_reply(message.data), PlanEnd):
                ends[message.subject] = ends.get(message.subject, 0) + 1

        await connection.subscribe("_INBOX.hostile.*", cb=hear)  # pyright: ignore[reportUnknownMemberType] - its Future is untyped
        for number in range(count):
            await connection.publish(SUBJECT, maker.data(), reply=f"_INBOX.hostile.{number}")
        with anyio.fail_after(PATIENCE):
            while len(ends) < count:
                await anyio.sleep(0.02)
        assert set(ends.values()) == {1}
        assert end_of(await running.asker.whole(request())).count == 3
