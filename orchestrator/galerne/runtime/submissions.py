"""What a submit message asks for: the job in it, whether it can be begun, and what to change.

Pure. Even of a message that is no use its id is read where it can be told, so that its sender finds
an end that says why.
"""

import math
import re
from itertools import islice

import msgspec

from galerne.core.asks import EVERY_EFFECT
from galerne.core.budget import check_budget
from galerne.core.written import check_planning
from galerne.errors import InvalidInputError
from galerne.messages.facts import PRIORITIES, JobSpec
from galerne.messages.ids import JobId, TenantId, check_id, job_id_of_key
from galerne.messages.requests import Submit

_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
"""Strings (the last may lack its closing quote), brackets, separators, other scalars."""
_LEGIBLE = 200_000
"""Tokens: a hostile message is not worth more time."""
_PROBLEM = re.compile(r"(?P<problem>.*) - at `\$\.(?P<field>\w+)")
_MUST_BE = {
    "goal": "text",
    "job": "text",
    "key": "text",
    "inputs": "an object",
    "tools": "a list of names",
    "priority": f"{', '.join(PRIORITIES[:-1])} or {PRIORITIES[-1]}",
    "budget": "an object of numbers: usd, tokens, calls, tasks, seconds",
    "deadline": "Unix seconds",
    "approve": "a list of names",
    "plan": "a list of tasks",
    "review": "true or false",
    "output": "a JSON Schema",
    "session": "a name",
    "revisions": "a number from 0",
}


def job_id(job: str | None, key: str | None, tenant: TenantId) -> JobId:
    """The id that a message gives its job. Raises InvalidInputError with what to change."""
    if job is not None:
        return JobId(check_id(job, "the job's id"))
    if key is not None:
        return job_id_of_key(tenant, key)
    raise InvalidInputError("neither `job` nor `key` is given: the job would have no id")


def checked(submit: Submit) -> None:
    """Whether a coordinator can begin it. Raises InvalidInputError with what to change."""
    if not submit.goal.strip():
        raise InvalidInputError("the goal is empty: say what is to be done")
    for name in submit.tools or ():
        check_id(name, "the tool")
    for name in submit.approve:
        if name != EVERY_EFFECT:
            check_id(name, "the tool to approve")
    check_budget(submit.budget)
    if submit.deadline is not None and not math.isfinite(submit.deadline):
        raise InvalidInputError("the deadline is not a time: give Unix seconds")
    check_planning(submit)
    if submit.session is not None:
        check_id(submit.session, "the session")


def job_of(submit: Submit, tenant: TenantId, revisions: int = 0) -> JobSpec:
    """The job that a message asks for; `revisions` is the deployment's word.

    Raises InvalidInputError where its id is not usable.
    """
    return JobSpec(
        id=job_id(submit.job, submit.key, tenant),
        tenant=tenant,
        goal=submit.goal,
        key=submit.key,
        inputs=submit.inputs,
        tools=submit.tools,
        priority=submit.priority,
        budget=submit.budget,
        deadline=submit.deadline,
        approve=submit.approve,
        plan=submit.plan,
        review=submit.review,
        output=submit.output,
        session=submit.session,
        revisions=revisions if submit.revisions is None else submit.revisions,
    )


def job_in(data: bytes, tenant: TenantId) -> JobId | None:
    """The id that a submit message of no other use still tells, None where it does not.

    Looks at the outermost strings only, so numbers of any size, nesting of any depth and broken
    escapes elsewhere do no harm.
    """
    fields = _outer_fields(data)
    try:
        if _text(fields, "type") not in {None, "submit"}:
            return None
        job = _text(fields, "job")
        return job_id(job, _text(fields, "key") if job is None else None, tenant)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidInputError):
        return None


def _text(fields: dict[str, bytes], name: str) -> str | None:
    return msgspec.json.decode(fields.get(name, b"null"), type=str | None)


def _outer_fields(data: bytes) -> dict[str, bytes]:
    """Field → the first token of its value, of the outermost object as far as it is legible."""
    fields: dict[str, bytes] = {}
    name: bytes | None = None
    opened: list[bytes] = []
    for match in islice(_TOKENS.finditer(data), _LEGIBLE):
        token = match[0]
        outermost = opened == [b"{"]
        if token in b"]}":
            if not opened or outermost:
                break
            opened.pop()
        elif token in b"[{":
            if outermost and name is not None:
                fields[name.decode("utf-8", "replace")] = token
            opened.append(token)
        elif not opened:
            break
        elif outermost and token == b",":
            name = None
        elif outermost and token != b":":
            if name is None:
                name = token.strip(b'"')
            else:
                fields[name.decode("utf-8", "replace")] = token
    return fields


def why_unusable(error: str) -> str:
    """What to change in a submit message, from the decoder's reason. One line."""
    reason = error.removeprefix("this is not a submit message: ")
    found = _PROBLEM.match(reason)
    if found is None:
        if "recursion" in reason:
            return "it is nested too deeply: make the inputs flatter"
        if missing := re.search(r"missing required field `(\w+)`", reason):
            return f"{missing[1]} is missing"
        return f"it is not JSON in UTF-8 ({reason}): look for a cut text or a broken escape"
    field = found["field"]
    if found["problem"].endswith("out of range"):
        return f"{field} holds a number that is out of range: send it as text"
    if field in _MUST_BE:
        return f"{field} must be {_MUST_BE[field]}"
    return f"{field} is not usable ({found['problem']})"
