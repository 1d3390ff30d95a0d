"""Reading a clause that looks for a text: what to look for, and where."""

from collections.abc import Collection

from galerne.models.standin.clauses import Clause, Search, Unknown
from galerne.models.standin.lexing import Span, source
from galerne.models.standin.scanning import PREPOSITIONS, cut, scan
from galerne.models.standin.vocabulary import words

MENTIONS = words(
    "mention mentions mentioning mentioned contain contains containing match matches matching "
    "appear appears appearing occur occurs occurring occurrences times found include includes "
    "including"
)
_BEFORE_TEXT = words(
    "mention mentions mentioning contain contains containing match matches matching include "
    "includes including occurrences for"
)
_AFTER_TEXT = words("mentioned appear appears occur occurs found appearing occurring")
_NOUNS = words("the a an word words text string phrase name of line lines that all")
_VERBS = words("search grep look find for is does do are")


def read_search(text: str, span: Span, usual: tuple[str, ...]) -> tuple[Clause, ...]:
    """Search clauses, one for each place; Unknown where there is nothing to look for.

    `usual` are the places of a clause that names none.
    """
    wanted, places = _wanted(span)
    if not wanted:
        return (Unknown(source(text, span)),)
    known, rest = cut(places)
    group = scan(known)[-1]
    pattern = group.pattern or "*"
    paths = group.paths or ((".",) if group.pattern else usual)
    found: list[Clause] = [Search(_source_of(text, wanted), path, pattern) for path in paths]
    if rest:
        found.append(Unknown(source(text, rest)))
    return tuple(found)


def _source_of(text: str, wanted: Span) -> str:
    """The text looked for: a quoted one without its quotes, words as they stand."""
    return wanted[0].text if wanted[0].kind == "quoted" else source(text, wanted)


def _wanted(span: Span) -> tuple[Span, Span]:
    """The tokens of what is looked for, and those that say where."""
    for index, token in enumerate(span):
        if token.kind == "quoted":
            return span[index : index + 1], _places(span[:index], span[index + 1 :])
    begin = _text_begins(span)
    end = _find(span, begin, PREPOSITIONS | _AFTER_TEXT)
    while begin < end - 1 and span[begin].word in _NOUNS:
        begin += 1
    return span[begin:end], _places(span[:begin], span[end:])


def _text_begins(span: Span) -> int:
    markers = [index for index, token in enumerate(span) if token.word in _BEFORE_TEXT]
    if markers:
        return markers[-1] + 1
    verb = _find(span, 0, _VERBS)
    return verb + 1 if verb < len(span) else len(span)


def _places(before: Span, after: Span) -> Span:
    """What follows the text, from its first preposition on; else what stands before it."""
    start = _find(after, 0, PREPOSITIONS)
    if start < len(after):
        return after[start:]
    start = _find(before, 0, PREPOSITIONS)
    if start < len(before):
        return before[start : _find(before, start, MENTIONS | _VERBS | {"that", "which"})]
    if before and before[0].word in _VERBS:
        return before[1 : _find(before, 1, _VERBS)]
    return ()


def _find(span: Span, begin: int, words: Collection[str]) -> int:
    for index in range(begin, len(span)):
        if span[index].word in words:
            return index
    return len(span)
