"""What each recording in `recorded/v1` means: who decodes it, to what, and on which subject."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from galerne.messages import (
    blobs,
    codec,
    facts,
    live,
    pacing,
    plan,
    planning,
    requests,
    sessions,
    tools,
)
from galerne.messages.chat import ChatMessage, TokenUsage, ToolCall
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.subjects import Subjects

RECORDED = Path(__file__).parent / "recorded" / "v1"

ACME = TenantId("acme")
JOB = JobId("job-1")
GOAL = "Count the words in README.md, then say whether they are many"
EXECUTOR = "executor-host1-4711"
TOOLS = "tools-host1-4712"
COORDINATOR = "coordinator-host1-4713"
ENDPOINT = "0123456789abcdef01234567"
POOL = "executor-host1-4711-a1b2c3-1"


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: the message as JSON, and the subject it was seen on if it has a fixed one."""

    message: dict[str, Any]
    subject: str | None = None


class Expected(msgspec.Struct, frozen=True):
    """What a recording must decode to, and how a sender makes its subject."""

    meaning: msgspec.Struct
    decode: Callable[[bytes], object]
    subject: Callable[[Subjects], str | None]


def recorded_names() -> list[str]:
    return sorted(path.stem for path in RECORDED.glob("*.json"))


def load(name: str) -> Recording:
    return msgspec.json.decode((RECORDED / f"{name}.json").read_bytes(), type=Recording)


def _fact(meaning: facts.AnyFact, name: str) -> Expected:
    return Expected(
        meaning,
        lambda data: codec.decode_fact(name, data),
        lambda subjects: subjects.job(subjects.address(ACME, JOB), name),
    )


def _reply(meaning: tools.ToolReply) -> Expected:
    return Expected(meaning, codec.decode_tool_reply, lambda _: None)


def _task(number: str, **fields: Any) -> plan.TaskSpec:
    return plan.TaskSpec(id=TaskId(number), **fields)


