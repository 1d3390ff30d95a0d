"""The numbers that stand in a text, as people write them.

    1,204   1.204   1 204   1'204   12,04,567     ─▶ 1204, 1204 or 1.204, …
    25.6%   25,6 %   25.6 percent                 ─▶ also 0.256
    1.2 million   12.3 KB   12.1 KiB              ─▶ also that many single ones
    about 400                                     ─▶ anything near it

A text that is read for what it says gives every number that may be meant. What it states itself are
whole numbers and decimals that stand alone: not those in names, dates, times, units (`5km`), marks
(`[2]`), code in fences, and the numbering of lists, rows and steps.
"""

import re
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any, Final

import msgspec

DIGITS: Final = 30
"""Longer ones are names."""
EXACT: Final = Context(prec=3 * DIGITS)
NEAR: Final = Decimal("0.15")
"""How far from a round number, as a part of it, "about" reaches; never above half of its last
digit that is no zero."""

# Atomic groups and no possessive ones: `(?:…){0,40}+` goes wrong before Python 3.11.5.
_GAP = "'\u2019 \u00a0\u2009\u202f"
_PLAIN = r"[0-9]{1,31}(?>(?:,[0-9]{3}(?![0-9]))*)(?>(?:\.[0-9]{1,31})?)"
_TOKEN = (
    r"[0-9]{1,31}(?>(?:[.,][0-9]{1,31}){0,40})"
    rf"(?>(?:[{_GAP}][0-9]{{3}}(?![\w/:\\-])){{0,10}})(?>(?:[.,][0-9]{{1,31}})?)"
)
_PERCENT = r"%|per ?cent\b|pct\b|prozent\b|procent\b|pour ?cent\b|por ?cento?\b|por ciento\b"
_SCALES: Final = {
    **dict.fromkeys(("thousand", "tausend", "mille", "mila"), (10**3,)),
    **dict.fromkeys(("million", "millions", "millionen", "mio", "milioni"), (10**6,)),
    **dict.fromkeys(("millones", "milhões"), (10**6,)),
    **dict.fromkeys(("billion", "billions", "milliarden", "mrd", "milliards"), (10**9,)),
    **dict.fromkeys(("kb", "kilobytes"), (10**3, 2**10)),
    **dict.fromkeys(("mb", "megabytes"), (10**6, 2**20)),
    **dict.fromkeys(("gb", "gigabytes"), (10**9, 2**30)),
    "kib": (2**10,),
    "mib": (2**20,),
    "gib": (2**30,),
}
_STATED = re.compile(
    rf"(?<![\w./:#\\-])(?<![0-9],)-?({_TOKEN})(?![\w/:\\\ufe0f\u20e3-])(?!\.[\w/])"
    rf"(?:[ \u00a0\u202f-]?(?:({_PERCENT})|({'|'.join(_SCALES)})\b))?",
    re.IGNORECASE,
)
_SAID = re.compile(_PLAIN)
_SAID_OTHERWISE = re.compile(_TOKEN)
_ENGLISH = re.compile(
    r"(?:[0-9]+|[0-9]{1,31}(?:,[0-9]{3})+|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3})(?:\.[0-9]+)?"
)
_POINTS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?")
_COMMA = re.compile(r"[0-9]+,[0-9]+")
_GAPS = re.compile(rf"[0-9]{{1,3}}(?:[{_GAP}][0-9]{{3}})+(?:[.,][0-9]+)?")
_POINTED = re.compile(r"\..*\.")
_ANY_GAP = re.compile(rf"[{_GAP}]")
_BETWEEN = re.compile(rf"[,{_GAP}]")
_HEDGE = re.compile(
    r"(?:[~≈]|\b(?:about|around|roughly|approximately|approx\.?|nearly|almost|over|under|some|up to"
    r"|(?:more|less|fewer) than|at (?:least|most)|circa|ca\.|environ|pr[eè]s de|plus de|presque"
    r"|etwa|ungef[aä]hr|rund|fast|knapp|[uü]ber|cerca de|casi|quasi|alrededor de|m[aá]s de|oltre))"
    r"[ \u00a0]?[$€£]?-?\Z",
    re.IGNORECASE,
)
_HEDGED = 24
"""Characters before a number in which such a word stands."""

_NO_STATEMENT = re.compile(
    r"\[(?![^\[\]\n]{0,200}(?<![\w-])[0-9]{3})[A-Za-z0-9_, ;^\u2013-]{1,200}\]"  # marks
    r"|【[^】\n]{1,40}】"
    r"|\b(?:task|step|option|part|point|item|phase|question|example) [0-9]{1,4}\b"
    r"|\b(?:task|step|option|part|point|item)s [0-9]{1,4}(?:, [0-9]{1,4}){0,40}"
    r"(?:,? (?:and|or|&) [0-9]{1,4})?\b"
    r"|\b[0-9]{1,2}(?:\.[0-9]{2})? ?(?:[ap]\.?m\b|o['\u2019]clock\b|uhr\b)"
    r"|```(?!(?:jsonl?|csv|tsv|te?xt|plaintext|md|markdown|ya?ml|console|output)\s)[a-z+#]{1,20}\n"
    r"[^`]*```",
    re.IGNORECASE,
)
_NUMBERING = re.compile(
    r"^[ \t>*_#|(+-]{0,20}([0-9]{1,3})(?:\\?[.)](?=[\s*_])|[ \t]{0,20}\|)", re.MULTILINE
)

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS: Final = {
    **{word: n for n, word in enumerate(_ONES)},
    **{ten: 10 * n for n, ten in enumerate(_TENS, 2)},
    **{f"{ten} {_ONES[n]}": 10 * m + n for m, ten in enumerate(_TENS, 2) for n in range(1, 10)},
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
}
_WORD = re.compile(
    rf"\b(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES[1:10])}))?"
    rf"|{'|'.join(_ONES)}|dozen|hundred|thousand)\b"
)


