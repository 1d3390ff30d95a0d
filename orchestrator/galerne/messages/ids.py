"""Names that appear in subjects: anything but `[A-Za-z0-9_-]{1,64}` is refused before that."""

import hashlib
import re
from typing import NewType

from galerne.errors import InvalidInputError

JobId = NewType("JobId", str)
TaskId = NewType("TaskId", str)
TenantId = NewType("TenantId", str)

DEFAULT_TENANT = TenantId("default")
ANSWER_TASK = TaskId("answer")
"""The task that writes the job's answer once every planned task is done."""

_BELOW = "--"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def check_id(value: str, what: str) -> str:
    """Give `value` back, or raise InvalidInputError naming `what` it was to be."""
    if not is_id(value):
        raise InvalidInputError(
            f"{what} {value[:80]!r} is not usable: 1 to 64 letters, digits, '-' or '_' are allowed"
        )
    return value


def job_id_of_key(tenant: TenantId, key: str) -> JobId:
    """The job that an idempotency key stands for: the same key is the same job.

    The first 24 hexadecimal digits of sha256(tenant NUL key), with `k-` in front. Raises
    InvalidInputError for text that has no UTF-8 form.
    """
    try:
        digest = hashlib.sha256(f"{tenant}\0{key}".encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise InvalidInputError("the idempotency key is not valid Unicode text") from error
    return JobId(f"k-{digest[:24]}")


def plan_task(revision: int) -> TaskId:
    """The task that plans revision `revision` (the first is 1)."""
    return TaskId(f"plan-{revision}")


def revision_of(task: TaskId) -> int:
    """The revision that a task plans. Raises InvalidInputError for a task that plans none."""
    number = task.removeprefix("plan-")
    if not (number.isascii() and number.isdecimal() and plan_task(int(number)) == task):
        raise InvalidInputError(f"{task!r} is not the task of a plan; those are plan-1, plan-2, …")
    return int(number)


def answer_task(n: int) -> TaskId:
    """The job's `n`-th try at its answer, from 1: an earlier one asked for another revision."""
    return ANSWER_TASK if n == 1 else TaskId(f"{ANSWER_TASK}-{n}")


def below(task: TaskId, name: str | int) -> TaskId:
    """The id of what belongs to a task.

    `5--plan` plans the nested plan of task 5 and `5--1` is a task in it; `5--0` is the first
    element of a list that task 5 is done for; `5--r2` is what revision 2 replaces task 5 by.
    """
    return TaskId(f"{task}{_BELOW}{name}")


def above(task: TaskId) -> TaskId | None:
    """The task that this one belongs to, if its id says so."""
    head, mark, _ = task.rpartition(_BELOW)
    return TaskId(head) if mark and head else None


def depth(task: TaskId) -> int:
    """How many tasks this one belongs to, each to the next."""
    return task.count(_BELOW)


def is_reserved(task: str) -> bool:
    """Whether a planner may not give a task this id."""
    return task == ANSWER_TASK or task.startswith(("plan-", f"{ANSWER_TASK}-"))


def is_scoped(task: str) -> bool:
    """Whether an id has the form of `below`, which a planner's own may not have."""
    return _BELOW in task