FACTS: dict[str, Expected] = {
    "submitted": _fact(
        facts.Submitted(
            job=facts.JobSpec(
                id=JOB,
                tenant=ACME,
                goal=GOAL,
                key="nightly-2026-11-22",
                inputs={"limit": 1000, "nested": {"type": "free", "list": [{"a": 1}, None]}},
                tools=("text_stats", "read_file"),
                priority="high",
            ),
            at=1795374000.25,
        ),
        "submitted",
    ),
    "submitted-minimal": _fact(
        facts.Submitted(
            job=facts.JobSpec(id=JOB, tenant=ACME, goal="Say hello"),
            at=1795374000.0,
        ),
        "submitted",
    ),
    "planned-agent": _fact(
        facts.Planned(
            revision=1,
            n=2,
            task=_task(
                "2",
                instruction="Say whether the words counted are many",
                needs=("1",),
                tools=("calculate",),
            ),
        ),
        "plan.1.2",
    ),
    "planned-tool": _fact(
        facts.Planned(
            revision=1,
            n=1,
            task=_task(
                "1",
                kind="tool",
                needs=("0",),
                tool="text_stats",
                args={"path": {"$ref": "0.path"}, "note": "of {{0}}"},
            ),
        ),
        "plan.1.1",
    ),
    "planned-foreach": _fact(
        facts.Planned(
            revision=1,
            n=3,
            task=_task(
                "3",
                kind="agent",
                instruction="Summarise {{item}} in a sentence",
                needs=("1",),
                foreach={"$ref": "1.files"},
                model="medium",
                effort="low",
            ),
        ),
        "plan.1.3",
    ),
    "planned-replaces": _fact(
        facts.Planned(
            revision=2,
            n=1,
            task=_task("2--r2", kind="agent", instruction="Ask the mirror", replaces=TaskId("2")),
        ),
        "plan.2.1",
    ),
    "planned-nested": _fact(
        facts.Planned(
            revision=1,
            n=2,
            task=_task("4--2", kind="agent", instruction="Compare both", needs=("4--1",)),
            parent=TaskId("4"),
        ),
        "nested.4.2",
    ),
    "plan_ended-nested": _fact(
        facts.PlanEnded(revision=1, count=2, parent=TaskId("4")), "nested.4.end"
    ),
    "plan_ended-revised": _fact(
        facts.PlanEnded(revision=2, count=1, dropped=(TaskId("3"), TaskId("5--0"))), "plan.2.end"
    ),
    "plan_ended-gave_up": _fact(
        facts.PlanEnded(revision=3, count=0, gave_up="the file is not there"), "plan.3.end"
    ),
    "ready-revising": _fact(
        facts.Ready(
            lane="planner",
            priority="normal",
            task=_task("plan-2", kind="plan"),
            goal="Tidy the folder",
            inputs={"plan": [{"id": "2", "state": "failed", "error": "no route to the host"}]},
            failed=(TaskId("2"),),
            history=(facts.Turn("List the folder", "a.txt and b.txt", "job-0"),),
            more=True,
            missing="nobody counted b.txt",
        ),
        "ready.planner.normal.plan-2",
    ),
    "ready-review": _fact(
        facts.Ready(
            lane="planner",
            priority="normal",
            task=_task("plan-1", kind="plan"),
            goal="Tidy the folder",
            review=True,
        ),
        "ready.planner.normal.plan-1",
    ),
    "asked-review": _fact(
        facts.Asked(
            task=TaskId("plan-1"),
            n=0,
            what="review",
            question="Is this the plan?",
            arguments={"tasks": [{"id": "1", "instruction": "List the folder"}]},
            at=1795374000.0,
        ),
        "ask.plan-1.0.1",
    ),
    "submitted-planned": _fact(
        facts.Submitted(
            job=facts.JobSpec(
                id=JOB,
                tenant=ACME,
                goal="Tidy the folder",
                plan=(_task("1", instruction="List the folder"),),
                review=True,
                output={"type": "object"},
                session="anna",
                history=(facts.Turn("List the folder", "a.txt and b.txt"),),
                revisions=0,
            ),
            at=1795374000.0,
        ),
        "submitted",
    ),
    "planned-minimal": _fact(
        facts.Planned(revision=2, n=1, task=_task("only", kind="agent")), "plan.2.1"
    ),
    "plan_ended": _fact(
        facts.PlanEnded(
            revision=1,
            count=2,
            rejected=(
                plan.Rejected(
                    reason="there is no tool 'guess'", text='{"id": "3", "tool": "guess"}', id="3"
                ),
                plan.Rejected(reason="this is not a JSON object", text="[1, 2"),
            ),
        ),
        "plan.1.end",
    ),
    "plan_ended-minimal": _fact(facts.PlanEnded(revision=2, count=1), "plan.2.end"),
    "ready": _fact(
        facts.Ready(
            lane="executor",
            priority="high",
            task=_task("2", instruction="Say whether the words counted are many", needs=("1",)),
            goal=GOAL,
            job_tools=("text_stats", "read_file"),
            inputs={"1": {"path": "README.md", "words": 612, "lines": 80}},
            max_attempts=2,
        ),
        "ready.executor.high.2",
    ),
    "ready-minimal": _fact(
        facts.Ready(
            lane="planner",
            priority="normal",
            task=_task("plan-1", kind="plan"),
            goal="Say hello",
            max_attempts=4,
        ),
        "ready.planner.normal.plan-1",
    ),
    "claimed": _fact(
        facts.Claimed(task=TaskId("2"), by=EXECUTOR, until=1795374015.5, attempt=1), "run.2"
    ),
    "claimed-given_back": _fact(
        facts.Claimed(
            task=TaskId("2"),
            by=EXECUTOR,
            until=0.0,
            attempt=3,
            note="its worker is shutting down",
            excused=1,
            away_since=1795374000.25,
        ),
        "run.2",
    ),
    "model_step-calls": _fact(
        facts.ModelStep(
            task=TaskId("2"),
            n=1,
            message=ChatMessage(
                "assistant",
                tool_calls=(ToolCall("a1B2c3D4e", "calculate", '{"expression": "612 > 500"}'),),
            ),
            model="mistral-7b",
            finish="tool_calls",
            usage=TokenUsage(prompt_tokens=311, completion_tokens=24),
            response_id="cmpl-9f3c",
            latency_s=0.75,
        ),
        "step.2.1",
    ),
    "model_step-text": _fact(
        facts.ModelStep(
            task=TaskId("2"),
            n=3,
            message=ChatMessage("assistant", "612 words are many: énormément."),
            model="mistral-7b",
            finish="stop",
            usage=TokenUsage(),
        ),
        "step.2.3",
    ),
    "model_step-notices": _fact(
        facts.ModelStep(
            task=TaskId("2"),
            n=5,
            message=ChatMessage("assistant", "The file has no summary."),
            model="mistral-7b",
            finish="stop",
            usage=TokenUsage(prompt_tokens=4096, completion_tokens=7),
            notices=("the server read only 4,096 of at least 18,300 tokens",),
        ),
        "step.2.5",
    ),
    "model_step-tool_turn": _fact(
        facts.ModelStep(
            task=TaskId("2"),
            n=4,
            message=ChatMessage("tool", "true", tool_call_id="a1B2c3D4e", name="calculate"),
            model="mistral-7b",
            finish="stop",
            usage=TokenUsage(prompt_tokens=340),
        ),
        "step.2.4",
    ),
    "tool_step": _fact(
        facts.ToolStep(
            task=TaskId("2"),
            n=2,
            call_id="a1B2c3D4e",
            tool="calculate",
            content="cannot compare numbers",
            value={"expression": "612 > 500"},
            is_error=True,
            latency_s=0.002,
        ),
        "step.2.2",
    ),
    "tool_step-minimal": _fact(
        facts.ToolStep(
            task=TaskId("2"), n=2, call_id="a1B2c3D4e", tool="calculate", content="", value=None
        ),
        "step.2.2",
    ),
    "done-succeeded": _fact(
        facts.Done(
            task=TaskId("2"),
            outcome=plan.Succeeded({"answer": "many", "words": 612, "of": ["README.md"]}),
            usage=plan.Usage(
                models={
                    "mistral-7b": plan.ModelUsage(2, 622, 48),
                    "mixtral-8x22b": plan.ModelUsage(1),
                },
                tool_calls=1,
            ),
            by=EXECUTOR,
            attempt=1,
            at=1795374003.5,
        ),
        "done.2",
    ),
    "done-unsupported": _fact(
        facts.Done(
            task=TaskId("3"),
            outcome=plan.Succeeded("302", ("302",)),
            usage=plan.Usage(models={"mistral-7b": plan.ModelUsage(2)}),
            by=EXECUTOR,
            attempt=1,
            at=1795374004.5,
        ),
        "done.3",
    ),
    "done-failed": _fact(
        facts.Done(
            task=TaskId("2"),
            outcome=plan.Failed(code="tool", message="README.md is not a file"),
            usage=plan.Usage(),
            by=EXECUTOR,
            attempt=4,
            at=1795374003.5,
        ),
        "done.2",
    ),
    "cancelled": _fact(facts.Cancelled(why="no longer needed", at=1795374004.0), "cancel"),
    "ended-succeeded": _fact(
        facts.Ended(
            status="succeeded",
            usage=plan.Usage(models={"mistral-7b": plan.ModelUsage(calls=3)}),
            at=1795374005.0,
            result="README.md has 612 words; they are many.",
        ),
        "end",
    ),
    "ended-failed": _fact(
        facts.Ended(
            status="failed",
            usage=plan.Usage(),
            at=1795374005.0,
            error="task 2 failed: README.md is not a file",
        ),
        "end",
    ),
    "submitted-controls": _fact(
        facts.Submitted(
            job=facts.JobSpec(
                id=JOB,
                tenant=ACME,
                goal="Tidy the folder",
                budget=plan.Budget(usd=0.05, tokens=20_000, calls=40, tasks=12, seconds=900.0),
                deadline=1795377600.0,
                approve=("send_mail", "*"),
            ),
            at=1795374000.0,
            ticket="$JS.ACK.GALERNE_SUBMIT.admit-acme.1.7.3.1795374000000000000.0",
        ),
        "submitted",
    ),
    "planned-ask": _fact(
        facts.Planned(
            revision=1,
            n=3,
            task=_task(
                "3",
                kind="ask",
                instruction="Which folder may be tidied?",
                timeout=3600.0,
                output={"type": "string"},
            ),
        ),
        "plan.1.3",
    ),
    "planned-approve": _fact(
        facts.Planned(
            revision=1, n=4, task=_task("4", instruction="Tidy it", needs=("3",), approve=True)
        ),
        "plan.1.4",
    ),
    "ready-controls": _fact(
        facts.Ready(
            lane="executor",
            priority="normal",
            task=_task("4", instruction="Tidy it", timeout=60.0),
            goal="Tidy the folder",
            budget=plan.Budget(calls=7),
            deadline=1795374060.0,
            job_approve=("send_mail",),
        ),
        "ready.executor.normal.4",
    ),
    "ready-resumed": _fact(
        facts.Ready(
            lane="executor",
            priority="normal",
            task=_task("4", instruction="Tidy it"),
            goal="Tidy the folder",
            resume=2,
        ),
        "resume.executor.normal.4.2",
    ),
    "ready-requeued": _fact(
        facts.Ready(
            lane="executor",
            priority="normal",
            task=_task("4", instruction="Tidy it"),
            goal="Tidy the folder",
            resume=2,
            again=1,
        ),
        "resume.executor.normal.4.2-1",
    ),
    "model_step-priced": _fact(
        facts.ModelStep(
            task=TaskId("4"),
            n=1,
            message=ChatMessage("assistant", "Done."),
            model="mistral-7b",
            finish="stop",
            usage=TokenUsage(prompt_tokens=400, completion_tokens=100),
            usd=0.000075,
        ),
        "step.4.1",
    ),
    "done-priced": _fact(
        facts.Done(
            task=TaskId("4"),
            outcome=plan.Succeeded("Done."),
            usage=plan.Usage(models={"mistral-7b": plan.ModelUsage(1, 400, 100, 0.000075)}),
            by=EXECUTOR,
            attempt=1,
            at=1795374003.5,
        ),
        "done.4",
    ),
    "model_step-complaint": _fact(
        facts.ModelStep(
            task=TaskId("4"),
            n=2,
            message=ChatMessage("assistant", '[{"name": "calculate", "arg'),
            model="mistral-7b",
            finish="length",
            usage=TokenUsage(prompt_tokens=420, completion_tokens=60),
            usd=0.000072,
            input_price=0.15,
            output_price=0.15,
            complaint="The call of calculate broke off; make it again, whole.",
        ),
        "step.4.2",
    ),
    "moved": _fact(
        facts.Moved(
            task=TaskId("4"),
            n=1,
            from_model="mistral-7b",
            to_model="mistral-nemo",
            reason="the answer is not JSON",
            at=1795374003.0,
        ),
        "moved.4.1",
    ),
    "moved-refused": _fact(
        facts.Moved(
            task=TaskId("4"),
            n=2,
            from_model="mistral-nemo",
            to_model="mixtral-8x22b",
            reason="the conversation is too long for its context",
            at=1795374009.0,
            refused=6,
        ),
        "moved.4.2",
    ),
    "planned-checked": _fact(
        facts.Planned(
            revision=1,
            n=4,
            task=_task(
                "4",
                instruction="Name the longest of them",
                output={"type": "string"},
                check="contains:.md",
            ),
        ),
        "plan.1.4",
    ),
    "ended-compared": _fact(
        facts.Ended(
            status="succeeded",
            usage=plan.Usage(
                models={
                    "mistral-7b": plan.ModelUsage(3, 1200, 90, 0.0001935, 0.15, 0.15),
                    "mixtral-8x22b": plan.ModelUsage(2, 900, 200, 0.00075, 0.5, 1.5),
                },
                tool_calls=1,
            ),
            at=1795374005.0,
            result="README.md is the longest.",
            would_have=plan.WouldHave("mixtral-8x22b", 0.001485),
        ),
        "end",
    ),
    "ended-unsupported": _fact(
        facts.Ended(
            status="succeeded",
            usage=plan.Usage(models={"mistral-7b": plan.ModelUsage(4)}),
            at=1795374005.0,
            result="Together they have 302 words.",
            unsupported=("302",),
        ),
        "end",
    ),
    "asked-approval": _fact(
        facts.Asked(
            task=TaskId("4"),
            n=2,
            round=2,
            what="approval",
            question="May send_mail be called with these arguments?",
            tool="send_mail",
            arguments={"to": "ann@example.org"},
            hash="9c1185a5c5e9fc54612808977ee8f548b2258d31e2b5b1e2a1e2c7f3d4b5a697",
            until=1795633200.0,
            at=1795374001.0,
        ),
        "ask.4.2.2",
    ),
    "asked-question": _fact(
        facts.Asked(
            task=TaskId("3"),
            n=0,
            what="question",
            question="Which folder may be tidied?",
            output={"type": "string"},
            at=1795374001.0,
        ),
        "ask.3.0.1",
    ),
    "decided-answered": _fact(
        facts.Decided(
            task=TaskId("3"),
            n=0,
            verdict="answered",
            value="drafts",
            by="ann",
            at=1795374002.0,
        ),
        "decided.3.0.1",
    ),
    "decided-denied": _fact(
        facts.Decided(
            task=TaskId("4"),
            n=2,
            round=2,
            verdict="denied",
            why="not to her",
            by="ann",
            at=1795374002.0,
        ),
        "decided.4.2.2",
    ),
    "accounted": _fact(
        facts.Accounted(
            n=3,
            calls=2,
            tokens=5_048,
            usd=0.0031,
            held={"4.1.2": facts.Hold(tokens=2_400, usd=0.0012, until=1795374601.0)},
        ),
        "account",
    ),
    "ended-budget": _fact(
        facts.Ended(
            status="budget_exhausted",
            usage=plan.Usage(),
            at=1795374005.0,
            result={"results": {"3": "drafts"}},
            error="the budget of 7 model calls is used up",
        ),
        "end",
    ),
}

