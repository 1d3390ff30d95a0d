"""Ids, subjects and decoders against hostile input: refused with our errors, never a crash."""

import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from galerne.errors import InvalidInputError, InvalidMessageError
from galerne.messages import codec
from galerne.messages.facts import Done, Planned
from galerne.messages.ids import (
    ANSWER_TASK,
    JobId,
    TaskId,
    TenantId,
    check_id,
    is_id,
    is_reserved,
    job_id_of_key,
    plan_task,
)
from galerne.messages.plan import Failed, ModelUsage, Outcome, Succeeded, TaskSpec, Usage
from galerne.messages.subjects import JobAddress, Subjects, TaskAddress, part_of

SUBJECTS = Subjects("galerne", partitions=8)
ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

ids = st.text(ID_CHARACTERS, min_size=1, max_size=64)
any_text = st.text(st.characters(), max_size=80)
"""Also characters that UTF-8 cannot hold: a program that embeds Galerne may pass them."""
tokens = ids | any_text | st.sampled_from(["*", ">", "", "a b", "é", "٣", "7\n", "a\0b"])
counts = st.integers(min_value=0, max_value=2**53)

DECODERS: list[Callable[[bytes], object]] = [
    codec.decode_submit,
    codec.decode_command,
    codec.decode_call_tool,
    codec.decode_tool_reply,
    codec.decode_tools_heard,
    codec.decode_coordinator_present,
    codec.decode_live,
    codec.decode_quarantined,
    lambda data: codec.decode_fact("submitted", data),
]
every_decoder = pytest.mark.parametrize("decode", DECODERS)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


# ids


@given(ids)
def test_a_good_id_is_given_back(value: str) -> None:
    assert check_id(value, "the job's id") == value


@given(tokens)
@example("a" * 65)
@example("job-1\n")
@example("ｊｏｂ")  # noqa: RUF001 - letters that only look like ours are the point
def test_an_id_is_plain_or_refused_in_one_line(value: str) -> None:
    if 1 <= len(value) <= 64 and set(value) <= set(ID_CHARACTERS):
        assert is_id(value)
        return
    assert not is_id(value)
    with pytest.raises(InvalidInputError) as raised:
        check_id(value, "the job's id")
    assert "\n" not in str(raised.value)


@given(any_text, any_text)
@example("acme", "\ud800")
def test_the_same_key_is_the_same_usable_job_or_refused(tenant: str, key: str) -> None:
    try:
        job = job_id_of_key(TenantId(tenant), key)
    except InvalidInputError:
        return
    assert is_id(job)
    assert job == job_id_of_key(TenantId(tenant), key)


def test_keys_of_two_tenants_are_two_jobs_and_the_rule_is_fixed() -> None:
    # printf 'acme\0nightly' | sha256sum: other languages compute it too, so it may never change
    assert job_id_of_key(TenantId("acme"), "nightly") == "k-337aaeb4770ed946e177efab"
    assert job_id_of_key(TenantId("acme"), "nightly") != job_id_of_key(TenantId("b"), "nightly")


def test_a_plan_cannot_take_the_ids_that_the_coordinator_uses() -> None:
    assert is_reserved(ANSWER_TASK)
    assert is_reserved(plan_task(3))
    assert not is_reserved("planet")


# subjects


@given(ids)
def test_the_part_of_a_job_is_in_range(job: str) -> None:
    assert 0 <= part_of(job, 8) < 8


def test_the_part_of_a_job_is_fixed_for_ever() -> None:
    # crc32("job-1") = 0x4C423A3F
    assert part_of("job-1", 1 << 32) == 0x4C423A3F
    assert part_of("job-1", 8) == 7


@given(ids, ids, ids, counts)
def test_what_is_made_is_read_back(tenant: str, job: str, task: str, n: int) -> None:
    address = SUBJECTS.address(TenantId(tenant), JobId(job))
    fact = Planned(revision=1, n=n, task=TaskSpec(id=TaskId(task)))
    read, name = SUBJECTS.parse_event(SUBJECTS.fact(address, fact))
    assert read == address
    assert codec.decode_fact(name, codec.encode(fact)) == fact


@given(st.lists(tokens, max_size=8))
@example(["7", "acme", "job-1", ""])
@example(["7", "acme", "job-1", "done", ""])
@example(["07", "acme", "job-1", "end"])
@example(["6", "acme", "job-1", "end"])
@example(["9" * 5000, "acme", "job-1", "end"])
def test_a_subject_of_the_log_is_canonical_or_refused(rest: list[str]) -> None:
    subject = ".".join(["galerne", "ev", *rest])
    try:
        address, name = SUBJECTS.parse_event(subject)
    except InvalidMessageError:
        return
    assert address == JobAddress(part_of(address.job, 8), address.tenant, address.job)
    assert is_id(address.tenant)
    assert is_id(address.job)
    assert SUBJECTS.job(address, name) == subject, "one fact must not live under two subjects"
    assert name


