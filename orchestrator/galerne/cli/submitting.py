"""Hand a job to a fleet and stay with it: what `run`, `submit --wait` and `watch` share."""

from collections.abc import Mapping
from typing import Any

import anyio
import msgspec

from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.following import follow
from galerne.cli.output import answer, document, note
from galerne.cli.prompting import Prompter, is_at_a_terminal
from galerne.cli.screen import screen
from galerne.cli.spending import models_text
from galerne.cli.text import how_text, one_line, partial_text, result_text
from galerne.client import Client, Job
from galerne.client.blobs import stand_ins
from galerne.core.asks import EVERY_EFFECT
from galerne.core.grounding import remark
from galerne.core.view import JobView, unmended
from galerne.messages.facts import Priority
from galerne.messages.plan import Budget, TaskSpec
from galerne.request import build, encoded, new_job_id
from galerne.settings import Settings


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the command line describes it."""

    goal: str
    tenant: str = "default"
    key: str | None = None
    inputs: Mapping[str, Any] = {}
    tools: tuple[str, ...] | None = None
    priority: Priority = "normal"
    budget: Budget | None = None
    deadline: float | None = None
    approve: tuple[str, ...] = ()
    plan: tuple[TaskSpec, ...] | None = None
    review: bool = False
    output: dict[str, Any] | None = None
    session: str | None = None
    revisions: int | None = None

    def options(self) -> dict[str, Any]:
        """All but whose it is and what it is about."""
        named = msgspec.structs.asdict(self)
        return {name: named[name] for name in named.keys() - {"goal", "tenant"}}


def check(order: Order, settings: Settings) -> None:
    """Refuse what the client would refuse, before anything is started for it.

    Raises InvalidInputError, TooLargeError.
    """
    inputs = stand_ins(order.inputs, settings.bus)
    sent = msgspec.structs.replace(order, inputs=inputs)
    request = build(new_job_id(), order.goal, **sent.options())
    encoded(request, 0, settings.bus.max_payload)


async def submit(client: Client, order: Order) -> Job:
    """Hand it in; tools that it names and nobody serves are told, as a slip of the pen would be."""
    job = await client.submit(order.goal, **order.options())
    named = {*(order.tools or ()), *order.approve, *_in_plan(order)} - {EVERY_EFFECT}
    served = await client.tools() if named else {}
    if missing := sorted(named - served.keys()):
        there = one_line(
            f"there are {', '.join(served)}" if served else "there is no tool worker", 300
        )
        note(f"no tool worker serves {', '.join(missing)} now; {there}")
    return job


def _in_plan(order: Order) -> set[str]:
    """The tools that a plan names which is handed in."""
    tasks = order.plan or ()
    return {name for task in tasks for name in (*(task.tools or ()), task.tool) if name}


async def submit_and_follow(
    order: Order,
    settings: Settings,
    *,
    as_json: bool,
    goes_on: bool = True,
    prompts: bool = False,
) -> int:
    """Submit, show, print the answer; gives the exit code.

    `goes_on` says that the fleet works on when this process is interrupted, `prompts` that
    whoever sits at the terminal is asked what the job asks.
    """
    async with Client.connect(settings=settings.bus, tenant=order.tenant) as client:
        job = await submit(client, order)
        where = None if goes_on else settings.bus.server
        return await follow_to_the_end(job, as_json=as_json, where=where, prompts=prompts)


async def follow_to_the_end(
    job: Job, *, as_json: bool, where: str | None = None, prompts: bool = False
) -> int:
    """Show a job until it has ended and print what came of it; gives the exit code.

    `where` is the server of a fleet that ends with this process.
    """
    try:
        with screen() as shown:
            asked = Prompter(job, shown) if prompts and is_at_a_terminal() else None
            view = await follow(job, shown, asked, where)
    except anyio.get_cancelled_exc_class():
        if where is None:
            note(f"job {job.id} goes on: `galerne watch {job.id}` or `galerne cancel {job.id}`")
        else:
            note(f"interrupted; job {job.id} ends unfinished, with its fleet")
        raise
    return conclude(view, as_json=as_json)


def conclude(view: JobView, *, as_json: bool) -> int:
    """Print the answer, or the whole view as JSON; a failure in one line on stderr."""
    if as_json:
        document(view)
    elif view.status == "succeeded":
        answer(result_text(view))
    elif found := partial_text(view):
        answer(found)
    if not as_json and view.status == "succeeded" and (failed := unmended(view.tasks)):
        names = one_line(", ".join(failed), 200)
        note(f"the answer does without what failed: {names} (`galerne show {view.id}` says why)")
    if not as_json and view.unsupported:
        note(f"{one_line(remark(view.unsupported), 300)}; check before you rely on it")
    if not as_json and (spent := models_text(view.usage, view.would_have)):
        note(spent)
    if view.status == "succeeded":
        return SUCCEEDED
    note(f"job {view.id} {how_text(view.status)}: {one_line(view.error or 'no reason given')}")
    return FAILED