REQUESTS: dict[str, Expected] = {
    "submit": Expected(
        requests.Submit(
            goal=GOAL,
            job="job-1",
            key="nightly-2026-11-22",
            inputs={"limit": 1000},
            tools=(),
            priority="low",
        ),
        codec.decode_submit,
        lambda subjects: subjects.submit("acme"),
    ),
    "submit-minimal": Expected(
        requests.Submit(goal="Say hello", priority="normal"),
        codec.decode_submit,
        lambda subjects: subjects.submit("acme"),
    ),
    "submit-controls": Expected(
        requests.Submit(
            goal="Tidy the folder",
            job="job-1",
            budget=plan.Budget(usd=0.05, calls=40),
            deadline=1795377600.0,
            approve=("send_mail",),
        ),
        codec.decode_submit,
        lambda subjects: subjects.submit("acme"),
    ),
    "submit-planned": Expected(
        requests.Submit(
            goal="Tidy the folder",
            plan=(_task("1", instruction="List the folder"),),
            review=True,
            output={"type": "object"},
            session="anna",
            revisions=0,
        ),
        codec.decode_submit,
        lambda subjects: subjects.submit("acme"),
    ),
    "decide-approved": Expected(
        requests.Decide(
            job="job-1",
            task="4",
            n=2,
            round=2,
            verdict="approved",
            hash="9c1185a5c5e9fc54612808977ee8f548b2258d31e2b5b1e2a1e2c7f3d4b5a697",
            by="ann",
        ),
        codec.decode_command,
        lambda subjects: subjects.command("acme"),
    ),
    "decide-happened": Expected(
        requests.Decide(
            job="job-1",
            task="4",
            n=2,
            verdict="happened",
            value={"sent": True},
            why="I saw it in the outbox",
        ),
        codec.decode_command,
        lambda subjects: subjects.command("acme"),
    ),
    "cancel": Expected(
        requests.Cancel(job="job-1", why="no longer needed"),
        codec.decode_command,
        lambda subjects: subjects.command("acme"),
    ),
    "cancel-minimal": Expected(
        requests.Cancel(job="job-1", why="cancelled by its user"),
        codec.decode_command,
        lambda subjects: subjects.command("acme"),
    ),
}