class Stated(msgspec.Struct, frozen=True):
    """A number as a text states it: `text`, and the numbers that it may mean, each with the lowest
    and the highest value (not itself) that may be written so.

    `parts` are the numbers of which it is a list, where it may be one.
    """

    text: str
    meant: tuple[tuple[Decimal, Decimal, Decimal], ...]
    parts: tuple["Stated", ...] = ()


def stated(text: str) -> Iterator[Stated]:
    """What a text states, in order."""
    text = _without_numbering(_NO_STATEMENT.sub(" ; ", text))  # `1[2]100` is not 1 100
    for one in _STATED.finditer(text):
        token, percent, scale = one.groups()
        factors = [Decimal(1)]
        if percent:
            factors.append(Decimal("0.01"))
        factors += map(Decimal, _SCALES[scale.lower()] if scale else ())
        before = text[max(0, one.start() - _HEDGED) : one.start(1)]
        found = _stated(token, factors, hedged=_HEDGE.search(before) is not None)
        if found.meant or found.parts:
            yield found


def numbers(text: str) -> Iterator[Decimal]:
    """Every number that a text may say: in digits, and the smaller ones in words."""
    yield from (number for one in _SAID.findall(text) if (number := decimal(one)) is not None)
    for one in _SAID_OTHERWISE.findall(text):
        yield from values(one) or frozenset().union(
            *map(values, _pieces(one))
        )  # a list, if no form
    said = (word.replace("-", " ") for word in _WORD.findall(text.lower()))
    yield from (Decimal(_WORDS[word]) for word in said)


def values(text: str) -> frozenset[Decimal]:
    """What one number may be that stands alone in a text."""
    return frozenset(number for form in _forms(text) if (number := decimal(form)) is not None)


def decimal(digits: str) -> Decimal | None:
    """Its size; None for what is a name: too long, or with zeros in front (`0012`)."""
    plain = digits.replace(",", "").lstrip("-")
    if re.match(r"0[0-9]{2}", plain):
        return None
    try:
        number = Decimal(plain)
    except ArithmeticError:
        return None
    return number if number.is_finite() and number.adjusted() < DIGITS else None


def _stated(token: str, factors: list[Decimal], *, hedged: bool) -> Stated:
    forms = _forms(token)
    meant: list[tuple[Decimal, Decimal, Decimal]] = []
    for form in forms:
        number = decimal(form)
        if number is not None:
            low, high = _near(number) if hedged and "." not in form else _written(number, form)
            meant += (
                (number * factor, EXACT.multiply(low, factor), EXACT.multiply(high, factor))
                for factor in factors
            )
    parts: tuple[Stated, ...] = ()
    may_be_a_list = _ANY_GAP.search(token) or not _ENGLISH.fullmatch(token)
    pieces = _pieces(token)
    if may_be_a_list and len(pieces) > 1 and not _POINTED.search(token):
        parts = tuple(_stated(one, factors, hedged=False) for one in pieces)
    return Stated(token, tuple(meant), parts)


def _pieces(token: str) -> list[str]:
    """Of what may be a list."""
    return [one for one in _BETWEEN.split(token) if one]


def _forms(token: str) -> list[str]:
    """The ways in which it may be read, each as digits with a point."""
    found: list[str] = []
    if _ENGLISH.fullmatch(token):
        found.append(token.replace(",", ""))
    if _POINTS.fullmatch(token):
        found.append(token.replace(".", "").replace(",", "."))
    elif _COMMA.fullmatch(token) and not _ENGLISH.fullmatch(token):
        found.append(token.replace(",", "."))
    elif _GAPS.fullmatch(token):
        found.append(_ANY_GAP.sub("", token).replace(",", "."))
    return found


def _written(number: Decimal, form: str) -> tuple[Decimal, Decimal]:
    """What is written so: rounded, or cut off behind its last decimal."""
    decimals = len(form.partition(".")[2])
    step = Decimal(1).scaleb(-min(decimals, DIGITS))
    return EXACT.subtract(number, step / 2), EXACT.add(number, step if decimals else step / 2)


def _near(number: Decimal) -> tuple[Decimal, Decimal]:
    """What is about a number: the more zeros it ends with, the wider."""
    digits = str(number)
    zeros = len(digits) - len(digits.rstrip("0"))
    reach = min(Decimal(1).scaleb(zeros) / 2, number * NEAR) if zeros else Decimal("0.5")
    return EXACT.subtract(number, reach), EXACT.add(number, reach)


def _without_numbering(text: str) -> str:
    """Without the numbers that lines begin with, where they are a row: 1, or next to another."""
    there = {int(one) for one in _NUMBERING.findall(text)}

    def kept(found: re.Match[str]) -> str:
        number = int(found[1])
        is_numbering = number <= 1 or number - 1 in there or number + 1 in there
        return " " if is_numbering else found[0]

    return _NUMBERING.sub(kept, text) if there else text


def digits_of(number: Any) -> str:
    """Without an exponent: `1e+20` would state 20. Of a number that is none to anybody, nothing."""
    return f"{Decimal(str(number)):f}" if abs(number) < 10**DIGITS else ""
