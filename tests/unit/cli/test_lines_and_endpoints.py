"""Plain progress lines, and the choice of a model endpoint: both are functions."""

import pytest

from galerne.cli.endpoints import OLLAMA, at_endpoint, probe, serves, use_ollama
from galerne.cli.lines import Lines
from galerne.client.patience import shown
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.errors import UnavailableError
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    JobSpec,
    JobStatus,
    PlanEnded,
    Planned,
    Ready,
    Submitted,
)
from galerne.messages.ids import JobId, TaskId, TenantId
from galerne.messages.plan import Failed, Rejected, Succeeded, TaskSpec, Usage
from galerne.models.standin import StandIn
from galerne.settings import BusSettings, RoleSettings, Settings

ONE = TaskId("1")


def said(*facts: AnyFact) -> list[str]:
    state = JobState()
    lines: list[str] = []
    told = Lines()
    for at, fact in enumerate(facts):
        fold(state, fact, float(at))
        line = told.after(fact, state)
        if line is not None:
            lines.append(line)
    return lines


def test_a_jobs_story_is_a_line_for_each_change() -> None:
    spec = TaskSpec(id=ONE, instruction="Count\nwords", needs=(TaskId("0"),))
    ready = Ready(lane="executor", priority="normal", task=spec, goal="g")
    assert said(
        Submitted(job=JobSpec(id=JobId("j"), tenant=TenantId("t"), goal="Do \x1b[1mit"), at=0.0),
        Planned(revision=1, n=1, task=spec),
        PlanEnded(revision=1, count=1, rejected=(Rejected("unknown tool 'x'", "{}"),)),
        ready,
        Claimed(task=ONE, by="executor-1", until=9.0, attempt=2),
        Done(task=ONE, outcome=Succeeded(3), usage=Usage(), by="e", attempt=2, at=5.0),
        Cancelled(why="enough", at=6.0),
        Ended(status="cancelled", usage=Usage(), at=7.0, error="enough"),
    ) == [
        "j: Do it",
        "planned 1 (agent after 0): Count words",
        "the plan lacks 1 unusable tasks: unknown tool 'x'",
        "1 runs on executor-1, attempt 2",
        "1 succeeded in 1.0s",
        "to be cancelled: enough",
        "the job was cancelled after 7.0s",
    ]


def claim(by: str, attempt: int, until: float, note: str | None = None) -> Claimed:
    return Claimed(task=ONE, by=by, until=until, attempt=attempt, note=note)


def test_a_renewed_claim_says_nothing_and_one_given_back_says_why() -> None:
    assert said(
        claim("executor-1", 1, 9.0),
        claim("executor-1", 1, 19.0),
        claim("executor-1", 1, 0, "no tool\n'x' \x1b[1mthere"),
        claim("executor-1", 2, 39.0),
        claim("executor-1", 2, 49.0),
        claim("executor-2", 3, 59.0),
        claim("executor-2", 3, 0, "z" * 900),
        claim("executor-3", 4, 0),
    ) == [
        "1 runs on executor-1",
        "1 is tried again: no tool 'x' there",
        "1 runs on executor-1, attempt 2",
        "1 runs on executor-2, attempt 3",
        f"1 is tried again: {'z' * 199}…",
        "1 is tried again: it was given back",
    ]


def test_a_parked_task_is_not_told_as_tried_again() -> None:
    asked = Asked(
        task=ONE, n=2, what="approval", question="May it?", tool="pay", arguments={}, at=1.0
    )
    spec = TaskSpec(id=ONE, instruction="Pay")
    ready = Ready(lane="executor", priority="normal", task=spec, goal="g", resume=1)
    job = JobSpec(id=JobId("j"), tenant=TenantId("t"), goal="g")
    assert said(
        Submitted(job=job, at=0.0),
        claim("executor-1", 1, 9.0),
        asked,
        claim("executor-1", 1, 0, "waits for a person's leave (1.2)"),
        Decided(task=ONE, n=2, verdict="approved", by="anna", at=3.0),
        ready,
        claim("executor-2", 2, 19.0),
        claim("executor-2", 2, 0, "the model is away"),
        claim("executor-3", 3, 29.0),
    ) == [
        "j: g",
        "1 runs on executor-1",
        "1.2 asks for leave: pay({})\n  galerne approve j 1.2  (or: deny … --why TEXT)",
        "1.2 is approved by anna",
        "1 goes on, on executor-2",
        "1 is tried again: the model is away",
        "1 goes on, on executor-3, attempt 2",
    ]


@pytest.mark.parametrize(
    ("status", "how"),
    [("budget_exhausted", "ran out of its budget"), ("deadline_exceeded", "ran out of time")],
)
def test_a_job_that_ran_out_says_of_what(status: JobStatus, how: str) -> None:
    assert said(Ended(status=status, usage=Usage(), at=7.0)) == [f"the job {how} after "]


def test_a_failure_says_why() -> None:
    done = Done(
        task=ONE, outcome=Failed("tool", "no file\x07"), usage=Usage(), by="e", attempt=1, at=1.0
    )
    assert said(done) == ["1 failed: no file"]


@pytest.mark.parametrize(
    ("names", "model", "answer"),
    [
        ([], "mistral-7b", True),
        (["mistral-7b"], "mistral-7b", True),
        (["mistral:latest"], "mistral", True),
        (["llama3:8b"], "mistral", False),
        (["stand-in:mistral-7b"], "anything", True),
    ],
)
def test_whether_a_server_has_a_model(names: list[str], model: str, *, answer: bool) -> None:
    assert serves(names, model) is answer


def test_an_ollama_gives_the_planner_its_largest_mistral() -> None:
    found = use_ollama(
        Settings(), ("planner", "executor"), ["llama3:8b", "mistral:latest", "mixtral:8x22b"]
    )
    assert found is not None
    assert (found.planner.endpoint, found.planner.model) == (OLLAMA, "mixtral:8x22b")
    assert (found.executor.endpoint, found.executor.model) == (OLLAMA, "mistral:latest")


def test_an_ollama_keeps_the_model_that_was_asked_for() -> None:
    wanted = Settings(executor=RoleSettings(model="mistral-nemo"))
    found = use_ollama(wanted, ("executor",), ["mistral:latest", "mistral-nemo:latest"])
    assert found is not None
    assert found.executor.model == "mistral-nemo:latest"
    assert found.planner == wanted.planner


def test_an_ollama_without_mistral_is_of_no_use() -> None:
    assert use_ollama(Settings(), ("planner",), ["llama3:8b"]) is None


def test_an_endpoint_is_given_to_the_roles_that_lack_one() -> None:
    settings = at_endpoint(Settings(), ("planner",), "http://x")
    assert settings.planner.endpoint == "http://x"
    assert settings.executor.endpoint is None


def test_a_password_is_never_shown() -> None:
    assert shown("nats://u:p@a:1,nats://b:2") == "nats://a:1,nats://b:2"
    assert shown("nats://u:p/@,s@a:1, tls://t@b:2") == "nats://a:1,tls://b:2"
    assert shown("u:p@a:1") == "a:1"
    assert "secret" not in repr(BusSettings(server="nats://u:secret@a:1"))


@pytest.mark.anyio
async def test_a_probe_tells_a_live_endpoint_from_a_dead_one() -> None:
    async with StandIn() as stand_in:
        url = stand_in.url
        await probe("planner", RoleSettings(endpoint=url))
        await probe("planner", RoleSettings(endpoint=f"{url}/elsewhere"))  # 404 is accepted
    with pytest.raises(UnavailableError, match=r"planner.*nothing answers at"):
        await probe("planner", RoleSettings(endpoint=url))
