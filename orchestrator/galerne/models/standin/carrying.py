"""How each clause is carried out: which tools it uses, and the sentence that closes it.

Each function is a generator: it yields the tool uses that it needs next, is sent their results in
the same order, and returns its closing sentence. It keeps nothing and counts nothing itself: what
it says is what the tools said. `CannotError` ends it where they said something else.
"""

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from galerne.models.standin.answers import ToolUse, first_line
from galerne.models.standin.clauses import (
    COMPARISONS,
    Adjust,
    Ask,
    Call,
    Clause,
    Combine,
    Compare,
    Compute,
    Count,
    CountEach,
    Dependent,
    ListFiles,
    Rank,
    ReadFile,
    Report,
    Search,
    Unit,
    Unknown,
)
from galerne.models.standin.comparing import compare, extremes, names, rank
from galerne.models.standin.measures import (
    Reading,
    amount,
    by_unit,
    counts_sentence,
    is_number,
    json_object,
    matches_unit,
)

MOST_FILES = 200
"""Files that one task counts, in batches that fit into the turns of an executor."""
MOST_MATCHES = 200
MATCHES_SHOWN = 10
LONGEST_RELAYED = 6000
"""Characters of a file that a closing text repeats: it has to fit into an answer's tokens."""
KNOWN = (
    "the stand-in model only knows how to count words, lines, characters or bytes of files, list "
    "files, search for a text, read a file, calculate, call a tool as told, and compare, add up, "
    "average or rank numbers that it is given; it is rule-based and no language model"
)

Uses = tuple[ToolUse, ...]
Work = Generator[Uses, tuple[str, ...], str]


class CannotError(Exception):
    """The clause cannot be carried out; the text says why, to be read after `I cannot: `."""


def carry_out(clause: Clause, readings: Sequence[Reading]) -> Work:
    """The work on one clause; `readings` are the numbers that earlier results gave."""
    match clause:
        case Count(units, path):
            return _count(units, path)
        case CountEach():
            return _count_each(clause)
        case ListFiles(folder, pattern):
            return _list(folder, pattern)
        case Search():
            return _search(clause)
        case ReadFile():
            return _read(clause)
        case Compute(expression):
            return _compute(expression)
        case Call():
            return _call(clause)
        case Compare() | Combine() | Rank() | Adjust():
            return _conclude(clause, readings)
        case Report() | Unknown() | Ask():  # a question is for the planner's rules alone
            raise CannotError(KNOWN)


def _conclude(clause: Dependent | Adjust, readings: Sequence[Reading]) -> Work:
    match clause:
        case Combine():
            return _combine(clause, readings)
        case Adjust():
            return _adjust(clause, readings)
        case Compare(word, unit):
            return _said(compare(readings, COMPARISONS[word], unit), readings)
        case Rank(first, unit):
            return _said(rank(readings, first, unit), readings)


def _count(units: tuple[Unit, ...], path: str) -> Work:
    (content,) = yield (ToolUse("text_stats", {"path": path}),)
    return _counted(content, units, path)


def _count_each(clause: CountEach) -> Work:
    paths = yield from _paths(clause.folder, clause.pattern)
    if not paths:
        raise CannotError(f"there are no files to count in {clause.folder} ({clause.pattern})")
    if len(paths) > MOST_FILES:
        raise CannotError(
            f"{clause.folder} has {len(paths)} files and the stand-in model counts at most "
            f"{MOST_FILES} in one task"
        )
    contents = yield tuple(ToolUse("text_stats", {"path": path}) for path in paths)
    lines: list[str] = []
    failures: list[str] = []
    for path, content in zip(paths, contents, strict=True):
        try:
            lines.append(_counted(content, clause.units, path))
        except CannotError as error:
            failures.append(f"I cannot: {error}")
    return "\n".join((*lines, *failures))


def _list(folder: str, pattern: str) -> Work:
    paths = yield from _paths(folder, pattern)
    unit = "files" if pattern == "*" else f"{pattern} files"
    counted = f"{_place(folder)} has {_files(len(paths), unit)}"
    return f"{counted}: {', '.join(paths)}." if paths else f"{counted}."


def _search(clause: Search) -> Work:
    arguments = {"text": clause.text, "path": clause.path, "max_matches": MOST_MATCHES}
    if clause.pattern != "*":
        arguments["pattern"] = clause.pattern
    (content,) = yield (ToolUse("search_files", arguments),)
    matches: list[dict[str, Any]] = _decoded(
        content, list[dict[str, Any]], "search_files", clause.path
    )
    if len(matches) >= MOST_MATCHES:
        raise CannotError(
            f'{clause.path} has {MOST_MATCHES} or more lines that mention "{clause.text}", more '
            "than the stand-in model asks for"
        )
    unit = matches_unit(clause.text)
    if len(matches) == 1:
        unit = unit.replace("lines that mention", "line that mentions", 1)
    shown = [
        f"  {match.get('path')}:{match.get('line')}: {first_line(str(match.get('text')), 120)}"
        for match in matches[:MATCHES_SHOWN]
    ]
    left = len(matches) - len(shown)
    shown += [f"  and {left} more"] if left else []
    end = ":" if shown else "."
    return "\n".join((f"{_place(clause.path)} has {len(matches)} {unit}{end}", *shown))


