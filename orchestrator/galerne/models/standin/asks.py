"""`Ask me which file to count, then count the words of my answer.`: a question to a person.

A question ends where its sentence does, or before a comma and "then". It may hold any word, so it
is cut out of the text before the grammar reads the rest. In what follows it, "my answer" and "the
answer" stand for what the person will say: as a name that no file has, which the planner's rules
turn into a reference.
"""

import re

from galerne.models.standin.clauses import Ask

ANSWER = "{{ask}}"
"""The place that stands for a person's answer; with its quotes as long as `my answer`."""

_ASK = re.compile(
    r"\b[Aa]sk (?:me:? )?(?:for |about )?"
    r"(?P<question>(?:[^.?!;,\n]|[.,](?=\S)|,(?! (?:and )?then\b)){2,300})"
    r"(?:[.?!;]|,(?= (?:and )?then\b)|\Z|(?=\n))"
)
_MEANT = re.compile(r"(?:(?<=\bof )|(?<=\bin )|(?<=\b[Rr]ead ))(?:my|the|that) answer\b")


def cut_asks(text: str) -> tuple[str, tuple[tuple[int, Ask], ...]]:
    """The text with its questions blanked out, every character in its place; them by offset."""
    found: list[tuple[int, Ask]] = []
    position = 0
    while (match := _ASK.search(text, position)) is not None:
        position = match.end()
        found.append((match.start(), Ask(" ".join(match["question"].split()))))
        blank = "\n" + " " * (position - match.start() - 1)
        text = text[: match.start()] + blank + text[position:]
    if found:
        after = found[0][0]
        text = text[:after] + _MEANT.sub(_placed, text[after:])
    return text, tuple(found)


def _placed(match: re.Match[str]) -> str:
    return f'"{ANSWER}"'.rjust(len(match[0]))
