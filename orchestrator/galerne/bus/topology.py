"""Every stream and consumer, in one place: created if missing, asserted otherwise.

A second definition elsewhere would silently lose (the first consumer's filter stays), so nothing
else in Galerne creates a stream or a durable consumer.
"""

import contextlib
from itertools import zip_longest
from typing import Any, cast

import anyio

from galerne.bus.connection import Bus
from galerne.errors import (
    InvalidSettingsError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from galerne.logs import get_logger
from galerne.messages.blobs import Bucket
from galerne.messages.facts import LANES, PRIORITIES, Lane, Priority
from galerne.messages.ids import DEFAULT_TENANT, TenantId, is_id
from galerne.messages.subjects import Subjects
from galerne.settings import Settings

log = get_logger("galerne.bus.topology")

SECOND = 1_000_000_000
DEDUPLICATION = 120 * SECOND
"""Nanoseconds in which a message id counts; the write-once rule itself never expires."""
QUARANTINE_BYTES = 64 * 1024 * 1024
"""The newest so many are kept. JetStream reserves them on the disk from the start, so more would
keep a fleet from starting in a small container."""
PACE_AGE = 60 * SECOND
"""Nanoseconds after which the entry of a worker that died is cleared away; it holds far shorter."""
WAKING = ("submitted", "plan.>", "done.*", "ask.>", "decided.>", "cancel", "end")
"""The facts that a coordinator wakes for: not its own `ready`, not claims, steps, accounts."""

COMMANDS = "commands"


def admit_consumer(tenant: TenantId) -> str:
    """Delivers a tenant's requests; those not acknowledged are its jobs in progress."""
    return f"admit-{tenant}"


def lane_consumer(lane: Lane, priority: Priority, tenant: TenantId) -> str:
    return f"{lane}-{priority}-{tenant}"


def lane_of(consumer: str) -> tuple[str, str, str] | None:
    """Lane, priority and tenant of a consumer's name; None where it is no lane's."""
    lane, _, rest = consumer.partition("-")
    priority, _, tenant = rest.partition("-")
    return (lane, priority, tenant) if lane in LANES and is_id(tenant) else None


def part_consumer(part: int) -> str:
    return f"part-{part}"


PATIENCE = 30.0
"""Seconds that a process waits for servers that are starting, or electing a leader."""


async def provision(bus: Bus, settings: Settings) -> None:
    """Make the bus ready, or find that it is: then this only reads.

    Raises InvalidSettingsError where it is set up differently, TransientError where the servers
    are not ready within `PATIENCE`.
    """
    deadline = anyio.current_time() + PATIENCE
    while True:
        try:
            await _provision(bus, settings)
            return
        except TransientError as error:
            if anyio.current_time() > deadline:
                raise
            log.debug("the servers are not ready yet", error=str(error))
        await anyio.sleep(0.3)


async def _provision(bus: Bus, settings: Settings) -> None:
    subjects = bus.subjects
    for stream in streams(subjects, settings):
        await _ensure_stream(bus, stream)
    wanted = consumers(subjects, settings)
    there = {
        stream: await _consumers_of(bus, stream) for stream in dict(wanted)
    }  # one question a stream: on a cluster each change costs a round of votes
    for stream_name, old in outdated(subjects):
        if old in there.get(stream_name, {}):
            await _delete_consumer(bus, stream_name, old)
    for stream_name, consumer in wanted:
        has = there[stream_name].get(consumer["durable_name"])
        if has is None or not _contains(has, consumer):
            await _ensure_consumer(bus, stream_name, consumer)


async def _consumers_of(bus: Bus, stream: str) -> dict[str, dict[str, Any]]:
    """Name → configuration of every consumer."""
    found: dict[str, dict[str, Any]] = {}
    while True:
        answer = await bus.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        page: list[dict[str, Any]] = answer.get("consumers") or []
        found |= {one["name"]: one["config"] for one in page}
        if not page or len(found) >= answer["total"]:
            return found


def streams(subjects: Subjects, settings: Settings) -> list[dict[str, Any]]:
    """The streams as JetStream's API wants them. Durations are nanoseconds."""
    prefix = subjects.prefix
    blobs = Bucket(subjects.stream("BLOBS"))
    common = {
        "storage": "file",
        "num_replicas": settings.bus.replicas,
        "duplicate_window": DEDUPLICATION,
        "max_msg_size": settings.bus.max_payload + 128 * 1024,
    }
    return [
        {
            **common,
            "name": subjects.stream("SUBMIT"),
            "subjects": [subjects.submit(), subjects.command()],
            "retention": "workqueue",
            "discard": "new",
            "discard_new_per_subject": True,
            "max_msgs_per_subject": settings.bus.backlog + settings.tenants.most_active,
        },
        {
            **common,
            "name": subjects.stream("EVENTS"),
            "subjects": [subjects.events()],
            "retention": "limits",
            "allow_direct": True,
            "republish": {
                "src": subjects.events(),
                "dest": f"{prefix}.live.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}.>",
            },
            "metadata": {"galerne.partitions": str(subjects.partitions)},
        },
        {
            **common,
            "name": subjects.stream("TASKS"),
            "retention": "workqueue",
            "max_msg_size": -1,  # sourcing adds a header to what EVENTS has let in
            "sources": [
                {
                    "name": subjects.stream("EVENTS"),
                    "subject_transforms": [
                        {
                            "src": subjects.events(rest=rest),
                            "dest": f"{prefix}.task.{{{{wildcard(4)}}}}.{{{{wildcard(5)}}}}"
                            ".{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(6)}}",
                        }
                        for rest in ("ready.*.*.*", "resume.*.*.*.*")
                    ],
                }
            ],
        },
        {
            **common,
            "name": subjects.stream("TOOLJ"),
            "subjects": [f"{prefix}.tj.>"],
            "retention": "limits",
            "allow_direct": True,
        },
        _sessions(subjects, settings, common),
        {
            **common,
            "name": subjects.stream("QUARANTINE"),
            "subjects": [subjects.quarantine(">")],
            "retention": "limits",
            "max_bytes": QUARANTINE_BYTES,
            "max_msg_size": -1,
        },
        {
            **common,
            "name": blobs.stream,
            "subjects": blobs.subjects,
            "retention": "limits",
            "discard": "new",
            "allow_direct": True,
            "allow_rollup_hdrs": True,  # other clients of the Object Store delete by it
        },
        _pace_bucket(subjects, settings),
    ]


def _sessions(subjects: Subjects, settings: Settings, common: dict[str, Any]) -> dict[str, Any]:
    """What was said in conversations, for its own time: jobs are purged long before."""
    age = int(settings.retention.sessions * SECOND)
    return {
        **common,
        "name": subjects.stream("SESSIONS"),
        "subjects": [subjects.said()],
        "retention": "limits",
        "max_age": age,
        "duplicate_window": min(DEDUPLICATION, age),  # the server takes no longer one
        "allow_direct": True,
    }


def _pace_bucket(subjects: Subjects, settings: Settings) -> dict[str, Any]:
    """A key-value bucket as NATS lays it out; its entries say themselves how long they hold."""
    return {
        "name": f"KV_{subjects.pace_bucket}",
        "subjects": [subjects.pace()],
        "storage": "memory",
        "num_replicas": settings.bus.replicas,
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_age": PACE_AGE,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }


def consumers(subjects: Subjects, settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    """Stream name and durable consumer. `max_deliver` stays endless: attempts are counted by
    claims, and a limit here would leave a message stuck and silent.
    """
    coordinator_wait = int(settings.coordinator.ack_wait * SECOND)
    made = tenant_consumers(subjects, settings, DEFAULT_TENANT)
    submit = subjects.stream("SUBMIT")
    made.append((submit, _durable(COMMANDS, [subjects.command()], coordinator_wait)))
    for part in range(subjects.partitions):
        filters = [subjects.events(part=str(part), rest=rest) for rest in WAKING]
        durable = _durable(part_consumer(part), filters, coordinator_wait)
        made.append((subjects.stream("EVENTS"), durable))
    return made


def tenant_consumers(
    subjects: Subjects, settings: Settings, tenant: TenantId
) -> list[tuple[str, dict[str, Any]]]:
    """One tenant's, lanes first. In a work queue no two filters may overlap."""
    worker_wait = int(settings.worker.lease * SECOND)
    made: list[tuple[str, dict[str, Any]]] = []
    for lane in LANES:
        for priority in PRIORITIES:
            filters = [subjects.task(lane, priority, tenant)]
            durable = _durable(lane_consumer(lane, priority, tenant), filters, worker_wait)
            made.append((subjects.stream("TASKS"), durable))
    coordinator_wait = int(settings.coordinator.ack_wait * SECOND)
    admit = _durable(admit_consumer(tenant), [subjects.submit(tenant)], coordinator_wait)
    admit["max_ack_pending"] = settings.tenants.active_of(tenant)
    made.append((subjects.stream("SUBMIT"), admit))
    return made


async def provision_tenant(bus: Bus, settings: Settings, tenant: TenantId) -> None:
    """Make or update one tenant's consumers. Raises InvalidSettingsError, TransientError."""
    for stream, consumer in tenant_consumers(bus.subjects, settings, tenant):
        await _ensure_consumer(bus, stream, consumer)


def outdated(subjects: Subjects) -> list[tuple[str, str]]:
    """Stream and name of the consumers of version 0.1, whose filters held every tenant.

    What they had not delivered, the tenants' own consumers deliver.
    """
    tasks = subjects.stream("TASKS")
    lanes = [(tasks, f"{lane}-{priority}") for lane in LANES for priority in PRIORITIES]
    return [(subjects.stream("SUBMIT"), "admit"), *lanes]


async def _delete_consumer(bus: Bus, stream: str, name: str) -> None:
    with contextlib.suppress(NotFoundError):
        await bus.api(f"CONSUMER.DELETE.{stream}.{name}")
        log.info("a consumer of an older version was deleted", stream=stream, consumer=name)


def _durable(name: str, filters: list[str], ack_wait: int) -> dict[str, Any]:
    return {
        "durable_name": name,
        "name": name,
        "ack_policy": "explicit",
        "ack_wait": ack_wait,
        "max_deliver": -1,
        "max_ack_pending": 20_000,
        "max_waiting": 1024,
        "deliver_policy": "all",
        **({"filter_subject": filters[0]} if len(filters) == 1 else {"filter_subjects": filters}),
    }


async def _ensure_stream(bus: Bus, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    try:
        info = await bus.api(f"STREAM.INFO.{name}")
    except NotFoundError:
        await bus.api(f"STREAM.CREATE.{name}", wanted)
        log.debug("a stream was created", stream=name)
        return
    have = info["config"]
    _check_owner(name, have, wanted)
    _check_partitions(name, have, wanted)
    if _differs(have, wanted):
        try:
            await bus.api(f"STREAM.UPDATE.{name}", {**have, **wanted})
        except PermanentError as error:
            raise InvalidSettingsError(
                f"stream {name} is set up differently and cannot be changed: {error}"
            ) from error
        log.info("a stream was brought up to date", stream=name)


def _check_owner(name: str, have: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Two prefixes that differ only in case or dots would share the names of their streams."""
    holds: list[str] = have.get("subjects") or []
    wants: list[str] = wanted.get("subjects") or []
    if sorted(holds) != sorted(wants):
        raise InvalidSettingsError(
            f"stream {name} holds {', '.join(holds) or 'no subjects'} instead of"
            f" {', '.join(wants) or 'none'}: it belongs to others, so set another bus.prefix"
        )


def _check_partitions(name: str, have: dict[str, Any], wanted: dict[str, Any]) -> None:
    key = "galerne.partitions"
    want: str | None = wanted.get("metadata", {}).get(key)
    metadata: dict[str, str] = have.get("metadata") or {}
    has = metadata.get(key)
    if want is not None and has is not None and want != has:
        raise InvalidSettingsError(
            f"stream {name} was made with {has} partitions, the settings say {want}:"
            f" set bus.partitions = {has}, or use another bus.prefix"
        )


def _differs(have: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return any(
        not _contains(have.get(key), value) for key, value in wanted.items() if key != "metadata"
    )


def _contains(have: Any, wanted: Any) -> bool:
    """Whether what the server has says all that is wanted; it adds fields of its own."""
    match have, wanted:
        case dict(), dict():
            has, wants = cast("dict[str, Any]", have), cast("dict[str, Any]", wanted)
            return all(_contains(has.get(key), value) for key, value in wants.items())
        case list(), list():
            pairs = zip_longest(cast("list[object]", have), cast("list[object]", wanted))
            return all(_contains(has, wants) for has, wants in pairs)
        case _:
            return bool(have == wanted)


async def _ensure_consumer(bus: Bus, stream: str, wanted: dict[str, Any]) -> None:
    name = wanted["durable_name"]
    body = {"stream_name": stream, "config": wanted}
    advice = f"consumer {name} of {stream} is set up differently: delete it and start again"
    try:
        answer = await bus.api(f"CONSUMER.CREATE.{stream}.{name}", body)  # creates or updates
    except PermanentError as error:
        raise InvalidSettingsError(f"{advice} ({error})") from error
    if not _contains(answer["config"], wanted):
        raise InvalidSettingsError(advice)
