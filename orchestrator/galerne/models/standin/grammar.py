"""A goal or an instruction in plain English → the clauses that the rules can work on.

    text --lex--> tokens --split--> one span a clause --read by its verb--> clauses

A clause may lean on earlier ones ("its words", "each of them"), so the reader remembers the files
and the listing last mentioned. What no rule reads becomes `Unknown`, never a guess.
"""

import re
from collections.abc import Callable

from galerne.models.standin.clauses import (
    COMPARISONS,
    Clause,
    Combine,
    Compare,
    Compute,
    Count,
    CountEach,
    ListFiles,
    Rank,
    ReadFile,
    Report,
    Search,
    Unit,
    Unknown,
)
from galerne.models.standin.dependents import ADJUSTING, COMBINATIONS, RANKING, read_dependent
from galerne.models.standin.lexing import Span, lex, source, split
from galerne.models.standin.scanning import Places, cut, scan
from galerne.models.standin.searching import MENTIONS, read_search

LONGEST_TEXT = 20_000
"""Characters of a goal that the rules read at all: reading stays well under a second."""

_MISSING_TOOL = re.compile(r"\s*The tools? [\w, -]{1,400} (?:is|are) missing\.\s*$")
_POLITE = frozenset(
    "could can would will you i i'd want need like to know me us we let's kindly just again please "
    "then so the's".split()
)
_TELLING = frozenset(
    "say tell report give show print find determine decide state return summarise summarize "
    "summary work present".split()
)
_REPORTED = frozenset(
    "the a it them these those this result results answer answers number numbers count counts all "
    "both each everything summary finding findings to me us user i know for of and as back out "
    "one line sentence in final value values".split()
)
_COMPUTING = frozenset("compute calculate evaluate".split())
_READING = frozenset("read open display show print".split())
_VERBS = (
    _TELLING
    | _COMPUTING
    | _READING
    | RANKING
    | ADJUSTING.keys()
    | frozenset("count list search grep look compare sum which total average difference".split())
)
_HOW = frozenset("many long big large often much".split())
_POSSESSIVES = frozenset({"the", "their", "its"})


def read_clauses(text: str) -> tuple[Clause, ...]:
    """Every clause of a goal or an instruction, in order, none twice; empty for an empty text."""
    text = _MISSING_TOOL.sub("", text[: LONGEST_TEXT + 1].strip())
    if len(text) > LONGEST_TEXT:
        return (Unknown(text[:200]),)
    reader = _Reader(text)
    for span in split(lex(text), _starts):
        reader.read(span)
    return tuple(dict.fromkeys(reader.clauses))


def _starts(tokens: Span) -> bool:
    """Whether a clause begins with these tokens."""
    rest = _without(tokens, _POLITE)
    if not rest:
        return False
    word, following = rest[0].word, rest[1].word if len(rest) > 1 else ""
    if word == "how":
        return following in _HOW
    if word in {"what", "what's"}:
        return True
    if word in _POSSESSIVES:
        return following in COMBINATIONS or following in COMPARISONS
    return word in _VERBS


