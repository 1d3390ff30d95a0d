"""A user's request, checked before it is sent: what a coordinator would refuse never leaves."""

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from galerne.core.asks import EVERY_EFFECT
from galerne.core.budget import check_budget
from galerne.core.written import check_planning, written_plan
from galerne.errors import InvalidInputError, TooLargeError
from galerne.messages.codec import encode
from galerne.messages.facts import PRIORITIES, Priority
from galerne.messages.ids import JobId, TenantId, check_id, job_id_of_key
from galerne.messages.plan import Budget
from galerne.messages.requests import Submit


def new_job_id() -> JobId:
    """`j-` and 16 hexadecimal digits."""
    return JobId(f"j-{secrets.token_hex(8)}")


def job_id(tenant: TenantId, job: str | None, key: str | None) -> JobId:
    """The id as given, else the key's, else a new one. Raises InvalidInputError."""
    if job is not None:
        return JobId(check_id(job, "the job id"))
    if key is None:
        return new_job_id()
    if not key:
        raise InvalidInputError("the idempotency key is empty: give some text, or no key at all")
    try:
        return job_id_of_key(tenant, key)
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"the idempotency key is not text: {error.reason}") from error


def build(
    job: JobId,
    goal: str,
    *,
    key: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    tools: Sequence[str] | None = None,
    priority: Priority = "normal",
    budget: Budget | None = None,
    deadline: float | None = None,
    approve: Sequence[str] = (),
    plan: object = None,
    review: bool = False,
    output: Mapping[str, Any] | None = None,
    session: str | None = None,
    revisions: int | None = None,
) -> Submit:
    """The message. Raises InvalidInputError."""
    if not goal.strip():
        raise InvalidInputError("the goal is empty: say what the job is to do")
    if priority not in PRIORITIES:
        raise InvalidInputError(
            f"there is no priority {priority!r}: it is one of {', '.join(PRIORITIES)}"
        )
    if isinstance(tools, str) or isinstance(approve, str):
        raise InvalidInputError("tools and approve are lists of names, not one text")
    check_budget(budget)
    if deadline is not None and not math.isfinite(deadline):
        raise InvalidInputError("the deadline is not a time: give Unix seconds")
    submit = Submit(
        goal=goal,
        job=job,
        key=key,
        inputs=dict(inputs or {}),
        tools=None if tools is None else tuple(map(_tool, tools)),
        priority=priority,
        budget=budget,
        deadline=deadline,
        approve=tuple(name if name == EVERY_EFFECT else _tool(name) for name in approve),
        plan=None if plan is None else written_plan(plan),
        review=review,
        output=None if output is None else dict(output),
        session=None if session is None else check_id(session, "the session"),
        revisions=revisions,
    )
    check_planning(submit)
    return submit


def deadline_of(deadline: float | None, timeout: float | None, now: float) -> float | None:
    """Unix seconds, from a time or from seconds beginning `now`. Raises InvalidInputError."""
    if timeout is None:
        return deadline
    if deadline is not None:
        raise InvalidInputError("deadline and timeout say the same in two ways: give one of them")
    if not (timeout > 0 and math.isfinite(timeout)):
        raise InvalidInputError(f"timeout is {timeout}: give seconds above 0, or none")
    return now + timeout


def _tool(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidInputError(f"the tool {name!r} is not a name: tools is a list of names")
    return check_id(name, "the tool")


def encoded(message: Submit, headers: int, limit: int) -> bytes:
    """The bytes to send, `headers` bytes of headers beside them.

    Raises InvalidInputError for what is not JSON, TooLargeError above `limit` bytes.
    """
    try:
        data = encode(message)
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"the job holds what is not text: {error.reason}") from error
    except (msgspec.MsgspecError, TypeError, OverflowError, RecursionError, ValueError) as error:
        raise InvalidInputError(f"the inputs cannot be sent as JSON: {error}") from error
    size = len(data) + headers
    if size > limit:
        raise TooLargeError(
            f"the job has {size} bytes and the limit is {limit}: put what is long into files"
            " that the tools can read"
        )
    return data
