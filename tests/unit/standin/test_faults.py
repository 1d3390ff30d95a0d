"""Faults by count, their text form, and the ledger's file."""

from pathlib import Path

import pytest

from galerne.errors import InvalidInputError
from galerne.models.standin import Fault, Ledger, StandInSettings, parse_faults, read_ledger
from galerne.models.standin.faults import FaultCounters, Struck


def test_faults_are_parsed() -> None:
    assert parse_faults("429:every=5, cut:every=7:role=executor,slow") == (
        Fault("429", 5),
        Fault("cut", 7, "executor"),
        Fault("slow"),
    )
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("teapot:every=2", "'teapot'"),
        ("429:every=0", "every must be 1"),
        ("429:every=-1", "'every=-1'"),
        ("429:every=²", "'every=²'"),
        ("429:often", "'often'"),
        ("cut:role=boss", "'role=boss'"),
        ("429:every=99999999999999999999", "every="),
    ],
)
def test_a_mistake_in_a_fault_is_named_in_one_line(text: str, part: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_faults(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_pace_and_latency_have_a_range(value: float) -> None:
    with pytest.raises(InvalidInputError):
        StandInSettings(pace=value)
    with pytest.raises(InvalidInputError):
        StandInSettings(latency=value)


def test_each_fault_counts_the_requests_that_it_concerns() -> None:
    counters = FaultCounters(parse_faults("429:every=3,cut:every=2:role=planner,malformed_call"))
    struck = [
        counters.strike(Struck("executor", calls_tools=True)),
        counters.strike(Struck("planner", calls_tools=False)),
        counters.strike(Struck("executor", calls_tools=False)),
        counters.strike(Struck("planner", calls_tools=False)),
        counters.strike(Struck("executor", calls_tools=True)),
    ]
    assert struck == [{"malformed_call": 1}, {}, {"429": 1}, {"cut": 1}, {"malformed_call": 2}]


def test_the_ledger_appends_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    times = iter(range(100))
    for run in ("one", "two"):
        with Ledger(path, lambda: float(next(times))) as ledger:
            started = ledger.start(request=run, key="k", role="planner", model="m", body="00")
            ledger.end(started, "finished", 200)
    with path.open("ab") as file:
        file.write(b'{"event":"star')
    entries = read_ledger(path)
    assert [(entry.request, entry.event, entry.time) for entry in entries] == [
        ("one", "started", 0.0),
        ("one", "finished", 1.0),
        ("two", "started", 2.0),
        ("two", "finished", 3.0),
    ]
    assert entries[1].key == "k"
    assert entries[1].status == 200
    assert ledger.named("finished") == entries[3:]


def test_a_weak_model_fails_its_texts_of_a_kind() -> None:
    counters = FaultCounters(parse_faults("cannot:model=mistral-7b:task=count"))
    hard = Struck("executor", "mistral-7b", "Read it, then count.")
    assert counters.strike(hard) == {"cannot": 1}
    for other in (
        Struck("executor", "mistral-nemo", "Count the words"),
        Struck("executor", "mistral-7b", "Discount the words"),
        Struck("planner", "mistral-7b", "Count the words"),
        Struck("executor", "mistral-7b", "Count the words", calls_tools=True),
    ):
        assert counters.strike(other) == {}
