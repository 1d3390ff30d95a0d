"""What the auditor can find."""

from dataclasses import dataclass
from typing import Literal

What = Literal[
    "lost", "stuck", "wrong", "double", "again", "gap", "twice", "doubt", "odd",
]  # fmt: skip
"""lost: accepted, and no trace; stuck: begun, and no end; wrong: another end than it had to have,
or model calls that it must not make; double: a fact that stands twice; again: a model call repeated
although its answer was safe, or had to be; gap: repeated in the allowed window; twice: an effect
doubled; doubt: in doubt, as it has to be; odd: in doubt for no reason."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, or that has to be counted.

    `where` begins with a job's id; where it is no job's, `row` is the line of the table.
    """

    what: What
    where: str
    cause: str
    row: str | None = None
