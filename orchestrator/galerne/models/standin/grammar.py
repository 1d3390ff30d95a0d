"""A goal or an instruction in plain English → the clauses that the rules can work on.

    text --lex--> tokens --split--> one span a clause --read by its verb--> clauses

A clause may lean on earlier ones ("its words", "each of them"), so the reader remembers the files,
listings and places last mentioned. What no rule reads becomes `Unknown`, never a guess.
"""

import re
from collections.abc import Callable, Collection

import msgspec

from galerne.models.standin.asks import cut_asks
from galerne.models.standin.calls import cut_calls
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
from galerne.models.standin.expressions import expressions, is_expression, line_range
from galerne.models.standin.lexing import Span, lex, source, split
from galerne.models.standin.scanning import UNIT_WORDS, Places, cut, scan
from galerne.models.standin.searching import MENTIONS, read_search
from galerne.models.standin.vocabulary import words

LONGEST_TEXT = 20_000
"""Characters of a goal that the rules read at all: reading stays well under a second."""

_MISSING_TOOL = re.compile(r"\s*The tool \w{1,64} is missing\.\s*$")
_POLITE = words(
    "could can would will you i i'd want need like to know me us we let's kindly just again "
    "please then so"
)
_TELLING = words(
    "say tell report give show print find determine decide state return summarise summarize "
    "work present"
)
_REPORTED = words(
    "the a it them these those this result results answer answers number numbers count counts "
    "all both each everything summary finding findings to me us user i know for of and as "
    "back out one line sentence in final value values"
)
_COMPUTING = words("compute calculate evaluate")
_READING = words("read open display show print")
_ASKING = words("which what what's how")
_VERBS = words("count list search grep look compare sum total average difference").union(
    _TELLING, _COMPUTING, _READING, RANKING, ADJUSTING
)
_HOW = words("many long big large often much")
_POSSESSIVES = frozenset({"the", "their", "its"})

_Read = Callable[[Places, Span], tuple[Clause, ...]]


def read_clauses(text: str) -> tuple[Clause, ...]:
    """Every clause of a goal or an instruction, in order, none twice; empty for an empty text."""
    if len(text) > LONGEST_TEXT:
        return (Unknown(text[:200]),)
    text = _MISSING_TOOL.sub("", text.strip())
    text, calls = cut_calls(text)
    text, asks = cut_asks(text)
    left: list[tuple[int, Clause]] = sorted((*calls, *asks), key=lambda one: one[0])
    reader = _Reader(text)
    for span in split(lex(text), _starts):
        while left and left[0][0] < span[0].start:
            reader.clauses.append(left.pop(0)[1])
        reader.read(span)
    return tuple(dict.fromkeys((*reader.clauses, *(one for _, one in left))))


def _starts(tokens: Span) -> bool:
    """Whether a clause begins with these tokens."""
    rest = _without(tokens, _POLITE)
    word, following = (token.word for token in (*rest, *lex("- -"))[:2])
    if word == "how":
        return following in _HOW
    if word in _POSSESSIVES:
        return following in COMBINATIONS or following in COMPARISONS
    return word in _VERBS or word in _ASKING


