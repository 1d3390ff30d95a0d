"""Words of a goal: quoted text, words and punctuation, and where one clause ends.

A goal such as `Count the words in a.txt and b.txt, then say which is longer` has "and" both
between files and between clauses. So a clause ends only where a comma, a full stop, "and" or
"then" is followed by a word that *starts* a clause (a verb such as "say"). What lies between two
such places is one span, read on its own by the grammar.

Every pattern is bounded, so that reading stays linear in the length of the goal.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from galerne.models.standin.vocabulary import words

TokenKind = Literal["word", "quoted", "mark"]


class Token(msgspec.Struct, frozen=True):
    """A piece of the goal; `start` and `end` are offsets in characters, quotes included."""

    text: str
    start: int
    end: int
    kind: TokenKind

    @property
    def word(self) -> str:
        """The word in lower case; empty for quoted text, which never counts as one."""
        return self.text.lower() if self.kind != "quoted" else ""


Span = Sequence[Token]
CONNECTIVES = words(
    "and then also finally next afterwards after that plus but now first lastly so please or "
    "& secondly thirdly"
)
LOOKAHEAD = 8
"""Tokens that are looked at to tell a clause's beginning: polite words, then its verb."""
BOUNDARIES = frozenset({",", ";", ".", "?", "!", ":", "\n"})

_TOKEN = re.compile(
    r"(?:^|(?<=\n))[ \t]{0,20}(?P<bullet>[-*\u2022]|#{1,6}|\d{1,3}[.)])(?=[ \t])"
    r'|"(?P<double>[^"\n]{1,300})"'
    r"|“(?P<curly>[^”\n]{1,300})”"
    r"|`(?P<back>[^`\n]{1,300})`"
    r"|(?<!\w)'(?P<single>[^'\n]{1,300})'(?!\w)"
    r"|(?P<mark>[,;:?!()\n])"
    r"|(?P<word>[^\s,;:?!()\"“”`]+)"
)
_QUOTES = ("double", "curly", "back", "single")


def lex(text: str) -> tuple[Token, ...]:
    """Cut `text` into tokens; a full stop at the end of a word is a mark of its own."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        group = match.lastgroup or "word"
        if group in _QUOTES:
            tokens.append(Token(match.group(group), start, end, "quoted"))
        elif group == "bullet":
            tokens.append(Token("\n", start, end, "mark"))
        elif group == "mark":
            tokens.append(Token(match.group(), start, end, "mark"))
        else:
            apart = start == 0 or text[start - 1].isspace()
            tokens.extend(
                _word_tokens(match.group(), start) if apart else _stops(match.group(), start)
            )
    return tuple(tokens)


def split(tokens: Span, starts: Callable[[Span], bool]) -> tuple[Span, ...]:
    """Cut tokens into spans, one a clause; `starts` says whether a clause begins with them.

    Marks and connectives at the edges of a span are dropped.
    """
    inner = [
        index
        for index in range(1, len(tokens))
        if _is_boundary(tokens[index - 1])
        and not _is_boundary(tokens[index])
        and starts(tokens[index : index + LOOKAHEAD])
    ]
    cuts = (0, *inner, len(tokens))
    spans = [_trim(tokens[begin:end]) for begin, end in pairwise(cuts)]
    return tuple(span for span in spans if span)


def source(text: str, tokens: Span) -> str:
    """The characters that a span was read from, as they stand in the goal."""
    return text[tokens[0].start : tokens[-1].end] if tokens else ""


def is_separator(token: Token) -> bool:
    """Whether the token stands between two things of one list."""
    return token.kind == "mark" or token.word in CONNECTIVES


def _is_boundary(token: Token) -> bool:
    return token.text in BOUNDARIES if token.kind == "mark" else token.word in CONNECTIVES


def _trim(tokens: Span) -> Span:
    begin, end = 0, len(tokens)
    while begin < end and _is_boundary(tokens[begin]):
        begin += 1
    while end > begin and _is_boundary(tokens[end - 1]):
        end -= 1
    return tokens[begin:end]


def _word_tokens(word: str, start: int) -> tuple[Token, ...]:
    bare = word.rstrip(".")
    if bare == word or not bare or bare.endswith("/"):
        return (Token(word, start, start + len(word), "word"),)
    middle = start + len(bare)
    stop = Token(".", middle, start + len(word), "mark")
    return (Token(bare, start, middle, "word"), stop)


def _stops(word: str, start: int) -> tuple[Token, ...]:
    """A word right after a quotation mark or a bracket: dots alone are a full stop there."""
    if word.strip("."):
        return _word_tokens(word, start)
    return (Token(".", start, start + len(word), "mark"),)