def _read(clause: ReadFile) -> Work:
    arguments: dict[str, Any] = {"path": clause.path}
    if clause.start != 1:
        arguments["start_line"] = clause.start
    if clause.lines is not None:
        arguments["max_lines"] = clause.lines
    (content,) = yield (ToolUse("read_file", arguments),)
    _check(content, "read_file", clause.path)
    if not content.strip():
        return f"{clause.path} is empty there."
    cut = "…" if len(content) > LONGEST_RELAYED else ""
    return f"{clause.path} says:\n{content[:LONGEST_RELAYED]}{cut}"


def _compute(expression: str) -> Work:
    value, about = yield from _calculate(expression)
    return f"{expression} = {value}.{_about(about, '')}"


def _call(clause: Call) -> Work:
    arguments = msgspec.json.decode(clause.arguments, type=dict[str, Any])
    (content,) = yield (ToolUse(clause.tool, arguments),)
    _check(content, clause.tool, clause.arguments)
    return f"{clause.tool} says:\n{content[:LONGEST_RELAYED]}"


def _combine(clause: Combine, readings: Sequence[Reading]) -> Work:
    sentences: list[str] = []
    groups = by_unit(readings, clause.unit)
    several = {unit: group for unit, group in groups.items() if len(group) > 1}
    for unit, group in (several or groups).items():
        match clause.how:
            case "total":
                title, expression = f"total of {names(group)}", _sum(group)
            case "average":
                title, expression = f"average of {names(group)}", f"({_sum(group)}) / {len(group)}"
            case "difference":
                if len(group) == 1:
                    continue
                most, least = extremes(group)
                if most.number == least.number:
                    most, least = group[0], group[1]
                title = f"difference between {most.name} and {least.name}"
                expression = f"{_operand(most)} - {_operand(least)}"
        value, about = yield from _calculate(expression)
        sentences.append(f"The {title} is {amount(value, unit)}.{_about(about, unit)}")
    if not sentences:
        raise CannotError(_why_not(readings))
    return "\n".join(sentences)


def _adjust(clause: Adjust, readings: Sequence[Reading]) -> Work:
    if len(readings) != 1:
        raise CannotError(f"it takes one number to go on with, and there are {len(readings)}")
    expression = f"{_operand(readings[0])} {clause.operator} {clause.operand}"
    value, about = yield from _calculate(expression)
    unit = readings[0].unit
    return f"{expression} = {amount(value, unit)}.{_about(about, unit)}"


def _said(sentence: str | None, readings: Sequence[Reading]) -> Work:
    if sentence is None:
        raise CannotError(_why_not(readings))
    yield from ()  # no tool is needed, but it is a generator like its siblings
    return sentence


def _paths(folder: str, pattern: str) -> Generator[Uses, tuple[str, ...], list[str]]:
    arguments = {"path": folder} if pattern == "*" else {"path": folder, "pattern": pattern}
    (content,) = yield (ToolUse("list_files", arguments),)
    paths: list[str] = _decoded(content, list[str], "list_files", folder)
    return paths


def _calculate(expression: str) -> Generator[Uses, tuple[str, ...], tuple[str, str]]:
    """The exact value, and an approximate one where the tool gives it (else empty)."""
    (content,) = yield (ToolUse("calculate", {"expression": expression}),)
    value = (json_object(content) or {}).get("value")
    if not isinstance(value, str) or not is_number(value):
        raise _failed("calculate", expression, content)
    approximate = (json_object(content) or {}).get("approx")
    return value, approximate if isinstance(approximate, str) else ""


def _counted(content: str, units: tuple[Unit, ...], path: str) -> str:
    stats = json_object(content) or {}
    counts = {unit: stats.get(unit) for unit in units}
    if not all(isinstance(value, int) for value in counts.values()):
        raise _failed("text_stats", path, content)
    return counts_sentence(path, {unit: int(value or 0) for unit, value in counts.items()})


def _decoded(content: str, kind: Any, tool: str, what: str) -> Any:
    _check(content, tool, what)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise _failed(tool, what, content) from error


def _check(content: str, tool: str, what: str) -> None:
    if content.startswith("Error:"):
        raise _failed(tool, what, content)


def _failed(tool: str, what: str, content: str) -> CannotError:
    said = first_line(content.removeprefix("Error:")).rstrip(".")
    return CannotError(f"the tool {tool} failed for {what}: {said}")


def _sum(group: Sequence[Reading]) -> str:
    return " + ".join(_operand(reading) for reading in group)


def _operand(reading: Reading) -> str:
    return reading.value if reading.value.isdecimal() else f"({reading.value})"


def _about(approximate: str, unit: str) -> str:
    return f"\nThat is about {amount(approximate, unit)}." if approximate else ""


def _place(path: str) -> str:
    return "The root folder" if path == "." else path


def _files(count: int, unit: str) -> str:
    return f"{count} {unit.removesuffix('s') if count == 1 else unit}"


def _why_not(readings: Sequence[Reading]) -> str:
    groups = by_unit(readings, None)
    if not groups:
        return "there are no numbers in the results to work on"
    counted = "; ".join(f"{names(group)} in {unit or 'numbers'}" for unit, group in groups.items())
    return f"there are not two numbers of the same unit to work on ({counted})"
