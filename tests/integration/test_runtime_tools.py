"""Tool calls over a real bus: one effect a key, whoever dies, whatever is sent."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from galerne.bus import store
from galerne.bus.connection import Message
from galerne.bus.server import NatsServer
from galerne.core.asks import arguments_hash
from galerne.errors import DeadlineError, InvalidInputError, TransientError, UnavailableError
from galerne.messages.codec import decode_tool_reply, encode
from galerne.messages.tools import (
    Busy,
    CallTool,
    NeedsApproval,
    Pending,
    ToolOutcome,
    ToolRefused,
    ToolResult,
    Working,
)
from galerne.runtime import tool_caller
from galerne.runtime.tool_caller import ToolCaller
from galerne.runtime.tool_directory import ToolDirectory
from galerne.runtime.tool_journal import ToolClaim
from galerne.settings import Settings, ToolSettings
from galerne.tools import AnyTool, ToolContext, tool
from integration.fleet import Fleet, eventually, fleet_on, pub, raw, until

pytestmark = pytest.mark.anyio


class Effects:
    """Tools of every kind, and a record of what they did."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = anyio.Event()

    def tools(self) -> tuple[AnyTool, ...]:
        @tool
        async def look(word: str) -> str:
            """Look a word up."""
            self.done.append(f"look {word}")
            return word.upper()

        @tool(effect="idempotent")
        async def set_value(word: str, context: ToolContext) -> str:
            """Set it."""
            self.done.append(f"set {context.key}")
            return word

        @tool(effect="once")
        async def pay(word: str) -> str:
            """Pay."""
            self.done.append(f"pay {word}")
            return f"paid {word}"

        @tool(effect="once", timeout=60.0)
        async def pay_slowly(word: str) -> str:
            """Pay, slowly."""
            self.done.append(f"begun {word}")
            await self.gate.wait()
            return f"paid {word}"

        @tool(timeout=60.0)
        async def look_slowly(word: str) -> str:
            """Look, slowly."""
            self.done.append(f"slow {word}")
            await self.gate.wait()
            return word

        @tool(effect="once", approve=True)
        async def pay_with_leave(word: str) -> str:
            """Pay, where a person agrees."""
            self.done.append(f"pay {word}")
            return f"paid {word}"

        return look, set_value, pay, pay_slowly, look_slowly, pay_with_leave


def call(name: str, key: str = "job.1.1", word: str = "a", seconds: float = 20.0) -> CallTool:
    return CallTool(
        tool=name,
        key=key,
        tenant="default",
        arguments={"word": word},
        deadline=time.time() + seconds,
    )


def caller(fleet: Fleet) -> ToolCaller:
    return ToolCaller(fleet.bus, fleet.settings.tools.heartbeat, time.time)


def result(text: str) -> ToolResult:
    return ToolResult(value=text, content=text)


@asynccontextmanager
async def serving(settings: Settings, hosts: int = 1) -> AsyncGenerator[tuple[Fleet, Effects]]:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        for _ in range(hosts):
            await fleet.tools(*effects.tools())
        yield fleet, effects


# one effect a key


@pytest.mark.parametrize(("name", "value"), [("look", "A"), ("set_value", "a"), ("pay", "paid a")])
async def test_each_kind_answers(settings: Settings, name: str, value: str) -> None:
    async with serving(settings) as (fleet, effects):
        assert await caller(fleet).call(call(name)) == result(value)
        assert len(effects.done) == 1


async def test_the_same_key_is_the_same_result_and_one_effect(settings: Settings) -> None:
    async with serving(settings, hosts=2) as (fleet, effects):
        for name in ("pay", "set_value"):
            answers: list[ToolOutcome | NeedsApproval] = []

            async def ask(
                name: str = name, answers: list[ToolOutcome | NeedsApproval] = answers
            ) -> None:
                answers.append(await caller(fleet).call(call(name, key=f"job.{name}.1")))

            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(ask)
            await ask()
            assert len(answers) == 11
            assert len(set(map(encode, answers))) == 1
        assert sorted(effects.done) == ["pay a", "set job.set_value.1"]


