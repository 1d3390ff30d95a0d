"""Made-up evidence for the tests of the auditor: one job, which tests change as they need it."""

import json
from pathlib import Path
from typing import Any

from chaos.audit import Finding, judge, read

WORKER = "executor-host-{}-abcdef"


class Made:
    """Evidence of one job, `j`, that ended well; tests change it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        expected = {"status": "succeeded", "texts": ["42"]}
        self.jobs: list[dict[str, Any]] = [{"id": "j", "row": "r", "expected": expected}]
        self.kills: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []
        self.tools: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.journal: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.fact("submitted", 1.0)

    def fact(self, name: str, at: float, data: dict[str, Any] | None = None) -> None:
        self.log.append(self._message(f"galerne.ev.0.default.j.{name}", at, data or {}))

    def journaled(self, entry: str, at: float, data: dict[str, Any]) -> None:
        self.journal.append(self._message(f"galerne.tj.default.j.1.1.{entry}", at, data))

    def said(self, at: float, answer: str) -> None:
        subject = "galerne.session.default.talk.j"
        self.turns.append(self._message(subject, at, {"goal": "what is it", "answer": answer}))

    def ended(self, status: str = "succeeded", result: str = "it is 42", error: str = "") -> None:
        self.fact("end", 99.0, {"status": status, "result": result, "error": error})

    def claimed(self, pid: int, at: float) -> None:
        self.fact("run.1", at, {"by": WORKER.format(pid)})

    def asked(self, started: float, *, ends: str = "finished") -> None:
        request = f"r{len(self.models)}"
        for event, at in (("started", started), (ends, started + 0.5)):
            line = {"event": event, "request": request, "key": "j.1.1", "time": at}
            self.models.append(line)

    def killed(
        self,
        pid: int,
        at: float,
        spooled: str | None = None,
        *,
        role: str = "executor",
        point: str = "p",
    ) -> None:
        held = [json.dumps({"id": "x", "subject": spooled, "data": "e30="})] if spooled else []
        kill = {"role": role, "pid": pid, "point": point, "row": "r", "spool": held, "time": at}
        self.kills.append(kill)

    def stopped(self, pid: int, at: float, until: float) -> None:
        stop: dict[str, Any] = {"role": "tools", "pid": pid, "point": "p", "row": "r", "spool": []}
        self.stops.append(stop | {"time": at, "until": until})

    def effect(self, tool: str, key: str = "j.1.1", *, at: float = 5.0) -> None:
        self._told("effect", tool, key, at)

    def begun(self, tool: str, at: float) -> None:
        self._told("begin", tool, "j.1.1", at)

    def found(self) -> list[Finding]:
        for name in ("jobs", "kills", "stops", "models", "tools", "log", "journal", "turns"):
            lines = "".join(f"{json.dumps(line)}\n" for line in getattr(self, name))
            (self.folder / f"{name}.jsonl").write_text(lines)
        return judge(read(self.folder))

    def kinds(self) -> list[str]:
        return [finding.what for finding in self.found()]

    def _told(self, event: str, tool: str, key: str, at: float) -> None:
        line: dict[str, Any] = {"event": event, "key": key, "tool": tool, "note": "n"}
        self.tools.append(line | {"pid": 1, "time": at})

    def _message(self, subject: str, at: float, data: dict[str, Any]) -> dict[str, Any]:
        sequence = len(getattr(self, "log", [])) + 1
        return {"subject": subject, "sequence": sequence, "time": at, "data": json.dumps(data)}
