"""Arithmetic as people write it → expressions for the `calculate` tool, and ranges of lines.

Nothing is computed here: an expression is only told from other text and put in the tool's signs.
"""

import re

_SIGNS = (
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b"), "-"),
    (re.compile(r"\b(?:times|multiplied by)\b"), "*"),
    (re.compile(r"\bdivided by\b"), "/"),
    (re.compile(r"\bto the power of\b|\^"), "**"),
    (re.compile("\N{MULTIPLICATION SIGN}"), "*"),
    (re.compile("\N{DIVISION SIGN}"), "/"),
    (re.compile("\N{MINUS SIGN}"), "-"),
)
_EXPRESSION = re.compile(r"(?=[^\d]*\d)(?:[\d\s+\-*/().%,]|[a-z_]{1,20}\()+")
_LINES = (
    re.compile(r"^(?:me )?(?:the )?first (?P<lines>\w+ )?lines? (?:of|from|in) ", re.IGNORECASE),
    re.compile(
        r"^(?:me )?(?:the )?lines? (?P<first>\d{1,9})(?: ?(?:-|to|through) ?(?P<last>\d{1,9}))? "
        r"(?:of|from|in) ",
        re.IGNORECASE,
    ),
    re.compile(r"^(?:me )?from line (?P<first>\d{1,9})(?P<open>) (?:of|in) ", re.IGNORECASE),
)
_NUMBER_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def expressions(text: str) -> tuple[str, ...]:
    """The parts of `2 plus 3 and 4 * 5`, in the tool's signs: `2 + 3`, `4 * 5`."""
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    parts = re.split(r";|\band\b", _with_semicolons(text))
    return tuple(part.strip().rstrip("=").strip(" ,") for part in parts if part.strip(" ,"))


def is_expression(text: str) -> bool:
    return _EXPRESSION.fullmatch(text) is not None


def line_range(text: str) -> tuple[int, int | None, int]:
    """First line, how many lines (None: all), and the length of the words that say so.

    (1, None, 0) where the text names no lines.
    """
    for pattern in _LINES:
        match = pattern.match(text)
        if match is None:
            continue
        groups = match.groupdict()
        if "lines" in groups:
            count = _number(groups["lines"])
            return (1, count, match.end()) if count else (1, None, 0)
        first = max(1, int(groups["first"]))
        if "open" in groups:
            return first, None, match.end()
        return first, max(1, int(groups["last"] or first) - first + 1), match.end()
    return 1, None, 0


def _number(word: str | None) -> int | None:
    if word is None:
        return 1
    word = word.strip().lower()
    if word in _NUMBER_WORDS:
        return _NUMBER_WORDS.index(word) + 1
    return int(word) if re.fullmatch(r"[1-9]\d{0,8}", word, re.ASCII) else None


def _with_semicolons(text: str) -> str:
    """The text with each comma outside parentheses replaced: that one parts expressions."""
    depth, characters = 0, list(text)
    for index, character in enumerate(characters):
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            characters[index] = ";"
    return "".join(characters)
