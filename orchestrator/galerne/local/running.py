"""`galerne.run`: a goal carried out in this process, from its plan to its answer.

    given and settings ─▶ models opened ─▶ scheduler ─▶ result
    left in any way (an error, a cancelled caller): every call is stopped, every connection closed

No bus, no server, no files, nothing stored, nothing global: two runs at a time know nothing of each
other.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import anyio

from galerne.agent import load_agents
from galerne.core.written import written_plan
from galerne.errors import InvalidInputError, PermanentError
from galerne.local.asking import OnAsk
from galerne.local.blobs import MemoryBlobs
from galerne.local.given_tools import GivenTool, given_tools
from galerne.local.log import LocalLog
from galerne.local.models import Given, choose, opened
from galerne.local.result import RunResult, result_of
from galerne.local.scheduler import Scheduler
from galerne.local.watching import OnEvent, OnProgress, OnText, Watching
from galerne.local.work import Work
from galerne.messages.facts import LANES, JobSpec
from galerne.messages.ids import DEFAULT_TENANT
from galerne.messages.plan import Budget, TaskSpec
from galerne.planner import Plan
from galerne.request import build, deadline_of, new_job_id
from galerne.settings import Settings, load_settings

P = ParamSpec("P")
R = TypeVar("R")


async def run(
    goal: str,
    *,
    tools: Iterable[GivenTool] | None = None,
    planner: Given | None = None,
    executor: Given | None = None,
    stand_in: bool = False,
    plan: Plan | Sequence[TaskSpec | Mapping[str, Any]] | None = None,
    inputs: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - of the job, which then ends with what it has
    approve: Sequence[str] = (),
    revisions: int | None = None,
    on_ask: OnAsk | None = None,
    on_event: OnEvent | None = None,
    on_text: OnText | None = None,
    on_progress: OnProgress | None = None,
    settings: Settings | None = None,
) -> RunResult:
    """Plan a goal, carry the tasks out, and give the answer.

    `tools`: functions, `@tool` functions, names of installed ones; None: those installed that only
    look, such as `read_file` in the current folder. `planner` and `executor` say which models are
    asked: `"MODEL@http://HOST:PORT/v1"`, an endpoint, RoleSettings, or a client with an `ask`; a
    role that is not given takes `settings` (None: variables and galerne.toml), else what the other
    role has. `stand_in`: where there is no model at all, a rule-based one without any LLM.

    `plan` is carried out as it stands, without a planner: what `Planner.plan` gave, or tasks as
    JSON has them. `timeout` is in seconds. `approve` names tools whose calls wait for a person's
    word (`*`: all that have an effect), which is asked of `on_ask`, as all questions are, one at a
    time. `revisions` is how often the plan may be revised after failures (None: as the settings
    say for a fleet, 0: never). `on_event` gets each fact, `on_text` what models say: the task's id
    and a piece of text, `on_progress` how far tools are, a `Progress`; what they raise ends the run
    and is raised here.

    Raises RunFailedError (a JobFailedError) where there is no answer: it failed, or ran out of its
    budget or its time; InvalidInputError, InvalidSettingsError before anything is asked, and
    UnavailableError where no model's server answers at the beginning: later on it is waited for.
    """
    _check("the goal", goal, str, "give a text")
    _check("the budget", budget, Budget | None, "give a galerne.Budget")
    _check("inputs", inputs, Mapping | None, "give a dict of names and values")
    settings = settings or load_settings()
    job = new_job_id()
    deadline = deadline_of(None, timeout, time.time())
    request = build(
        job, goal, budget=budget, deadline=deadline, approve=approve, revisions=revisions
    )
    if request.approve and on_ask is None:
        raise InvalidInputError("approve wants somebody to ask: give on_ask, too")
    found = given_tools(tools, settings.tools)
    chosen = choose(settings, planner, executor)
    blobs = MemoryBlobs(settings.bus.max_blob, settings.bus.inline)
    spec = JobSpec(
        id=job,
        tenant=DEFAULT_TENANT,
        goal=goal,
        inputs=await blobs.inputs(inputs or {}),
        budget=request.budget,
        deadline=request.deadline,
        approve=request.approve,
        plan=None if plan is None else _tasks(plan),
        revisions=settings.coordinator.revisions if revisions is None else request.revisions,
    )
    watching = Watching(on_event, on_text, on_progress)
    log = LocalLog(time.time, watching.fact)
    async with opened(chosen, stand_in=stand_in) as ladders:
        work = Work(
            spec,
            log,
            chosen.settings,
            ladders=ladders,
            agents={lane: load_agents(lane) for lane in LANES},
            tools=found,
            blobs=blobs,
            on_text=watching.text,
            on_progress=watching.progress,
            clock=time.time,
        )
        ended = await Scheduler(work, on_ask, lambda: watching.problem).run()
    return result_of(log.state, spec, ended, blobs, time.time())


def _check(name: str, given: object, kind: Any, advice: str) -> None:
    """Raises InvalidInputError for what a type checker would have refused."""
    if not isinstance(given, kind):
        raise InvalidInputError(f"{name} is {given!r:.60} ({type(given).__name__}): {advice}")


def _tasks(plan: Plan | Sequence[TaskSpec | Mapping[str, Any]]) -> tuple[TaskSpec, ...]:
    """Raises InvalidInputError that names the task and what is wrong."""
    return written_plan(plan.tasks if isinstance(plan, Plan) else list(plan))


def _without_loop(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    @wraps(function)
    def in_a_loop_of_its_own(*args: P.args, **options: P.kwargs) -> R:
        if _is_in_a_loop():
            raise PermanentError(
                "an event loop is running here, as in a notebook: write `await galerne.run(…)`"
            )
        return anyio.run(partial(function, *args, **options))

    return in_a_loop_of_its_own


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


run_sync = _without_loop(run)
"""`run` for a script that has no event loop, with the same options.

Raises PermanentError where a loop is running, as in a notebook: `await galerne.run(…)` there.
"""
