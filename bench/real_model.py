"""A real small model as planner and executor: `python -m bench.real_model --weights FOLDER`.

    python -m bench.real_model --weights ~/weights              20 goals; fetches 1.1 GB once
    python -m bench.real_model --weights ~/weights --goals 3    fewer
    … --transcript FILE                                         every fact, a JSON line a goal
    … --endpoint http://host:port/v1 --model NAME               a model that is served already

Nobody scripted what it says, so this shows what plans, repairs and answers are worth with 1.5
billion parameters. The goals are about files whose facts can only be found in them; each answer is
right or wrong by a rule (`bench.questions`). Jobs run one after the other in this process, with the
fleet's scheduler, agents and tools (`galerne.run`), each with a deadline.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import msgspec
from bench.llamacpp_server import CONTEXT, llamacpp_server
from bench.questions import Question, Shelf, copy_records, says, write_ships
from bench.report import say
from bench.weights import MODEL, weights

import galerne
from galerne.cli.runner import run_command
from galerne.errors import GalerneError
from galerne.messages.facts import AnyFact, Done, ModelStep, Moved, PlanEnded, ToolStep
from galerne.messages.plan import Succeeded
from galerne.settings import RoleSettings, Settings, ToolSettings

SEED = 20261123
GRACE = 120.0
"""Seconds after a job's deadline at which it counts as hung."""
CANNOT = ("cannot", "can't", "could not", "couldn't", "unable", "not found", "no such", "failed")


class Outcome(msgspec.Struct, frozen=True):
    """What came of one goal, in the words of the table."""

    plan: str
    answer: str
    said: str
    seconds: float


class Witness:
    """The facts of one job, and what they tell."""

    def __init__(self) -> None:
        self.facts: list[AnyFact] = []

    def plan(self) -> str:
        """How the first plan came to be."""
        turns = [one for one in self.facts if isinstance(one, ModelStep) and one.task == "plan-1"]
        ended = [one for one in self.facts if isinstance(one, PlanEnded) and one.revision == 1]
        if not ended or not ended[0].count:
            return "unusable"
        if ended[0].rejected:
            return "usable in part"
        return "valid at once" if len(turns) == 1 else "valid after the repair"

    def was_told(self, fact: str) -> bool:
        """Whether a tool's result said it."""
        tools = (one for one in self.facts if isinstance(one, ToolStep) and not one.is_error)
        return any(says(one.content, fact) for one in tools)

    def mended(self) -> set[str]:
        """By what else than the plan's repair the job went on."""
        by = {"another model" for one in self.facts if isinstance(one, Moved)}
        by |= {
            "a revision"
            for one in self.facts
            if isinstance(one, Done)
            and one.task.startswith("plan-")
            and one.task != "plan-1"
            and isinstance(one.outcome, Succeeded)
        }
        return by


def judged(question: Question, run: galerne.RunResult, witness: Witness) -> str:
    """The answer of a job that succeeded, by the files and by what its tools said."""
    answer = str(run.answer)
    if question.is_right(answer):
        return "right, though marked as doubtful" if run.unsupported else "right"
    if run.unsupported:
        return "wrong, and marked as doubtful"
    if run.unmended:
        return "wrong, and marked as made without a task that failed"
    if any(word in answer.lower() for word in CANNOT):
        return "says that it cannot"
    told = all(witness.was_told(ground) for ground in question.grounds or question.facts)
    return "wrong though a tool said it" if told else "wrong, and no tool said it"