TOOL_CALLS: dict[str, Expected] = {
    "call": Expected(
        tools.CallTool(
            tool="text_stats",
            key="job-1.1.1",
            tenant="acme",
            arguments={"path": "README.md", "type": "busy"},
            deadline=1795374030.0,
        ),
        codec.decode_call_tool,
        lambda subjects: subjects.tool("text_stats"),
    ),
    "call-approved": Expected(
        tools.CallTool(
            tool="send_mail",
            key="job-1.4.2",
            tenant="acme",
            arguments={"to": "ann@example.org"},
            deadline=1795374030.0,
            approved="9c1185a5c5e9fc54612808977ee8f548b2258d31e2b5b1e2a1e2c7f3d4b5a697",
            round=1,
        ),
        codec.decode_call_tool,
        lambda subjects: subjects.tool("send_mail"),
    ),
    "needs_approval": _reply(tools.NeedsApproval(why="it leaves the house")),
    "busy": _reply(tools.Busy()),
    "working": _reply(tools.Working(by=TOOLS)),
    "working-progress": _reply(tools.Working(by=TOOLS, note="page 9 of 14", fraction=0.64)),
    "pending": _reply(tools.Pending(until=1795374012.5)),
    "result": _reply(
        tools.ToolResult(
            value={"path": "README.md", "words": 612, "lines": 80, "bytes": 4104},
            content="612 words in 80 lines",
        )
    ),
    "error": _reply(tools.ToolRefused(code="tool", message="README.md is not a file")),
}

