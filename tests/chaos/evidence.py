"""What a run leaves behind for the auditor, in one folder, as lines of JSON.

jobs.jsonl     what was asked of the fleet, and how it has to end
kills.jsonl    who was killed, when, where, and what its spool held at that moment
stops.jsonl    who was stopped, from when until when, and where
models.jsonl   the stand-in model's own ledger
tools.jsonl    the tools' own ledger
log.jsonl, journal.jsonl    the two streams, read at the end (`audit.collect`)
"""

import json
import time
from pathlib import Path
from typing import Any

import msgspec

from chaos.goals import Job

IDLE = "idle"
"""The place of a kill from outside of a process that had nothing to do."""
ANYWHERE = "anywhere"
"""The place of a kill from outside at a moment that chance has chosen."""


class Evidence:
    """Writes down what the harness itself does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def models(self) -> Path:
        return self.folder / "models.jsonl"

    @property
    def tools(self) -> Path:
        return self.folder / "tools.jsonl"

    def submitted(self, job: Job, row: str) -> None:
        """A job whose submission the server has acknowledged: from now on it is owed.

        `row` is the line of the table that it counts for.
        """
        self._add("jobs", msgspec.to_builtins(job) | {"row": row, "time": time.time()})

    def killed(self, role: str, pid: int, *, point: str, row: str, spools: Path | None) -> None:
        """A process is dead. `spools` is the folder of its spool, read before anybody replays it.

        `point` is the boundary, or one word for a kill at no known place.
        """
        files = spools.glob(f"*/*-{pid}-*.spool") if spools is not None else ()
        held = [line for file in files for line in file.read_text("utf-8").splitlines() if line]
        kill = {"role": role, "pid": pid, "point": point, "row": row}
        self._add("kills", kill | {"spool": held, "time": time.time()})

    def stopped(self, role: str, pid: int, *, point: str, row: str, since: float) -> None:
        """A process that was stopped goes on. Nobody replays the spool of a live process."""
        stop: dict[str, Any] = {"role": role, "pid": pid, "point": point, "row": row, "spool": []}
        self._add("stops", stop | {"time": since, "until": time.time()})

    def begun_at(self, job: str) -> float:
        """When a tool was first at work for a job, in Unix seconds; 0.0 where none was."""
        written = self.tools.read_text("utf-8") if self.tools.exists() else ""
        for line in written.splitlines():
            entry = json.loads(line)
            if entry["key"].startswith(f"{job}."):
                return float(entry["time"])
        return 0.0

    def _add(self, name: str, line: dict[str, Any]) -> None:
        with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