async def carried_out(question: Question, settings: Settings, limit: float) -> tuple[Outcome, Any]:
    """One job; nothing that it raises ends the others."""
    witness, began = Witness(), time.monotonic()
    try:
        with anyio.fail_after(limit + GRACE):
            run = await galerne.run(
                question.goal,
                settings=settings,
                timeout=limit,
                on_event=witness.facts.append,
            )
        said = str(run.answer)
        verdict = judged(question, run, witness)
    except TimeoutError:
        verdict, said = "hung", ""
    except GalerneError as error:
        verdict, said = "failed clearly", str(error)
    except Exception as error:  # noqa: BLE001 - a crash is one of the outcomes
        verdict, said = "crashed", repr(error)
    by = "".join(f", mended by {word}" for word in sorted(witness.mended()))
    seconds = time.monotonic() - began
    return Outcome(f"{witness.plan()}{by}", verdict, said, seconds), witness.facts


@asynccontextmanager
async def served(flags: argparse.Namespace, folder: Path) -> AsyncGenerator[str]:
    """The endpoint that is given, or one of our own."""
    if flags.endpoint:
        yield flags.endpoint
        return
    if not flags.weights:
        raise SystemExit("give --weights FOLDER (1.1 GB are fetched into it once) or --endpoint")
    file = await anyio.to_thread.run_sync(weights, flags.weights.expanduser())
    async with llamacpp_server(file, folder / "llamacpp.log") as endpoint:
        yield endpoint


def settings_of(flags: argparse.Namespace, endpoint: str, files: Path) -> Settings:
    """Long waits and short answers: on few cores a prompt takes a minute to be read."""
    role = RoleSettings(
        endpoint=endpoint,
        model=flags.model,
        timeout=flags.limit,
        idle_timeout=flags.limit,
        context=CONTEXT,
        max_tokens=512,
        concurrency=1,
    )
    return Settings(planner=role, executor=role, tools=ToolSettings(root=str(files)))


async def _bench(flags: argparse.Namespace) -> int:
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="galerne-bench-") as place:
        folder, chance = Path(place), Random(flags.seed)
        shelf = Shelf(write_ships(folder, chance), copy_records(folder), chance)
        asked = shelf.questions(flags.goals)
        async with served(flags, folder) as endpoint:
            settings = settings_of(flags, endpoint, folder)
            say(f"{len(asked)} goals, seed {flags.seed}, {flags.model}, {os.cpu_count()} cores")
            for number, question in enumerate(asked, 1):
                outcome, facts = await carried_out(question, settings, flags.limit)
                outcomes.append(outcome)
                say(*_lines(number, question, outcome))
                _write(flags.transcript, question, outcome, facts)
    say("", *table(outcomes))
    return 0


def _lines(number: int, question: Question, outcome: Outcome) -> tuple[str, ...]:
    said = " ".join(outcome.said.split())[:160]
    return (
        f"{number:>3}  {question.goal}",
        f"     plan {outcome.plan}; {outcome.answer} ({outcome.seconds:.0f} s): {said}",
    )


def table(outcomes: list[Outcome]) -> list[str]:
    """Counts by outcome, the plans', then the answers'."""
    lines: list[str] = []
    for title, words in (
        ("plan", Counter(one.plan for one in outcomes)),
        ("answer", Counter(one.answer for one in outcomes)),
    ):
        lines += [
            f"{count:>4} of {len(outcomes)}  {title} {word}" for word, count in words.most_common()
        ]
    return lines


def _write(file: Path | None, question: Question, outcome: Outcome, facts: list[AnyFact]) -> None:
    if file is None:
        return
    with file.open("ab") as lines:
        line = {"question": question, "outcome": outcome, "facts": facts}
        lines.write(msgspec.json.encode(line) + b"\n")


def _flags(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.real_model")
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help="where the weights are kept")
    parser.add_argument("--endpoint", metavar="URL", help="a model server instead of our own")
    parser.add_argument("--model", default=MODEL, metavar="NAME", help="its name at --endpoint")
    parser.add_argument("--goals", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N")
    parser.add_argument("--limit", type=float, default=600.0, metavar="SECONDS", help="a goal's")
    parser.add_argument("--transcript", type=Path, metavar="FILE", help="every fact, a line a goal")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run_command(partial(_bench, _flags(sys.argv[1:]))))