SEEN_LIVE: dict[str, Expected] = {
    "tools_present": Expected(
        tools.ToolsPresent(
            worker=TOOLS,
            tools=(
                tools.ToolSpec(
                    name="send_mail",
                    description="Send one message",
                    parameters={"type": "object", "properties": {"to": {"type": "string"}}},
                    effect="once",
                    timeout=5.0,
                    version="2",
                ),
                tools.ToolSpec(
                    name="now",
                    description="The time",
                    parameters={},
                    effect="pure",
                    timeout=30.0,
                    version="1",
                ),
            ),
            capacity=16,
            active=3,
            leaving=True,
        ),
        codec.decode_tools_heard,
        lambda subjects: subjects.presence("tools"),
    ),
    "tools_present-approve": Expected(
        tools.ToolsPresent(
            worker=TOOLS,
            tools=(
                tools.ToolSpec(
                    name="send_mail",
                    description="Send one message",
                    parameters={},
                    effect="once",
                    approve="sometimes",
                ),
            ),
            capacity=16,
            active=0,
        ),
        codec.decode_tools_heard,
        lambda subjects: subjects.presence("tools"),
    ),
    "tools_present-routed": Expected(
        tools.ToolsPresent(
            worker=TOOLS,
            tools=(
                tools.ToolSpec(
                    name="text_stats",
                    description="Count words",
                    parameters={"type": "object", "properties": {"path": {"type": "string"}}},
                    version="1.2",
                    route="1-2-5d0c23b4",
                ),
            ),
            capacity=16,
            active=0,
            started=1795374000.0,
        ),
        codec.decode_tools_heard,
        lambda subjects: subjects.presence("tools"),
    ),
    "tools_alive": Expected(
        tools.ToolsAlive(worker=TOOLS, capacity=16, active=3),
        codec.decode_tools_heard,
        lambda subjects: subjects.presence("tools"),
    ),
    "tools_present-returns": Expected(
        tools.ToolsPresent(
            worker=TOOLS,
            tools=(
                tools.ToolSpec(
                    name="count",
                    description="Count words",
                    parameters={"type": "object", "properties": {"path": {"type": "string"}}},
                    returns={"type": "object", "properties": {"words": {"type": "integer"}}},
                ),
            ),
            capacity=16,
            active=0,
        ),
        codec.decode_tools_heard,
        lambda subjects: subjects.presence("tools"),
    ),
    "tools_present-minimal": Expected(
        tools.ToolsPresent(worker=TOOLS, tools=(), capacity=16, active=0, leaving=False),
        codec.decode_tools_heard,
        lambda subjects: subjects.presence("tools"),
    ),
    "pace": Expected(
        pacing.Pace(
            lease=3.5,
            hungry=True,
            begun=1.25,
            accepted=1.0,
            busy=3,
            cost=412.5,
            beat=1017.25,
            pause=0.75,
            learned=pacing.Learned(
                version=4, rate=9.7, ceiling=10.0, told=10.0, tokens=8333.5, limit=48
            ),
        ),
        codec.decode_pace,
        lambda subjects: subjects.pace(ENDPOINT, POOL),
    ),
    "pace-minimal": Expected(
        pacing.Pace(lease=7.0),
        codec.decode_pace,
        lambda subjects: subjects.pace(ENDPOINT, POOL),
    ),
    "coordinator_present": Expected(
        live.CoordinatorPresent(worker=COORDINATOR, leaving=True),
        codec.decode_coordinator_present,
        lambda subjects: subjects.presence("coordinator"),
    ),
    "coordinator_present-minimal": Expected(
        live.CoordinatorPresent(worker=COORDINATOR, leaving=False),
        codec.decode_coordinator_present,
        lambda subjects: subjects.presence("coordinator"),
    ),
    "delta": Expected(
        live.Delta(task=TaskId("2"), attempt=1, text="612 wo"),
        codec.decode_live,
        lambda subjects: subjects.delta("acme", "job-1", "2"),
    ),
    "progress": Expected(
        live.Progress(task=TaskId("2"), n=1, tool="fetch_all", note="page 9 of 14", fraction=0.64),
        codec.decode_live,
        lambda subjects: subjects.progress("acme", "job-1", "2"),
    ),
    "said": Expected(
        sessions.Said(
            job=JOB,
            goal="Count the words in README.md",
            answer="README.md has 312 words.",
            at=1795374010.5,
        ),
        codec.decode_said,
        lambda subjects: subjects.said(ACME, "readme", JOB),
    ),
    "said-summed": Expected(
        sessions.Said(
            job=JOB,
            goal="Count the words in README.md",
            answer="README.md has 312 words.",
            at=1795374010.5,
            summary="LICENSE was counted before: it has 1581 words.",
            until="job-0",
        ),
        codec.decode_said,
        lambda subjects: subjects.said(ACME, "readme", JOB),
    ),
    "quarantined": Expected(
        live.Quarantined(
            subject="galerne.ev.7.acme.job-1.submitted",
            error="this is not a fact: JSON is malformed",
            data=b"\x00\x01\x02{{{\xff",
            by=COORDINATOR,
            at=1795374006.0,
        ),
        codec.decode_quarantined,
        lambda subjects: subjects.quarantine("events"),
    ),
}

