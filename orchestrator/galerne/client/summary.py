"""Jobs in a list: one line each, made from two facts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from galerne.bus.log import Record
from galerne.client.events import readable
from galerne.messages.facts import Ended, JobStatus, Submitted
from galerne.messages.ids import JobId, TenantId


class JobSummary(msgspec.Struct, frozen=True):
    """`submitted_at` is in Unix seconds; `seconds` runs to the end, or to now.

    `asks` counts the questions that wait for a person.
    """

    id: JobId
    tenant: TenantId
    status: JobStatus | Literal["running"]
    goal: str
    submitted_at: float
    seconds: float
    asks: int = 0


def summaries(
    submitted: Sequence[Record],
    ended: Sequence[Record],
    now: float,
    limit: int,
    asks: Mapping[JobId, int] | None = None,
) -> list[JobSummary]:
    """The `limit` newest jobs, newest first, from the `submitted` and `end` facts of the log.

    `asks` counts the open questions of jobs by their ids.
    """
    newest = sorted(submitted, key=lambda record: record.sequence, reverse=True)[:limit]
    ends = {record.address: readable(record) for record in ended}
    return [
        _summary(
            record.fact, ends.get(record.address), now, (asks or {}).get(record.address.job, 0)
        )
        for record in newest
        if isinstance(record.fact, Submitted)
    ]


def _summary(fact: Submitted, end: object, now: float, asks: int) -> JobSummary:
    ended = end if isinstance(end, Ended) else None
    return JobSummary(
        id=fact.job.id,
        tenant=fact.job.tenant,
        status=ended.status if ended else "running",
        goal=fact.job.goal,
        submitted_at=fact.at,
        seconds=max(0.0, (ended.at if ended else now) - fact.at),
        asks=asks,
    )
