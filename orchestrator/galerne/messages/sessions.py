"""What is kept of a conversation: a message for each of its jobs that has succeeded.

They stand on `session.<tenant>.<session>.<job>`, written once, in the order in which the jobs came
to their ends. They are no facts of the jobs: purging a job leaves what was said.
"""

import msgspec


class Said(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="said"
):
    """A job's goal and its answer, `at` in Unix seconds.

    `answer` is text; a result of another form is its JSON. What was too long ends with a mark that
    says so. `summary` is what was said before, in short, up to the end of the job `until`.
    """

    job: str
    goal: str
    answer: str
    at: float
    summary: str | None = None
    until: str | None = None