_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

BLOBS: dict[str, Expected] = {
    "blob": Expected(
        blobs.Blob(_ABC, 3, name="a b.csv", media="text/csv", preview="abc"),
        lambda data: blobs.to_blob(msgspec.json.decode(data)),
        lambda _: None,
    ),
    "blob-minimal": Expected(
        blobs.Blob(_ABC, 3), lambda data: blobs.to_blob(msgspec.json.decode(data)), lambda _: None
    ),
}

SO_FAR = {
    "task_so_far-failed": Expected(
        plan.TaskSoFar(task=_task("2", kind="ask"), standing="failed", error="nobody answered"),
        lambda data: msgspec.json.decode(data, type=plan.TaskSoFar),
        lambda _: None,
    ),
    "task_so_far-replaced": Expected(
        plan.TaskSoFar(
            task=_task("3--r2", replaces=TaskId("3")),
            standing="waiting",
            stands_for=(TaskId("3"),),
        ),
        lambda data: msgspec.json.decode(data, type=plan.TaskSoFar),
        lambda _: None,
    ),
    "task_so_far-succeeded": Expected(
        plan.TaskSoFar(task=_task("1", instruction="Count"), standing="succeeded", result=7),
        lambda data: msgspec.json.decode(data, type=plan.TaskSoFar),
        lambda _: None,
    ),
}


