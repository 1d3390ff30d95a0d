"""Recorded histories of jobs, decided again for ever: what today's code would do otherwise.

A difference means that a fleet of today, with that job half-way in its log, goes on in another way
than the one that began it. If that is meant, say so in the changelog and drop the history.
"""

from collections import Counter
from pathlib import Path

import pytest

from contract.record_histories import SCENARIOS, STAND_IN
from galerne.cli.tree import job_tree
from galerne.client.export import read_export
from galerne.core.replay import replay, state_of
from galerne.core.view import view
from galerne.messages.facts import Accounted, Asked, Claimed, Decided, Ended, JobStatus, Moved

HISTORIES = Path(__file__).parent / "histories"
ENDS: dict[str, JobStatus] = {
    **{name: status for name, (_, status) in SCENARIOS.items()},
    STAND_IN: "succeeded",
}
"""Name of the file → how the job ended. A history from elsewhere is added here by hand."""
every_history = pytest.mark.parametrize("name", sorted(ENDS))


def test_every_file_is_listed() -> None:
    assert sorted(path.stem for path in HISTORIES.glob("*.jsonl")) == sorted(ENDS)


@every_history
def test_today_decides_the_same(name: str) -> None:
    recording = read_export(HISTORIES / f"{name}.jsonl")
    assert [str(one) for one in replay(recording.entries)] == []


@every_history
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_also_half_way(name: str, part: float) -> None:
    entries = read_export(HISTORIES / f"{name}.jsonl").entries
    assert replay(entries[: int(len(entries) * part)]) == []


@every_history
def test_it_ends_as_it_ended(name: str) -> None:
    recording = read_export(HISTORIES / f"{name}.jsonl")
    state = state_of(recording.entries)
    header = recording.header
    seen = view(state, header.job, header.tenant, header.at)
    assert seen.status == ENDS[name]
    assert (seen.error is None) == (seen.status == "succeeded")
    assert job_tree(seen, result=True)


def test_the_histories_hold_what_they_are_for() -> None:
    """Each kind of trouble is really in there."""
    held = {
        name: Counter(
            type(entry.fact).__name__ for entry in read_export(HISTORIES / f"{name}.jsonl").entries
        )
        for name in ENDS
    }
    assert held["unreadable"]["NoneType"] > 0
    assert held["approved"][Asked.__name__] == held["approved"][Decided.__name__] == 3
    assert held["in-doubt"][Decided.__name__] == 1
    assert held["escalated"][Moved.__name__] == 2
    assert held["out-of-calls"][Accounted.__name__] > 0
    assert all(counts[Ended.__name__] == 1 for counts in held.values())
    claims = [
        entry.fact
        for entry in read_export(HISTORIES / "executor-killed.jsonl").entries
        if isinstance(entry.fact, Claimed)
    ]
    assert max(claim.attempt for claim in claims) > 1
