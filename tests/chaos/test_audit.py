"""The auditor sees what it must see: made-up evidence, one fault at a time."""

import json
from pathlib import Path
from typing import Any

from chaos.audit import Finding, judge, read
from chaos.table import Row, as_markdown, as_text, merged

WORKER = "executor-host-{}-abcdef"


class Made:
    """Evidence of one job, `j`, that ended well; tests change it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = [{"id": "j", "row": "r", "expected": {"status": "succeeded", "texts": ["42"]}}]
        self.kills: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []
        self.tools: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.journal: list[dict[str, Any]] = []
        self.fact("submitted", 1.0)

    def fact(self, name: str, at: float, data: dict[str, Any] | None = None) -> None:
        self.log.append(self._message(f"galerne.ev.0.default.j.{name}", at, data or {}))

    def journaled(self, entry: str, at: float, data: dict[str, Any]) -> None:
        self.journal.append(self._message(f"galerne.tj.default.j.1.1.{entry}", at, data))

    def ended(self, status: str = "succeeded", result: str = "it is 42", error: str = "") -> None:
        self.fact("end", 99.0, {"status": status, "result": result, "error": error})

    def claimed(self, pid: int, at: float) -> None:
        self.fact("run.1", at, {"by": WORKER.format(pid)})

    def asked(self, started: float, *, ends: str = "finished") -> None:
        request = f"r{len(self.models)}"
        for event, at in (("started", started), (ends, started + 0.5)):
            line = {"event": event, "request": request, "key": "j.1.1", "time": at}
            self.models.append(line)

    def killed(self, pid: int, at: float, spooled: str | None = None) -> None:
        held = [json.dumps({"id": "x", "subject": spooled, "data": "e30="})] if spooled else []
        self.kills.append(
            {"role": "executor", "pid": pid, "point": "p", "row": "r", "spool": held, "time": at}
        )

    def effect(self, tool: str, key: str = "j.1.1") -> None:
        self.tools.append(
            {"event": "effect", "key": key, "tool": tool, "note": "n", "pid": 1, "time": 5.0}
        )

    def found(self) -> list[Finding]:
        for name in ("jobs", "kills", "models", "tools", "log", "journal"):
            lines = "".join(f"{json.dumps(line)}\n" for line in getattr(self, name))
            (self.folder / f"{name}.jsonl").write_text(lines)
        return judge(read(self.folder))

    def kinds(self) -> list[str]:
        return [finding.what for finding in self.found()]

    def _message(self, subject: str, at: float, data: dict[str, Any]) -> dict[str, Any]:
        sequence = len(getattr(self, "log", [])) + 1
        return {"subject": subject, "sequence": sequence, "time": at, "data": json.dumps(data)}


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
    made.ended("failed", "", "in doubt")
    return made


def test_a_doubt_has_a_death_behind_it(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    made.killed(9, 3.5)
    assert made.kinds() == ["doubt"]


def test_a_doubt_without_a_death_or_with_a_safe_result_is_odd(tmp_path: Path) -> None:
    made = doubtful(tmp_path)
    assert made.kinds() == ["odd"]
    made.killed(9, 3.5, "galerne.tj.default.j.1.1.result")
    assert made.kinds() == ["odd"]
    made.journal.clear()
    assert made.kinds() == ["odd"]


def test_the_table_has_eighty_columns_and_sums_up() -> None:
    rows = [Row("publish.model_step.before", "coordinator", 1), Row("a.b", "tools", 2)]
    rows[0].count("gap", 3)
    rows[1].count("gap")
    text = as_text(merged([*rows, rows[0]]))
    assert max(len(line) for line in text.split("\n")) <= 80
    total = next(line for line in text.split("\n") if line.startswith("total"))
    assert total.split() == ["total", "4", ".", ".", ".", ".", "7", ".", ".", "."]
    assert "| total |  | 3 | 0 | 0 | 0 | 0 | 4 | 0 | 0 | 0 |" in as_markdown(rows)
    assert not any(row.bad for row in rows)
    rows[0].count("odd")
    assert rows[0].bad