@given(any_text)
@example("other.ev.7.acme.job-1.end")
@example("galerne.live.7.acme.job-1.end")
def test_a_subject_from_elsewhere_is_refused(subject: str) -> None:
    with pytest.raises(InvalidMessageError):
        SUBJECTS.parse_event(subject)


@given(ids, ids, ids)
def test_a_task_is_found_again_by_its_subject(tenant: str, job: str, task: str) -> None:
    subject = SUBJECTS.task("executor", "high", tenant, f"{job}.{task}")
    expected = TaskAddress("executor", "high", TenantId(tenant), JobId(job), TaskId(task))
    assert SUBJECTS.parse_task(subject) == expected


@given(any_text)
@example("galerne.task.executor.high.acme.job-1")
@example("galerne.task.executor.high.acme.job-1.*")
@example("galerne.live.executor.high.acme.job-1.1")
@example("other.task.executor.high.acme.job-1.1")
def test_a_subject_that_is_no_task_is_refused(subject: str) -> None:
    with pytest.raises(InvalidMessageError):
        SUBJECTS.parse_task(subject)


@given(tokens)
def test_a_prefix_is_plain_tokens_or_refused(prefix: str) -> None:
    try:
        subjects = Subjects(prefix, partitions=1)
    except InvalidInputError:
        assert not all(is_id(token) for token in prefix.split("."))
        return
    assert re.fullmatch(r"[A-Z0-9_-]+_EVENTS", subjects.stream("EVENTS"))


def test_a_prefix_of_several_tokens_keeps_its_facts_apart() -> None:
    subjects = Subjects("acme.fleet-2", partitions=8)
    address = subjects.address(TenantId("acme"), JobId("job-1"))
    subject = subjects.job(address, "end")
    assert subject == "acme.fleet-2.ev.7.acme.job-1.end"
    assert subjects.parse_event(subject) == (address, "end")
    assert subjects.stream("EVENTS") == "ACME_FLEET-2_EVENTS"
    with pytest.raises(InvalidMessageError):
        SUBJECTS.parse_event(subject)


# decoding


@every_decoder
@given(data=st.binary(max_size=200) | json_values.map(msgspec.json.encode))
@example(data=b"")
@example(data=b"[" * 100_000)
@example(data=b'{"type":"submit","goal":"","inputs":{"a":' + b"[" * 100_000)
@example(data=b'{"type":"submit","goal":"","inputs":{"a":' + b"9" * 5000)
@example(data=b'{"type":"submit","goal":"","inputs":{"\xff":1}}')
@example(data=b'{"type":"no\\nsuch"}')
def test_noise_is_refused_in_one_line(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(InvalidMessageError) as raised:
        decode(data)
    assert "\n" not in str(raised.value)


@given(
    st.sampled_from(["submitted", "planned", "done", "ended"]), st.dictionaries(ids, json_values)
)
def test_a_fact_with_wrong_fields_is_refused(tag: str, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidMessageError):
        codec.decode_fact(tag, msgspec.json.encode(fields | {"type": tag}))


@given(ids, ids)
def test_a_fact_under_another_subject_is_refused(task: str, other: str) -> None:
    done = Done(task=TaskId(task), outcome=Succeeded(1), usage=Usage(), by="w", attempt=1, at=0.0)
    if task == other:
        assert codec.decode_fact(f"done.{other}", codec.encode(done)) == done
        return
    with pytest.raises(InvalidMessageError):
        codec.decode_fact(f"done.{other}", codec.encode(done))


@pytest.mark.parametrize("field", ["revision", "count"])
@pytest.mark.parametrize("value", ["1", 1.5, None, True, [1]])
def test_numbers_are_not_guessed_from_other_types(field: str, value: object) -> None:
    message = {"type": "plan_ended", "revision": 1, "count": 1} | {field: value}
    with pytest.raises(InvalidMessageError):
        codec.decode_fact("plan.1.end", msgspec.json.encode(message))


outcomes = st.builds(Succeeded, json_values) | st.builds(Failed, ids, st.text())
usages = st.builds(
    Usage, st.dictionaries(ids, st.builds(ModelUsage, counts, counts, counts), max_size=3), counts
)


@given(outcomes, usages, ids)
def test_an_outcome_survives_the_wire(outcome: Outcome, usage: Usage, task: str) -> None:
    done = Done(task=TaskId(task), outcome=outcome, usage=usage, by="w", attempt=1, at=0.5)
    assert codec.decode_fact(f"done.{task}", codec.encode(done)) == done


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(one: Usage, two: Usage, three: Usage) -> None:
    assert one.plus(two).plus(three) == one.plus(two.plus(three))
    assert one.plus(two) == two.plus(one)
    assert one.plus(two).tokens == one.tokens + two.tokens
    assert one.plus(Usage()) == one