def _asked(meaning: planning.AskPlan) -> Expected:
    return Expected(meaning, codec.decode_ask_plan, lambda subjects: subjects.plan())


def _planning(meaning: planning.PlanReply) -> Expected:
    return Expected(meaning, codec.decode_plan_reply, lambda _: None)


WORD_COUNT: dict[str, Any] = {
    "name": "word.count",
    "description": "Count the words of a file.",
    "parameters": {
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
    },
}

PLANS: dict[str, Expected] = {
    "plan": _asked(
        planning.AskPlan(
            goal=GOAL,
            tools=({"type": "function", "function": WORD_COUNT},),
            inputs={"limit": 1000},
        )
    ),
    "plan-minimal": _asked(planning.AskPlan(goal="Count the words in README.md")),
    "plan-history": _asked(
        planning.AskPlan(
            goal="And in LICENSE?",
            history=(facts.Turn("Count the words in README.md", "README.md has 3148 words."),),
        )
    ),
    "plan_working": _planning(planning.PlanWorking(by="planner-host1-4714", heartbeat=2.0)),
    "plan_task": _planning(
        planning.PlanTask(
            n=1, task=_task("1", kind="tool", tool="word.count", args={"path": "README.md"})
        )
    ),
    "plan_end": _planning(
        planning.PlanEnd(
            count=2,
            rejected=(
                plan.Rejected(
                    "it needs task '9', which does not stand before it: write that one first",
                    '{"id": "3", "instruction": "Compare", "needs": ["9"]}',
                    "3",
                ),
            ),
            usage=plan.Usage({"mixtral-8x22b": plan.ModelUsage(2, 1520, 96, 0.000904, 0.5, 1.5)}),
        )
    ),
    "plan_end-failed": _planning(
        planning.PlanEnd(
            count=0,
            error=planning.PlanError(
                "busy", "this planner works on 4 plans already: ask again", 1.0
            ),
        )
    ),
}

EXPECTED = SO_FAR | FACTS | REQUESTS | PLANS | TOOL_CALLS | SEEN_LIVE | BLOBS
