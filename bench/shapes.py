"""The jobs that are measured: shapes of no-op tasks, which name themselves in a job's goal.

wide     n independent tasks                      chain    each task needs the one before
fan      1 → 3 → 1, five tasks
"""

from typing import Literal

import msgspec

from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec

Form = Literal["wide", "fan", "chain"]


class Shape(msgspec.Struct, frozen=True):
    """`jobs` jobs of one form with `size` tasks each; `ask`: every task asks its model once."""

    form: Form
    jobs: int
    size: int
    ask: bool = False

    @property
    def tasks(self) -> int:
        """Tasks of all the jobs, without those that plan and answer."""
        return self.jobs * self.size

    @property
    def goal(self) -> str:
        return msgspec.json.encode(self).decode()


def shape_of(goal: str) -> Shape:
    return msgspec.json.decode(goal, type=Shape)


def needs(form: Form, size: int, number: int) -> list[int]:
    """The numbers (from 0) of the tasks that task `number` waits for."""
    match form:
        case "wide":
            return []
        case "chain":
            return [number - 1] if number else []
        case "fan":
            if number == 0:
                return []
            return [0] if number < size - 1 else list(range(1, size - 1))


def task_name(number: int) -> TaskId:
    return TaskId(f"t{number}")


def specs(shape: Shape) -> list[TaskSpec]:
    """The tasks of one job."""
    return [
        TaskSpec(
            id=task_name(number),
            instruction="ask" if shape.ask else "nothing",
            needs=tuple(task_name(need) for need in needs(shape.form, shape.size, number)),
        )
        for number in range(shape.size)
    ]
