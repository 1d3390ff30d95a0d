"""The auditor sees what it must see: made-up evidence, one fault at a time."""

from pathlib import Path

import pytest

from chaos.made_up import WORKER, Made
from chaos.table import Row, as_markdown, as_text, merged


def test_a_good_run_has_no_findings(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.fact("step.1.1", 4.0)
    made.effect("chaos_once")
    made.ended()
    assert made.kinds() == []


def test_a_job_without_an_end_is_stuck_and_one_without_a_trace_lost(tmp_path: Path) -> None:
    made = Made(tmp_path)
    assert made.kinds() == ["stuck"]
    made.log.clear()
    assert made.kinds() == ["lost"]


def test_another_end_or_another_answer_is_wrong(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.ended("failed", "", "no luck")
    assert made.kinds() == ["wrong"]
    made.log.pop()
    made.ended(result="it is 41")
    assert made.kinds() == ["wrong"]


def test_a_call_repeated_after_its_step_was_in_the_log(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.fact("step.1.1", 4.0)
    made.killed(7, 4.1)
    made.asked(6.0)
    made.ended()
    assert made.kinds() == ["again"]


def test_a_call_repeated_although_its_answer_was_in_the_spool(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.killed(7, 3.6, "galerne.ev.0.default.j.step.1.1")
    made.asked(6.0)
    made.fact("step.1.1", 7.0)
    made.ended()
    assert made.kinds() == ["again"]


def test_a_call_repeated_in_the_gap_is_counted_apart(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.killed(7, 3.6, "galerne.ev.0.default.j.step.2.1")
    made.asked(6.0)
    made.fact("step.1.1", 7.0)
    made.ended()
    assert made.kinds() == ["gap"]


def test_a_process_that_died_while_it_was_answered_never_had_the_answer(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.killed(7, 3.05)
    made.asked(6.0)
    made.fact("step.1.1", 7.0)
    made.ended()
    assert made.kinds() == ["gap"]


def test_the_death_of_another_process_excuses_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.killed(8, 3.6)
    made.asked(6.0)
    made.ended()
    assert made.kinds() == ["again"]


def test_two_at_the_same_time_are_no_gap(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.asked(3.2)
    made.killed(7, 3.6)
    made.ended()
    assert made.kinds() == ["again"]


def test_answers_that_were_not_paid_for_repeat_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0, ends="refused")
    made.asked(4.0, ends="aborted")
    made.asked(5.0)
    made.asked(6.0, ends="refused")
    made.ended()
    assert made.kinds() == []


STEP = "galerne.ev.0.default.j.step.1.1"
RESULT = "galerne.tj.default.j.1.1.result"


@pytest.mark.parametrize("point", ["spool.written", "spool.synced", "publish.model_step.before"])
def test_a_process_with_an_answer_in_its_hands_leaves_it_in_its_spool(
    tmp_path: Path, point: str
) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.ended()
    made.killed(7, 3.6, point=point)
    (found,) = made.found()
    assert (found.what, found.row) == ("again", "r")
    made.kills.clear()
    made.killed(7, 3.6, STEP, point=point)
    assert made.kinds() == []


def test_what_was_replayed_before_anybody_looked_was_left(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.fact("step.1.1", 3.55)
    made.killed(7, 3.6, point="spool.synced")
    made.ended()
    assert made.kinds() == []
    made.log[-2]["time"] = 7.0  # its successor has paid for it, and written it
    assert made.kinds() == ["again"]


def test_a_death_elsewhere_may_leave_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.killed(7, 3.6, point="model.answered")
    made.asked(6.0)
    made.ended()
    assert made.kinds() == ["gap"]


@pytest.mark.parametrize("point", ["spool.written", "spool.synced", "journal.result.before"])
def test_a_tool_worker_with_a_result_in_its_hands_leaves_it_in_its_spool(
    tmp_path: Path, point: str
) -> None:
    made = Made(tmp_path)
    made.journaled("claim", 3.0, {"by": WORKER.format(9)})
    made.ended()
    made.killed(9, 3.5, role="tools", point=point)
    (found,) = made.found()
    assert (found.what, found.row) == ("odd", "r")
    made.kills.clear()
    made.killed(9, 3.5, RESULT, role="tools", point=point)
    assert made.kinds() == []
    made.kills.clear()
    made.killed(9, 3.5, role="tools", point=point)
    made.journaled("result", 3.4, {})
    assert made.kinds() == []


def test_a_stopped_process_leaves_its_answer_unread(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.stopped(7, 3.2, 8.0)
    made.asked(6.0)
    made.ended()
    assert made.kinds() == ["gap"]
    made.stops.clear()
    made.stopped(7, 1.0, 2.5)
    assert made.kinds() == ["again"]


def test_a_stopped_process_writes_its_answer_after_another_has_looked(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.claimed(7, 2.0)
    made.asked(3.0)
    made.stopped(7, 3.2, 5.8)
    made.claimed(8, 5.5)
    made.fact("step.1.1", 5.9)
    made.asked(6.0)
    made.ended()
    assert made.kinds() == ["gap"]
    made.log[2]["time"] = 5.95  # the other one might have read it
    assert made.kinds() == ["again"]


def test_what_is_written_once_must_not_stand_twice(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for at in (2.0, 3.0):
        made.claimed(7, at)
        made.fact("account", at)
        made.journaled("claim", at, {})
        made.journaled("claim-1", at, {})
    made.fact("done.1", 4.0)
    made.journaled("result", 4.0, {})
    made.ended()
    assert made.kinds() == []
    made.fact("done.1", 5.0)
    made.journaled("result", 5.0, {})
    assert made.kinds() == ["double", "double"]


def test_an_answer_in_a_conversation_stands_in_it_once_before_the_end(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.jobs[0]["options"] = {"session": "talk"}
    made.ended()
    assert made.kinds() == ["wrong"]
    made.said(98.0, "it is 42")
    assert made.kinds() == []
    made.said(98.5, "it is 42")
    assert made.kinds() == ["wrong"]
    made.turns[:] = []
    made.said(98.0, "it is 41")
    assert made.kinds() == ["wrong"]
    made.turns[:] = []
    made.said(99.5, "it is 42")
    assert made.kinds() == ["wrong"]


def test_a_message_of_nobodys_job_is_no_double(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.ended()
    junk = made.log[0] | {"subject": "galerne.ev.0.default.junk.ready.executor.normal.1"}
    made.log += [junk, junk]
    assert made.kinds() == []


def test_more_model_calls_than_the_budget_allows(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.jobs[0]["options"] = {"budget": {"calls": 2}}
    made.asked(3.0, ends="aborted")
    made.asked(4.0, ends="refused")
    made.asked(5.0)
    made.ended()
    assert made.kinds() == []
    made.jobs[0]["options"] = {"budget": {"calls": 1}}
    assert made.kinds() == ["wrong"]
    made.jobs[0]["options"] = {"budget": {"tasks": 1}}
    assert made.kinds() == []


@pytest.mark.parametrize("fact", ["cancel", "end"])
def test_nothing_is_begun_long_after_a_cancel_or_an_end(tmp_path: Path, fact: str) -> None:
    made = Made(tmp_path)
    made.jobs[0]["expected"] = {"status": "cancelled", "texts": []}
    made.fact(fact, 3.0, {"status": "cancelled"})
    if fact == "cancel":
        made.ended("cancelled", "")
    made.asked(4.4)
    made.begun("chaos_once", 4.4)
    assert made.kinds() == []
    made.begun("chaos_once", 4.6)
    assert made.kinds() == ["wrong"]
    made.tools.pop()
    made.models.clear()
    made.asked(4.6)
    assert made.kinds() == ["wrong"]
    made.killed(3, 3.5, role="server")
    assert made.kinds() == []


@pytest.mark.parametrize("tool", ["chaos_once", "chaos_idempotent"])
def test_an_effect_is_not_begun_after_its_result_is_journaled(tmp_path: Path, tool: str) -> None:
    made = Made(tmp_path)
    made.ended()
    made.journaled("claim", 3.0, {"by": WORKER.format(9)})
    made.journaled("result-1", 4.0, {})
    made.begun(tool, 3.1)
    made.begun(tool, 4.4)
    assert made.kinds() == []
    made.begun(tool, 4.6)
    assert made.kinds() == ["twice"]


def test_a_pure_call_is_not_begun_after_its_step_stands(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.ended()
    made.fact("step.1.1", 4.0)
    made.begun("chaos_pure", 5.9)
    assert made.kinds() == []
    made.begun("chaos_pure", 6.1)
    assert made.kinds() == ["twice"]


def test_a_once_effect_that_happened_twice(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.ended()
    made.effect("chaos_once")
    made.effect("chaos_once")
    assert made.kinds() == ["twice"]


def test_an_idempotent_effect_may_repeat_under_its_key_only(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.ended()
    made.effect("chaos_idempotent")
    made.effect("chaos_idempotent")
    assert made.kinds() == []
    made.effect("chaos_idempotent", "j.2.1")
    assert made.kinds() == ["twice"]


def doubtful(folder: Path) -> Made:
    made = Made(folder)
    made.journaled("claim", 3.0, {"by": WORKER.format(9)})
    made.fact("done.1", 8.0, {"outcome": {"type": "failed", "code": "in_doubt"}})
    made.ended()
    return made


def test_a_doubt_has_a_death_behind_it(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    made.killed(9, 3.5)
    assert made.kinds() == ["doubt"]


def test_a_doubt_excuses_no_wrong_end(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    made.killed(9, 3.5)
    made.log.pop()
    made.ended("failed", "", "something else")
    assert made.kinds() == ["wrong", "doubt"]


def test_a_process_that_is_stopped_is_as_good_as_dead_until_it_goes_on(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    made.stopped(9, 3.5, 8.5)
    assert made.kinds() == ["doubt"]
    made.stops.clear()
    made.stopped(9, 8.2, 9.0)
    assert made.kinds() == ["odd"]


def test_a_later_death_is_no_reason_for_a_doubt(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    made.killed(9, 8.5)
    assert made.kinds() == ["odd"]


def test_a_doubt_without_a_death_or_with_a_safe_result_is_odd(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    assert made.kinds() == ["odd"]
    made.killed(9, 3.5, "galerne.tj.default.j.1.1.result")
    assert made.kinds() == ["odd"]
    made.journal.clear()
    assert made.kinds() == ["odd"]


def test_the_table_is_narrow_and_sums_up() -> None:
    rows = [Row("publish.model_step.before", "coordinator", 1), Row("a.b", "tools", 2)]
    rows[0].count("gap", 3)
    rows[1].count("gap")
    text = as_text(merged([*rows, rows[0]]))
    assert max(len(line) for line in text.split("\n")) <= 88
    total = next(line for line in text.split("\n") if line.startswith("total"))
    assert total.split() == ["total", "4", ".", ".", ".", ".", ".", "7", ".", ".", "."]
    assert "| total |  | 3 | 0 | 0 | 0 | 0 | 0 | 4 | 0 | 0 | 0 |" in as_markdown(rows)
    assert not any(row.bad for row in rows)
    rows[0].count("odd")
    assert rows[0].bad
