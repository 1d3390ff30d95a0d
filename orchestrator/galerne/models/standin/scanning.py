"""Units, files, folders and patterns in one clause of a goal.

`cut` says how far a clause is made of words that the rules know, so that `count the words in a.txt
and translate b.txt` does not count b.txt: from "translate" on it is somebody else's clause.
"""

import re
from collections.abc import Iterator

import msgspec

from galerne.models.standin.clauses import Unit
from galerne.models.standin.lexing import Span, Token, is_separator
from galerne.models.standin.vocabulary import words

PREPOSITIONS = words("in of from inside under within across")
UNIT_WORDS: dict[str, Unit] = {
    "word": "words", "words": "words", "line": "lines", "lines": "lines",
    "character": "characters", "characters": "characters", "chars": "characters",
    "letters": "characters", "byte": "bytes", "bytes": "bytes", "size": "bytes",
}  # fmt: skip
FILE_TYPES = {
    "markdown": "*.md",
    "python": "*.py",
    "text": "*.txt",
    "json": "*.json",
    "yaml": "*.yaml",
    "toml": "*.toml",
}
MARKS = {
    "file": "file", "files": "files", "folder": "folder", "directory": "folder", "dir": "folder",
    "folders": "folder", "directories": "folder", "each": "each", "every": "each", "all": "each",
    "its": "pronoun", "it": "pronoun", "them": "pronoun", "their": "pronoun", "both": "pronoun",
    "these": "pronoun", "those": "pronoun", "they": "pronoun", "total": "total",
    "together": "total", "altogether": "total", "combined": "total", "overall": "total",
}  # fmt: skip
ARTICLES = words("the a an called named file files folder directory both")
FILLERS = words(
    "the a an of in from inside under within across for to are is was were there do does have "
    "has had number numbers amount please me us respectively using with as well on by you "
    "long big large how many much what which count called named contents content text whole "
    "entire up tool text_stats list_files"
)

_OPERATORS = re.compile(r"[\d.+\-*/^%=]+")
_EXTENSION = re.compile(r".+\.[A-Za-z][A-Za-z0-9]{0,9}")
_BARE_NAME = re.compile(r"[A-Z]{4,}|Makefile|Dockerfile|\.{1,2}")


class Places(msgspec.Struct, frozen=True):
    """One group of a clause: its units, then the files that they are asked of."""

    units: tuple[Unit, ...] = ()
    paths: tuple[str, ...] = ()
    pattern: str | None = None
    marks: frozenset[str] = frozenset()

    @property
    def is_folder(self) -> bool:
        """Whether the paths are folders whose files are meant."""
        many = "files" in self.marks and bool(self.marks & {"each", "files in"})
        every = {"each", "file"} <= self.marks
        slash = any(path.endswith("/") for path in self.paths)
        return many or every or slash or self.pattern is not None or "folder" in self.marks


def is_path(token: Token) -> bool:
    """Whether the token can only be a path: quoted, or with an extension or a slash."""
    if token.kind != "word":
        return token.kind == "quoted"
    text = token.text.removesuffix("'s")
    if "*" in text or _OPERATORS.fullmatch(text):
        return _BARE_NAME.fullmatch(text) is not None
    return "/" in text.strip("/") or text.endswith("/") or _is_named(text)


def cut(tokens: Span) -> tuple[Span, Span]:
    """The part of a clause that the rules know, and the rest from the first unknown word on."""
    seen_path = False
    for index, token in enumerate(tokens):
        if token.kind == "mark" or _is_known(token):
            continue
        if is_path(token) or _pattern(tokens, index) or _is_bare_path(tokens, index, seen_path):
            seen_path = True
            continue
        return tokens[:index], tokens[index:]
    return tokens, ()


def scan(tokens: Span) -> tuple[Places, ...]:
    """The groups of a clause that `cut` has let through; at least one."""
    groups: list[Places] = []
    place = Places()
    for kind, value in _readings(tokens):
        if kind == "unit" and (place.paths or place.pattern):
            groups.append(place)
            place = Places()
        place = _with(place, kind, value)
    return (*groups, place)


def scan_loosely(tokens: Span) -> Places:
    """Units and unmistakable paths of a clause whose other words are read elsewhere."""
    paths = tuple(dict.fromkeys(t.text.removesuffix("'s") for t in tokens if is_path(t)))
    units: list[Unit] = [UNIT_WORDS[token.word] for token in tokens if token.word in UNIT_WORDS]
    return Places(units=tuple(dict.fromkeys(units)), paths=paths)


def _readings(tokens: Span) -> Iterator[tuple[str, str]]:
    seen_path = False
    for index, token in enumerate(tokens):
        pattern = _pattern(tokens, index)
        if token.kind == "mark":
            continue
        if pattern:
            folder, slash, name = pattern.rpartition("/")
            whole = "*" in folder or not slash
            yield from (("pattern", pattern),) if whole else (("path", folder), ("pattern", name))
        elif token.word in UNIT_WORDS:
            yield "unit", UNIT_WORDS[token.word]
        elif token.word in MARKS:
            yield "mark", MARKS[token.word]
            if token.word == "files" and _next_word(tokens, index) in PREPOSITIONS:
                yield "mark", "files in"
        elif is_path(token) or _is_bare_path(tokens, index, seen_path):
            seen_path = True
            yield "path", token.text.removesuffix("'s")


def _with(place: Places, kind: str, value: str) -> Places:
    match kind:
        case "unit":
            return msgspec.structs.replace(place, units=_added(place.units, value))
        case "path":
            return msgspec.structs.replace(place, paths=_added(place.paths, value))
        case "pattern":
            return msgspec.structs.replace(place, pattern=value)
        case _:
            return msgspec.structs.replace(place, marks=place.marks | {value})


def _added(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)


def _is_known(token: Token) -> bool:
    word = token.word
    return word in FILLERS or word in MARKS or word in UNIT_WORDS or is_separator(token)


def _is_named(text: str) -> bool:
    return bool(_EXTENSION.fullmatch(text) or _BARE_NAME.fullmatch(text))


def _pattern(tokens: Span, index: int) -> str | None:
    """`*.md`, `.md files`, `markdown files`."""
    token, following = tokens[index], _next_word(tokens, index)
    if token.kind == "quoted":
        return token.text if "*" in token.text and following in {"file", "files"} else None
    if "*" in token.text and not _OPERATORS.fullmatch(token.text):
        return token.text
    if following not in {"file", "files"}:
        return None
    if re.fullmatch(r"\.\w{1,10}", token.text):
        return f"*{token.text}"
    return FILE_TYPES.get(token.word)


def _is_bare_path(tokens: Span, index: int, seen_path: bool) -> bool:  # noqa: FBT001 - private, one caller's state
    """Whether a plain word such as `docs` stands where only a path can stand."""
    token = tokens[index]
    if token.kind != "word" or _is_known(token) or _OPERATORS.fullmatch(token.text):
        return False
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    if after is not None and not _is_known(after):
        return False
    before = index - 1
    while before >= 0 and tokens[before].word in ARTICLES:
        before -= 1
    if before < 0:
        return after is None
    if tokens[before].word in PREPOSITIONS:
        return True
    return seen_path and is_separator(tokens[before])


def _next_word(tokens: Span, index: int) -> str:
    return tokens[index + 1].word if index + 1 < len(tokens) else ""