async def test_other_keys_are_other_effects(settings: Settings) -> None:
    async with serving(settings) as (fleet, effects):
        for n in range(3):
            await caller(fleet).call(call("pay", key=f"job.1.{n}", word=str(n)))
        assert effects.done == ["pay 0", "pay 1", "pay 2"]


async def test_other_tenants_have_other_journals(settings: Settings) -> None:
    async with serving(settings) as (fleet, effects):
        for tenant in ("ann", "bob"):
            one = msgspec.structs.replace(call("pay", word=tenant), tenant=tenant)
            assert await caller(fleet).call(one) == result(f"paid {tenant}")
        assert effects.done == ["pay ann", "pay bob"]


async def test_a_refusal_is_journaled_like_a_result(settings: Settings) -> None:
    async with serving(settings) as (fleet, effects):
        wrong = msgspec.structs.replace(call("pay"), arguments={"wrong": 1})
        first = await caller(fleet).call(wrong)
        assert isinstance(first, ToolRefused)
        assert first.code == "invalid_input"
        assert not effects.done


# leave


async def test_leave_is_for_the_arguments_that_a_person_has_seen(settings: Settings) -> None:
    name = "pay_with_leave"
    async with serving(settings) as (fleet, effects):
        for other in (None, "", arguments_hash(name, {"word": "b"}), arguments_hash("pay", {})):
            asking = msgspec.structs.replace(call(name), approved=other)
            assert isinstance(await caller(fleet).call(asking), NeedsApproval)
        assert effects.done == []
        given = arguments_hash(name, {"word": "a"})
        asking = msgspec.structs.replace(call(name), approved=given)
        assert await caller(fleet).call(asking) == result("paid a")
        assert effects.done == ["pay a"]


# dead workers


async def leave_a_claim(fleet: Fleet, key: str, until_time: float, by: str = "ghost") -> None:
    subject = fleet.bus.subjects.tool_journal("default", key, "claim")
    claim = ToolClaim(by=by, until=until_time)
    await store.append(fleet.bus, fleet.bus.subjects.stream("TOOLJ"), subject, encode(claim), 0)


async def test_after_a_dead_claim_idempotent_goes_on_with_the_same_key(settings: Settings) -> None:
    async with serving(settings) as (fleet, effects):
        await leave_a_claim(fleet, "job.1.1", time.time() - 10)
        assert await caller(fleet).call(call("set_value")) == result("a")
        assert effects.done == ["set job.1.1"]


async def test_after_a_dead_claim_once_is_in_doubt(settings: Settings) -> None:
    async with serving(settings) as (fleet, effects):
        await leave_a_claim(fleet, "job.1.1", time.time() - 10)
        outcome = await caller(fleet).call(call("pay"))
        assert isinstance(outcome, ToolRefused)
        assert outcome.code == "in_doubt"
        assert not effects.done


async def test_all_who_ask_for_a_dead_once_call_are_told_and_one_writes_it_down(
    settings: Settings,
) -> None:
    async with serving(settings, hosts=3) as (fleet, effects):
        await leave_a_claim(fleet, "job.1.1", time.time() - 10)
        answers: list[ToolOutcome | NeedsApproval] = []

        async def ask() -> None:
            answers.append(await caller(fleet).call(call("pay")))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(ask)
        codes = {one.code if isinstance(one, ToolRefused) else None for one in answers}
        assert (len(answers), codes) == (10, {"in_doubt"})
        assert not effects.done
        info = await fleet.bus.api(f"STREAM.INFO.{fleet.bus.subjects.stream('TOOLJ')}")
        assert info["state"]["messages"] == 2  # the claim, and the doubt about it


async def test_clocks_may_differ_by_the_margin(settings: Settings) -> None:
    """A claim that is over by our clock may hold by its worker's."""
    margin = 1.0
    worker = msgspec.structs.replace(settings.worker, clock_margin=margin)
    async with serving(msgspec.structs.replace(settings, worker=worker)) as (fleet, effects):
        over = time.time() - margin / 2
        await leave_a_claim(fleet, "job.1.1", over)
        answer = await fleet.bus.request(
            fleet.bus.subjects.tool("set_value"), encode(call("set_value"))
        )
        reply = decode_tool_reply(answer.data)
        assert reply == Pending(until=over + margin)
        assert not effects.done
        assert await caller(fleet).call(call("set_value")) == result("a")
        assert time.time() >= over + margin


