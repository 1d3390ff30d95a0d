"""Hand a job to a fleet and stay with it: what `run`, `submit --wait` and `watch` share."""

from collections.abc import Mapping
from typing import Any

import anyio
import msgspec

from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.following import follow
from galerne.cli.output import answer, document, note
from galerne.cli.screen import screen
from galerne.cli.text import one_line, value_text
from galerne.client import Client, Job
from galerne.client.request import build, encoded, new_job_id
from galerne.core.view import JobView
from galerne.messages.facts import Priority
from galerne.settings import Settings


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the command line describes it."""

    goal: str
    tenant: str = "default"
    key: str | None = None
    inputs: Mapping[str, Any] = {}
    tools: tuple[str, ...] | None = None
    priority: Priority = "normal"


def check(order: Order, settings: Settings) -> None:
    """Refuse what the client would refuse, before anything is started for it.

    Raises InvalidInputError, TooLargeError.
    """
    request = build(
        new_job_id(),
        order.goal,
        key=order.key,
        inputs=order.inputs,
        tools=order.tools,
        priority=order.priority,
    )
    encoded(request, 0, settings.bus.max_payload)


async def submit(client: Client, order: Order) -> Job:
    return await client.submit(
        order.goal,
        key=order.key,
        inputs=order.inputs,
        tools=order.tools,
        priority=order.priority,
    )


async def submit_and_follow(
    order: Order, settings: Settings, *, as_json: bool, goes_on: bool = True
) -> int:
    """Submit, show, print the answer; gives the exit code.

    `goes_on` says that the fleet works on when this process is interrupted.
    """
    async with Client.connect(settings=settings.bus, tenant=order.tenant) as client:
        job = await submit(client, order)
        return await follow_to_the_end(job, as_json=as_json, goes_on=goes_on)


async def follow_to_the_end(job: Job, *, as_json: bool, goes_on: bool = True) -> int:
    """Show a job until it has ended and print what came of it; gives the exit code."""
    try:
        with screen() as shown:
            view = await follow(job, shown)
    except anyio.get_cancelled_exc_class():
        if goes_on:
            note(f"job {job.id} goes on: `galerne watch {job.id}` or `galerne cancel {job.id}`")
        raise
    return conclude(view, as_json=as_json)


def conclude(view: JobView, *, as_json: bool) -> int:
    """Print the answer, or the whole view as JSON; a failure in one line on stderr."""
    if as_json:
        document(view)
    elif view.status == "succeeded":
        answer(value_text(view.result))
    if view.status == "succeeded":
        return SUCCEEDED
    how = "was cancelled" if view.status == "cancelled" else view.status
    note(f"job {view.id} {how}: {one_line(view.error or 'no reason given')}")
    return FAILED