class _Reader:
    def __init__(self, text: str) -> None:
        self.clauses: list[Clause] = []
        self._text = text
        self._paths: tuple[str, ...] = ()
        self._listed: ListFiles | None = None

    def read(self, span: Span) -> None:
        for clause in self._read(_without(span, _POLITE) or span):
            self._remember(clause)
            if isinstance(clause, Count) and self._is_counted(clause):
                continue
            if isinstance(clause, CountEach) and self.clauses[-1:] == [self._listed]:
                self.clauses.pop()  # the count names every file, so a listing before it is idle
            self.clauses.append(clause)

    def _read(self, span: Span) -> tuple[Clause, ...]:
        verb, words = span[0].word, {token.word for token in span}
        if verb in {"search", "grep", "look"} or self._is_search(verb, words):
            return read_search(self._text, span)
        if verb in {"count", "how"}:
            return self._count(span)
        if verb == "list" or (verb in {"which", "what", "show"} and "files" in words):
            return self._list(span[1:]) if not words & COMPARISONS.keys() else self._other(span)
        if verb in _TELLING and (told := self._told(span)):
            return told
        if verb == "find":
            return read_search(self._text, span)
        if verb in _READING:
            return self._files(span, self._read_file)
        return read_dependent(span) or self._computed(span) or self._other(span)

    def _is_search(self, verb: str, words: set[str]) -> bool:
        return verb in {"count", "how", "which", "what"} and bool(words & MENTIONS)

    def _other(self, span: Span) -> tuple[Clause, ...]:
        if span[0].word in {"which", "what"} or span[0].word in COMBINATIONS:
            return read_dependent(span) or (Unknown(source(self._text, span)),)
        return (Unknown(source(self._text, span)),)

    def _told(self, span: Span) -> tuple[Clause, ...]:
        """`tell me which is longer` is `which is longer`; `report the results` is a Report."""
        rest = _without(span[1:], _POLITE | {"out", "whether"})
        if all(token.kind == "mark" or token.word in _REPORTED for token in rest):
            return (Report(),)
        if _starts(rest) or (rest[0].word in _POSSESSIVES and _starts(rest[1:])):
            return self._read(rest)
        return ()

    def _count(self, span: Span) -> tuple[Clause, ...]:
        return self._files(span, self._counted)

    def _list(self, span: Span) -> tuple[Clause, ...]:
        return self._files(span, _listed)

    def _files(
        self, span: Span, read: Callable[[Places, Span], tuple[Clause, ...]]
    ) -> tuple[Clause, ...]:
        body = span if span[:1] and span[0].word == "how" else _without(span, _VERBS)
        known, rest = cut(_after_lines(self._text, body))
        clauses = [clause for group in scan(known) for clause in read(group, body)]
        if not clauses:
            return (Unknown(source(self._text, span)),)
        return (*clauses, Unknown(source(self._text, rest))) if rest else tuple(clauses)

    def _counted(self, group: Places, body: Span) -> tuple[Clause, ...]:
        if "files" in group.marks and not group.units:
            return _listed(group, body)
        sized = bool({"big", "large"} & {token.word for token in body[:3]})
        units: tuple[Unit, ...] = group.units or (("bytes",) if sized else ("words",))
        if group.is_folder:
            pattern = group.pattern or "*"
            return tuple(CountEach(units, path, pattern) for path in group.paths or (".",))
        if not group.paths and self._listed and group.marks & {"each", "pronoun"}:
            return (CountEach(units, self._listed.folder, self._listed.pattern),)
        paths = group.paths or (self._paths if group.marks & {"each", "pronoun"} else ())
        counts = tuple(Count(units, path) for path in paths)
        both = "total" in group.marks and len(paths) > 1
        return (*counts, Combine("total", None, paths)) if both else counts

    def _read_file(self, group: Places, body: Span) -> tuple[Clause, ...]:
        start, lines = _line_range(source(self._text, body))
        paths = group.paths or (self._paths if "pronoun" in group.marks else ())
        return tuple(ReadFile(path, start, lines) for path in paths)

    def _computed(self, span: Span) -> tuple[Clause, ...]:
        if span[0].word not in _COMPUTING | {"what", "what's", "work"}:
            return ()
        body = _without(span, _COMPUTING | {"what", "what's", "is", "work", "out", "the", "of"})
        end = body[-1].end if body else 0
        if not body or self._text[end : end + 1] == "!":
            return ()  # a factorial, not enthusiasm, for all that can be known
        parts = _expressions(source(self._text, body))
        return tuple(Compute(part) if _is_expression(part) else Unknown(part) for part in parts)

    def _is_counted(self, count: Count) -> bool:
        return any(
            isinstance(clause, Count)
            and clause.path == count.path
            and set(count.units) <= set(clause.units)
            for clause in self.clauses
        )

    def _remember(self, clause: Clause) -> None:
        match clause:
            case Count(_, path) | ReadFile(path):
                self._listed = None
                new = self._paths if self.clauses and self.clauses[-1] != clause else ()
                self._paths = tuple(dict.fromkeys((*new, path)))
            case ListFiles():
                self._listed = clause
            case Compare() | Combine() | Rank() | Search() | CountEach():
                pass
            case _:
                pass


def _listed(group: Places, _body: Span) -> tuple[Clause, ...]:
    return tuple(ListFiles(path, group.pattern or "*") for path in group.paths or (".",))
