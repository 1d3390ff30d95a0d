"""How many tokens a text has, without a tokenizer: no fewer than it says, or no more.

`at_most` is for what must fit. A token of Mistral's is three characters of English prose or more,
but a single digit, and down to one byte of a script that the tokenizer hardly knows; so each kind
of character has a price of its own, and a text costs their sum, or a third of its length where
that is more. The prices are upper ends of what mistral-common counts for the tokenizers v1, v2, v3,
v7 and Tekken; the tests hold them against it.

`at_least` is for what must have been read. A token never spans two words, and no more than three
digits, in these and in the other common byte-pair tokenizers; so so many there are, whichever
model really answers.
"""

import re
from math import ceil

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_NO_WORD = re.compile(r"[a-z]{17,}|[A-Z]{9,}")
_LOOSE_SPACE = re.compile(r" +(?![A-Za-z ])")
_KNOWN_SCRIPTS: tuple[tuple[re.Pattern[str], float], ...] = (
    (re.compile(r"[\u0400-\u045f]"), 1.0),  # Cyrillic
    (re.compile(r"[\u0370-\u03ff\u0590-\u06ff]"), 1.2),  # Greek, Hebrew, Arabic
    (re.compile(r"[\u00a0-\u017f]"), 1.6),  # Latin with accents
    (re.compile(r"[\u0900-\u097f\u0e00-\u0e7f]"), 1.6),  # Devanagari, Thai
    (re.compile(r"[\u2000-\u206f\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3]"), 2.0),  # CJK
)
"""Letters that have tokens of their own for the most part; any other costs each of its bytes."""
_WORD = re.compile(r"[A-Za-z]+")
_DIGITS = re.compile(r"[0-9]{1,3}")

_LOWER = bytes(range(ord("a"), ord("z") + 1))
_UPPER = bytes(range(ord("A"), ord("Z") + 1))
_SPACE = b" "
_NOT_ASCII = bytes(range(0x80, 0x100))
_LETTERS_A_TOKEN = 3.0
_SPACES_A_TOKEN = 16


def at_most(text: str) -> int:
    """Tokens that `text` has at the most; characters ÷ 3 at least."""
    data = text.encode(errors="surrogatepass")
    size = len(data)
    lower, upper = size - _without(data, _LOWER), size - _without(data, _UPPER)
    spaces = size - _without(data, _SPACE)
    other = size - lower - upper - spaces - (size - _without(data, _NOT_ASCII))
    words = len(_PIECE.findall(text)) + 0.15 * lower + 0.6 * upper
    words += 0.5 * sum(map(len, _NO_WORD.findall(text)))
    blanks = len(_LOOSE_SPACE.findall(text)) + spaces / _SPACES_A_TOKEN
    foreign = 0.0 if text.isascii() else _foreign(text)
    tokens = max(words + other + blanks + foreign, len(text) / _LETTERS_A_TOKEN)
    return ceil(tokens) + bool(text)  # SentencePiece puts a blank in front


def at_least(text: str) -> int:
    """Tokens that `text` has at the least; never more than a quarter of its characters."""
    joined = 0 if text.isascii() else len(text) - len(text.encode("ascii", errors="ignore"))
    parts = len(_WORD.findall(text)) + len(_DIGITS.findall(text)) - joined
    return max(0, min(parts, len(text) // 4))


def _without(data: bytes, characters: bytes) -> int:
    return len(data.translate(None, characters))


def _foreign(text: str) -> float:
    """The price of what is not ASCII."""
    known = 0.0
    rest = "".join(character for character in text if not character.isascii())
    for script, price in _KNOWN_SCRIPTS:
        before = len(rest)
        rest = script.sub("", rest)
        known += price * (before - len(rest))
    return known + len(rest.encode(errors="surrogatepass"))