class _Reader:
    def __init__(self, text: str) -> None:
        self.clauses: list[Clause] = []
        self._text = text
        self._paths: tuple[str, ...] = ()
        self._places: tuple[str, ...] = (".",)
        self._listed: tuple[ListFiles, ...] = ()

    def read(self, span: Span) -> None:
        found = self._read(_without(span, _POLITE) or span)
        for clause in found:
            if isinstance(clause, Compare | Combine | Rank):
                self.clauses.extend(self._uncounted(clause))
            if not isinstance(clause, Count) or not self._is_counted(clause):
                self.clauses.append(clause)
        self._remember(found)

    def _read(self, span: Span) -> tuple[Clause, ...]:
        verb, words = span[0].word, {token.word for token in span}
        asks = verb in _ASKING or verb in _TELLING or verb in {"count", "list"}
        weighs = bool(words & (COMPARISONS.keys() | COMBINATIONS.keys()))
        if verb in {"search", "grep", "look"} or (asks and words & MENTIONS and not weighs):
            return read_search(self._text, span, self._places)
        if verb in _READING and line_range(source(self._text, span[1:]))[2]:
            return self._in_files(span, span[1:], self._read_file)
        if verb in {"count", "how"}:
            return self._in_files(span, _without(span, _VERBS), self._counted)
        if verb == "find" and any(token.kind == "quoted" for token in span[:4]):
            return read_search(self._text, span, self._places)
        if verb == "list" or (asks and "files" in words and not weighs):
            return self._in_files(span, _without(span, _VERBS | _ASKING), _listed)
        if asks and words & UNIT_WORDS.keys() and not weighs:
            return self._in_files(span, _without(span, _TELLING | _ASKING | _POLITE), self._counted)
        return self._told(span) or self._done(span)

    def _told(self, span: Span) -> tuple[Clause, ...]:
        """`tell me which is longer` is `which is longer`; `report the results` is a Report."""
        if span[0].word not in _TELLING:
            return ()
        rest = _without(span[1:], _POLITE | {"out", "whether"})
        if all(token.kind == "mark" or token.word in _REPORTED for token in rest):
            return (Report(),)
        return self._read(rest) if _starts(rest) else ()

    def _done(self, span: Span) -> tuple[Clause, ...]:
        verb = span[0].word
        if verb == "find":
            return read_search(self._text, span, self._places)
        if verb in _READING:
            return self._in_files(span, span[1:], self._read_file)
        dependents = read_dependent(span) if _starts(span) else ()
        return dependents or self._computed(span) or (Unknown(source(self._text, span)),)

    def _in_files(self, span: Span, body: Span, read: _Read) -> tuple[Clause, ...]:
        known, rest = cut(_after_lines(self._text, body))
        clauses = tuple(clause for group in scan(known) for clause in read(group, body))
        if not clauses:
            return (Unknown(source(self._text, span)),)
        return (*clauses, Unknown(source(self._text, rest))) if rest else clauses

    def _counted(self, group: Places, body: Span) -> tuple[Clause, ...]:
        if "files" in group.marks and not group.units:
            return _listed(group, body)
        sized = any(token.word in {"big", "large"} for token in body[:3])
        units: tuple[Unit, ...] = group.units or (("bytes",) if sized else ("words",))
        pronoun = not group.paths and bool(group.marks & {"each", "pronoun"})
        if pronoun and self._listed:
            return tuple(CountEach(units, one.folder, one.pattern) for one in self._listed)
        if group.is_folder:
            folders = (path.rstrip("/") or "/" for path in group.paths or (".",))
            return tuple(CountEach(units, folder, group.pattern or "*") for folder in folders)
        paths = self._paths if pronoun else group.paths
        counts = tuple(Count(units, path) for path in paths)
        both = "total" in group.marks and len(paths) > 1
        return (*counts, Combine("total", None, paths)) if both else counts

    def _read_file(self, group: Places, body: Span) -> tuple[Clause, ...]:
        start, lines, _ = line_range(source(self._text, body))
        paths = group.paths or (self._paths if "pronoun" in group.marks else ())
        return tuple(ReadFile(path, start, lines) for path in paths)

    def _computed(self, span: Span) -> tuple[Clause, ...]:
        if span[0].word not in _COMPUTING | {"what", "what's", "work"}:
            return ()
        body = _without(span[1:], {"is", "out", "the", "value", "result", "of"})
        end = span[-1].end
        if self._text[end : end + 1] == "!":
            return ()  # it may be a factorial, which would be lost
        parts = expressions(source(self._text, body))
        return tuple(Compute(part) if is_expression(part) else Unknown(part) for part in parts)

    def _is_counted(self, count: Count) -> bool:
        return any(
            isinstance(clause, Count)
            and clause.path == count.path
            and set(count.units) <= set(clause.units)
            for clause in self.clauses
        )

    def _uncounted(self, clause: Compare | Combine | Rank) -> tuple[Clause, ...]:
        """Counts that a clause asks for by a unit that nothing before it was counted in."""
        counts = [c for c in self.clauses if isinstance(c, Count | CountEach)]
        if clause.unit is None or any(clause.unit in count.units for count in counts):
            return ()
        return tuple(msgspec.structs.replace(count, units=(clause.unit,)) for count in counts)

    def _remember(self, clauses: tuple[Clause, ...]) -> None:
        paths = tuple(c.path for c in clauses if isinstance(c, Count | ReadFile))
        listed = tuple(c for c in clauses if isinstance(c, ListFiles))
        each = {(c.folder, c.pattern) for c in clauses if isinstance(c, CountEach)}
        idle = {one for one in self._listed if (one.folder, one.pattern) in each}
        # counting each file names it, so a listing just for that would only say it twice
        self.clauses = [clause for clause in self.clauses if clause not in idle]
        if paths or listed:
            self._paths, self._listed = paths, listed
        self._places = tuple(c.path for c in clauses if isinstance(c, Search)) or self._places


def _listed(group: Places, body: Span) -> tuple[Clause, ...]:
    if body and group == Places():
        return ()
    folders = (path.rstrip("/") or "/" for path in group.paths or (".",))
    return tuple(ListFiles(folder, group.pattern or "*") for folder in folders)


def _after_lines(text: str, body: Span) -> Span:
    """The tokens after `the first 10 lines of`."""
    length = line_range(source(text, body))[2]
    return [token for token in body if token.start >= body[0].start + length] if length else body


def _without(tokens: Span, words: Collection[str]) -> Span:
    """The tokens after those at the beginning that are among `words`."""
    begin = 0
    while begin < len(tokens) and tokens[begin].word in words:
        begin += 1
    return tokens[begin:]
