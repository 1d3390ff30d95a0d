"""Flags that limit a job: its budget, its time, and what waits for a person's word."""

import argparse
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from galerne.cli.parsing import Parser, duration, not_negative, not_negative_count, positive

if TYPE_CHECKING:
    from galerne.messages.plan import Budget


def limits() -> Parser:
    """For commands that begin a job."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("limits, and what waits for a person")
    group.add_argument(
        "--budget-usd",
        type=not_negative,
        metavar="X",
        help="US dollars for model calls; 0: only models without a price",
    )
    group.add_argument("--max-calls", type=positive, metavar="N", help="model calls")
    group.add_argument("--max-tokens", type=positive, metavar="N", help="of prompts and answers")
    group.add_argument(
        "--max-tasks", type=positive, metavar="N", help="tasks: the first N of the plan"
    )
    group.add_argument(
        "--max-seconds", type=duration, metavar="S", help="since it was submitted; also 10m, 2h"
    )
    group.add_argument(
        "--deadline", type=deadline, metavar="WHEN", help="10m from now, or 2026-12-24T18:00:00Z"
    )
    group.add_argument(
        "--approve",
        action="append",
        default=[],
        metavar="TOOL",
        help="its calls wait for a person; '*': every tool that has an effect; repeatable",
    )
    return parser


def planning() -> Parser:
    """For commands that begin a job: where its plan comes from, and what its result is."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("the plan, and the result")
    group.add_argument(
        "--plan", metavar="FILE", help="carry out this plan (as `galerne plan --out` writes it)"
    )
    group.add_argument(
        "--review", action="store_true", help="the plan waits for a person, who may change it"
    )
    group.add_argument(
        "--revisions",
        type=not_negative_count,
        metavar="N",
        help="times that the plan may be revised after failures; 0: never",
    )
    group.add_argument(
        "--output", metavar="FILE", help="a JSON Schema: the result is JSON of that form"
    )
    return parser


def planning_of(flags: argparse.Namespace) -> "dict[str, Any]":
    """The fields of an order that `planning` gives. Raises InvalidInputError."""
    from galerne.cli.files import json_file
    from galerne.core.written import written_plan
    from galerne.errors import InvalidInputError

    output = None if flags.output is None else json_file(flags.output, "--output")
    if not isinstance(output, dict | None):
        raise InvalidInputError(f"{flags.output} holds no JSON Schema: it is an object")
    plan = None if flags.plan is None else json_file(flags.plan, "--plan")
    goal = flags.goal if flags.goal is not None else _goal_in(plan)
    if goal is None:
        raise InvalidInputError("there is no goal: give one in words, or `goal` in the plan's file")
    return {
        "goal": goal,
        "plan": None if plan is None else written_plan(plan),
        "review": flags.review,
        "output": output,
        "revisions": flags.revisions,
    }


def _goal_in(plan: Any) -> str | None:
    match plan:
        case {"goal": str(goal)}:
            return goal
        case _:
            return None


def budget_of(flags: argparse.Namespace) -> "Budget | None":
    """What the flags allow; None where they say nothing."""
    from galerne.messages.plan import Budget

    budget = Budget(
        usd=flags.budget_usd,
        tokens=flags.max_tokens,
        calls=flags.max_calls,
        tasks=flags.max_tasks,
        seconds=flags.max_seconds,
    )
    return None if budget == Budget() else budget


def deadline(text: str) -> float:
    """Unix seconds, from a time from now on (`90s`, `10m`) or a date and time (RFC 3339)."""
    now = time.time()
    try:
        return now + duration(text)
    except argparse.ArgumentTypeError:
        when = _moment(text)
    if when <= now:
        raise argparse.ArgumentTypeError(f"{text!r} is in the past")
    return when


def _moment(text: str) -> float:
    """Without an offset it is the local time of this machine."""
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 90s, 10m, 2h, or 2026-12-24T18:00:00Z"
        ) from error
