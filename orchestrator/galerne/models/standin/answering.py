"""A job's closing answer: every result in order, and a word on who wrote it."""

from galerne.messages.chat import ChatRequest
from galerne.models.standin.answers import first_line
from galerne.models.standin.measures import json_object, readings_of
from galerne.models.standin.prompts import Part, parts, section

SIGNATURE = "(stand-in model: rule-based, no LLM)"
LONGEST_RESULT = 1500
"""Characters of one result: an answer is read at a glance, the result itself stays in the job."""


def answer_text(request: ChatRequest) -> str:
    """The results of the job's tasks as they stand, one after the other."""
    results = parts(request, "Results")
    lines = [_shown(part) for part in results]
    if not lines:
        goal = first_line(section(request, "Goal"), 200) or "nothing"
        lines = [f"I cannot: there are no results that answer: {goal}"]
    return "\n".join((*lines, "", SIGNATURE))


def without_signature(text: str) -> str:
    """What an answer says, for a value of a schema."""
    return text.removesuffix(SIGNATURE).rstrip()


def _shown(part: Part) -> str:
    value = json_object(part.text)
    if value is None:
        text = part.text.strip()
        return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]}…"
    readings = readings_of(part.text)
    if len(readings) == 1 and not readings[0].unit:
        about = value.get("approx")
        tail = f" (about {about})" if isinstance(about, str) else ""
        return f"{readings[0].name} = {readings[0].value}{tail}."
    if readings:
        counts = ", ".join(f"{reading.value} {reading.unit}" for reading in readings)
        return f"{readings[0].name} has {counts}."
    return part.text.strip()[:LONGEST_RESULT]
