"""Clauses written as the instruction of a task.

The planner's rules write each clause with `phrase`; the executor's rules read that sentence with
the grammar that also reads goals, so the two undo each other.
"""

import re

from galerne.models.standin.clauses import (
    COMPARATIVES,
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
    Operator,
    Rank,
    ReadFile,
    Report,
    Search,
    Unknown,
    listing,
)
from galerne.models.standin.lexing import lex
from galerne.models.standin.scanning import Places, cut, scan

_SIMPLE = re.compile(r"[A-Za-z0-9_~./@%+-]*[A-Za-z0-9_]")


def phrase(clause: Clause) -> str:
    """The clause as one English sentence that the grammar reads back as the same clause."""
    match clause:
        case Count(units, path):
            return f"Count the {listing(units)} of {quote(path)}."
        case CountEach(units, folder, pattern):
            return f"Count the {listing(units)} of each {_files(pattern, 1)} in {quote(folder)}."
        case ListFiles(folder, pattern):
            return f"List the {_files(pattern, 2)} in {quote(folder)}."
        case Search(text, path, pattern):
            among = "" if pattern == "*" else f" the {_files(pattern, 2)} of"
            return f"Search for {quote(text, always=True)} in{among} {quote(path)}."
        case ReadFile(path, start, lines):
            return f"Read {_lines(start, lines)}{quote(path)}."
        case Compute() | Call() | Ask():
            return _spelled_out(clause)
        case Adjust(operator, operand):
            return _adjust(operator, operand)
        case Compare() | Combine() | Rank():
            return _dependent(clause)
        case Report() | Unknown():
            return clause.text if isinstance(clause, Unknown) else "Report the results."


def _spelled_out(clause: Compute | Call | Ask) -> str:
    match clause:
        case Compute(expression):
            return f"Compute {expression}."
        case Call(tool, arguments, told):
            return f"Call {tool} with {arguments}{' and say what it answers' if told else ''}."
        case Ask(question):
            return f"Ask me {question}?"


def quote(text: str, *, always: bool = False) -> str:
    """The text as one token of the grammar: as it stands where that is safe, else in quotes."""
    if not always and _SIMPLE.fullmatch(text) and _is_read_as_path(text):
        return text
    if '"' not in text:
        return f'"{text}"'
    return f"`{text}`" if "`" not in text else f"“{text}”"


def _is_read_as_path(text: str) -> bool:
    known, rest = cut(lex(f"of {text}"))
    return not rest and scan(known) == (Places(paths=(text,)),)


def _dependent(clause: Dependent) -> str:
    by = f", by {clause.unit}" if clause.unit else ""
    match clause:
        case Compare(word):
            the = "the " if word not in COMPARATIVES.values() else ""
            verb = "has" if COMPARISONS[word] in {"many", "few"} else "is"
            return f"Say which {verb} {the}{word}{by}."
        case Combine(how):
            return f"Calculate the {how} of the results{by}."
        case Rank(first):
            other = "least" if first == "most" else "most"
            return f"Rank the results from {first} to {other}{by}."


def _adjust(operator: Operator, operand: str) -> str:
    match operator:
        case "+":
            return f"Add {operand} to the result."
        case "-":
            return f"Subtract {operand} from the result."
        case "*":
            return f"Multiply the result by {operand}."
        case "/":
            return f"Divide the result by {operand}."


def _files(pattern: str, count: int) -> str:
    noun = "file" if count == 1 else "files"
    if pattern == "*":
        return noun
    plain = scan(lex(f"{pattern} {noun}"))[0].pattern == pattern
    return f"{pattern if plain else quote(pattern, always=True)} {noun}"


def _lines(start: int, lines: int | None) -> str:
    if lines is None:
        return "" if start == 1 else f"from line {start} of "
    if start == 1:
        return "the first line of " if lines == 1 else f"the first {lines} lines of "
    return f"lines {start} to {start + lines - 1} of "