async def test_a_live_claim_of_another_is_waited_for(settings: Settings) -> None:
    async with serving(settings) as (fleet, _effects):
        over = time.time() + 1.0
        await leave_a_claim(fleet, "job.1.1", over)
        assert await caller(fleet).call(call("set_value")) == result("a")
        assert time.time() > over


async def test_a_worker_killed_in_a_once_call_leaves_it_in_doubt(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        first = await fleet.tools(*effects.tools())
        answers: list[ToolOutcome | NeedsApproval] = []

        async def ask() -> None:
            answers.append(await caller(fleet).call(call("pay_slowly", seconds=60)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: effects.done == ["begun a"], "the effect is begun")
            await first.kill()
            await fleet.tools(*effects.tools())
        (outcome,) = answers
        assert isinstance(outcome, ToolRefused)
        assert outcome.code == "in_doubt"
        assert effects.done == ["begun a"]


async def test_a_worker_killed_in_a_pure_call_is_replaced(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        first = await fleet.tools(*effects.tools())
        answers: list[ToolOutcome | NeedsApproval] = []

        async def ask() -> None:
            answers.append(await caller(fleet).call(call("look_slowly")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: effects.done == ["slow a"], "it is begun")
            await first.kill()
            effects.gate.set()
            await fleet.tools(*effects.tools())
        assert answers == [result("a")]
        assert effects.done == ["slow a", "slow a"]


async def test_a_lost_claim_acknowledgement_is_no_doubt(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        host = await fleet.tools(*effects.tools())
        publish, lost = host.bus.publish, 0

        async def lossy(subject: str, data: bytes, **options: Any) -> int:
            nonlocal lost
            sequence = await publish(subject, data, **options)
            if subject.endswith(".claim") and lost < 1:
                lost += 1
                raise TransientError("the acknowledgement was lost")
            return sequence

        host.bus.publish = lossy  # type: ignore[method-assign]
        assert await caller(fleet).call(call("pay")) == result("paid a")
        assert lost == 1
        assert effects.done == ["pay a"]


# long calls and busy workers


async def test_heartbeats_keep_a_long_call_alive(settings: Settings) -> None:
    async with serving(settings, hosts=2) as (fleet, effects):
        answers: list[ToolOutcome | NeedsApproval] = []
        heard: list[Message] = []

        async def hear(message: Message) -> None:
            heard.append(message)

        await fleet.bus.subscribe(fleet.bus.subjects.tool("*"), hear)

        async def ask() -> None:
            answers.append(await caller(fleet).call(call("pay_slowly")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: bool(effects.done), "it is begun")
            await anyio.sleep(settings.worker.lease + 0.5)  # longer than silence and lease
            effects.gate.set()
        assert answers == [result("paid a")]
        assert effects.done == ["begun a"]
        assert len(heard) == 1


async def test_a_full_worker_says_busy_and_the_call_goes_elsewhere(settings: Settings) -> None:
    narrow: Settings = msgspec.structs.replace(
        settings, tools=ToolSettings(concurrency=1, heartbeat=0.1)
    )
    async with serving(narrow) as (fleet, effects):
        one = call("look_slowly", key="job.1.1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller(fleet).call, one)
            await eventually(lambda: bool(effects.done), "the only place is taken")
            subject = fleet.bus.subjects.tool("look")
            answer = await fleet.bus.request(subject, encode(call("look", key="job.1.2")))
            assert isinstance(decode_tool_reply(answer.data), Busy)
            free = Effects()
            await fleet.tools(*free.tools())
            assert await caller(fleet).call(call("look", key="job.1.2")) == result("A")
            assert free.done == ["look a"]
            effects.gate.set()


async def test_a_tool_with_places_of_its_own_says_busy_and_others_go_on(settings: Settings) -> None:
    effects = Effects()
    made = {one.spec.name: one for one in effects.tools()}
    narrow = tool(concurrency=1)(made["look_slowly"].function)
    async with fleet_on(settings) as fleet:
        await fleet.tools(made["look"], narrow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller(fleet).call, call("look_slowly", key="job.1.1"))
            await eventually(lambda: bool(effects.done), "its only place is taken")
            subject = fleet.bus.subjects.tool("look_slowly")
            again = encode(call("look_slowly", key="job.1.2"))
            answer = await fleet.bus.request(subject, again)
            assert isinstance(decode_tool_reply(answer.data), Busy)
            assert await caller(fleet).call(call("look", key="job.1.3")) == result("A")
            effects.gate.set()
        assert await caller(fleet).call(call("look_slowly", key="job.1.2")) == result("a")


async def test_a_stopped_worker_finishes_and_is_gone_for_newcomers(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        host = await fleet.tools(*effects.tools())
        answers: list[ToolOutcome | NeedsApproval] = []

        async def ask() -> None:
            answers.append(await caller(fleet).call(call("look_slowly")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: bool(effects.done), "it is begun")
            watching = ToolDirectory(fleet.bus)
            await watching.start()
            await until(watching.settled, "it is announced")
            host.stop.set()
            await eventually(lambda: not watching.specs(), "it has said that it leaves")
            newcomer = ToolDirectory(fleet.bus)
            await newcomer.start()
            await fleet.bus.flush()
            assert await newcomer.find("look", patience=0.3) is None
            effects.gate.set()
        assert answers == [result("a")]
        await host.ended.wait()


async def test_a_call_in_flight_survives_the_server(server: NatsServer, settings: Settings) -> None:
    async with serving(settings) as (fleet, effects):
        answers: list[ToolOutcome | NeedsApproval] = []

        async def ask() -> None:
            answers.append(await caller(fleet).call(call("pay_slowly", seconds=60)))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await eventually(lambda: bool(effects.done), "it is begun")
                await server.kill()
                await server.start()
                effects.gate.set()
        assert answers == [result("paid a")]
        assert effects.done == ["begun a"]


# nobody, or garbage


async def test_nobody_serves_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_caller, "UNSERVED", 0.2)
    async with fleet_on(settings) as fleet:
        with pytest.raises(UnavailableError, match="galerne worker tools"):
            await caller(fleet).call(call("look"))


async def test_a_worker_that_comes_late_is_found(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                assert await caller(fleet).call(call("look")) == result("A")

            tasks.start_soon(ask)
            await anyio.sleep(0.3)
            await fleet.tools(*effects.tools())


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"type":"call"}', b'{"type":"result"}'])
async def test_garbage_replies_end_with_the_deadline(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(tool_caller, "GRACE", 0.1)
    async with fleet_on(settings) as fleet:
        asked: list[bytes] = []

        async def babble(message: Message) -> None:
            asked.append(message.data)
            for _ in range(200):
                await fleet.bus.send(message.reply, data)

        await fleet.bus.subscribe(fleet.bus.subjects.tool("look"), babble)
        with anyio.fail_after(15), pytest.raises(DeadlineError):
            await caller(fleet).call(call("look", seconds=0.5))
        assert asked


async def test_an_endless_heartbeat_ends_with_the_deadline(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_caller, "GRACE", 0.1)
    async with fleet_on(settings) as fleet:

        async def drone(message: Message) -> None:
            with anyio.move_on_after(5):
                while True:
                    await fleet.bus.send(message.reply, encode(Working(by="drone")))
                    await anyio.sleep(0.05)

        await fleet.bus.subscribe(fleet.bus.subjects.tool("look"), drone)
        with anyio.fail_after(15), pytest.raises(DeadlineError):
            await caller(fleet).call(call("look", seconds=0.3))


async def test_a_tool_whose_name_is_no_token_is_refused(settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        for name in ("a b", "", "a\r\nPUB b 0\r\n\r\n", "*", ">"):
            with pytest.raises(InvalidInputError):
                await caller(fleet).call(call(name))
        await fleet.bus.flush()
        assert not fleet.bus.closed.is_set()


HOSTILE_CALLS: list[bytes] = [
    b"",
    b"\xff\xfe\x00",
    b"[]",
    b"null",
    b'{"type":"call"}',
    b'{"type":"result","value":1,"content":""}',
    b"[" * 100_000,
    encode(call("pay", key="a b.1.1")),
    encode(call("pay", key="job..1")),
    encode(call("pay", key="job.*.1")),
    encode(call("pay", key="job.>")),
    encode(call("pay", key="")),
    encode(call("pay", key="\u00e9.1.1")),
    encode(call("pay", key=".".join("a" * 3000))),
    encode(call("pay", key="a" * 5000)),
    encode(call("look")),
    encode(msgspec.structs.replace(call("pay"), tenant="a.b")),
    encode(msgspec.structs.replace(call("pay"), tenant="*")),
    encode(msgspec.structs.replace(call("pay"), round=-1)),
    encode(msgspec.structs.replace(call("pay"), round=1_000_000)),
    b"x" * 900_000,
]


async def test_hostile_calls_are_answered_and_kept(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        host = await fleet.tools(*effects.tools())
        subject = fleet.bus.subjects.tool("pay")
        answers: list[Message] = []

        async def hear(message: Message) -> None:
            answers.append(message)

        await fleet.bus.subscribe("answers", hear)
        await fleet.bus.flush()
        commands = [
            b"PUB %s answers %d\r\n%s\r\n" % (subject.encode(), len(data), data)
            for data in HOSTILE_CALLS
        ]
        await raw(server.port, *commands)
        await eventually(lambda: len(answers) >= len(HOSTILE_CALLS), "each is answered")
        for answer in answers:
            reply = decode_tool_reply(answer.data)
            assert isinstance(reply, ToolRefused)
            assert reply.code == "invalid_message"

        async def kept() -> bool:
            return len(await fleet.quarantined()) == len(HOSTILE_CALLS)

        await until(kept, "each is kept")
        for record in await fleet.quarantined():
            assert record.subject == subject
            assert any(data.startswith(record.data) for data in HOSTILE_CALLS)
        assert await caller(fleet).call(call("pay")) == result("paid a")
        assert not host.ended.is_set()
        assert not host.bus.closed.is_set()
        assert effects.done == ["pay a"]


async def test_a_hostile_reply_subject_hurts_nobody(server: NatsServer, settings: Settings) -> None:
    async with fleet_on(settings) as fleet:
        effects = Effects()
        host = await fleet.tools(*effects.tools())
        subject = fleet.bus.subjects.tool("look").encode()
        data = encode(call("look"))
        for reply in (b"a.*", b">", b"a..b", b"\xff\xfe", b"x" * 2000):
            await raw(server.port, b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(data), data))
        await raw(server.port, pub(subject, data))
        assert await caller(fleet).call(call("look")) == result("A")
        assert not host.bus.closed.is_set()


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"{}", encode(Busy()), encode(Working(by="x"))])
async def test_an_unreadable_result_in_the_journal_is_in_doubt(
    server: NatsServer, settings: Settings, data: bytes
) -> None:
    async with serving(settings) as (fleet, effects):
        subject = fleet.bus.subjects.tool_journal("default", "job.1.1", "result")
        await raw(server.port, pub(subject.encode(), data))
        outcome = await caller(fleet).call(call("pay"))
        assert isinstance(outcome, ToolRefused)
        assert outcome.code == "in_doubt"
        assert not effects.done


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"{}"])
async def test_an_unreadable_claim_in_the_journal_is_a_dead_one(
    server: NatsServer, settings: Settings, data: bytes
) -> None:
    async with serving(settings) as (fleet, _effects):
        subject = fleet.bus.subjects.tool_journal("default", "job.1.1", "claim")
        await raw(server.port, pub(subject.encode(), data))
        outcome = await caller(fleet).call(call("pay"))
        assert isinstance(outcome, ToolRefused)
        assert outcome.code == "in_doubt"
        assert await caller(fleet).call(call("set_value")) == result("a")


async def test_hostile_presence_hurts_nobody(server: NatsServer, settings: Settings) -> None:
    async with serving(settings) as (fleet, _):
        directory = ToolDirectory(fleet.bus)
        await directory.start()
        subject = fleet.bus.subjects.presence("tools").encode()
        for data in (b"", b"\xff", b"[]", b'{"type":"tools_present"}', b"[" * 100_000):
            await raw(server.port, pub(subject, data))
        specs = await until(directory.settled, "the real ones are there")
        assert {"look", "pay"} <= specs.keys()
