"""Goals over real files, and what the right answer is, worked out without any of our code."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

NOTICE = "\n\n(stand-in model: rule-based, no LLM)"
WORDS = ("wind", "gale", "sail", "mast", "rope", "tide", "reef", "buoy")
UNITS: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(text.split()),
    "lines": lambda text: len(text.splitlines()),
    "characters": len,
    "bytes": lambda text: len(text.encode()),
}


class Goal(msgspec.Struct, frozen=True):
    """A goal in words, and the whole answer to it."""

    text: str
    answer: str


def write_files(folder: Path, chance: Random, count: int = 8) -> dict[str, str]:
    """Texts of different lengths in every unit; by their paths."""
    texts: dict[str, str] = {}
    for n in range(count):
        lines = [
            " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))
            for _ in range(3 * n + chance.randint(1, 3))
        ]
        texts[f"{chance.choice(('logs', 'notes'))}/{WORDS[n]}.txt"] = "\n".join(lines) + "\n"
    for path, text in texts.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    return texts


def goal(texts: dict[str, str], chance: Random) -> Goal:
    kind = chance.choice((_one, _two, _total, _sum, _search, _listing))
    return kind(texts, chance)


def _count(texts: dict[str, str], path: str, unit: str) -> int:
    return UNITS[unit](texts[path])


def _words(number: int, unit: str) -> str:
    return f"{number:,} {unit if number != 1 else unit[:-1]}"


def _has(texts: dict[str, str], path: str, unit: str) -> str:
    return f"{path} has {_words(_count(texts, path, unit), unit)}."


def _one(texts: dict[str, str], chance: Random) -> Goal:
    path, unit = chance.choice(list(texts)), chance.choice(list(UNITS))
    return Goal(f"Count the {unit} in {path}", _has(texts, path, unit))


def _two(texts: dict[str, str], chance: Random) -> Goal:
    first, second = chance.sample(list(texts), 2)
    counts = {path: _count(texts, path, "words") for path in (first, second)}
    found = [_has(texts, path, "words") for path in (first, second)]
    longer, shorter = sorted(counts, key=lambda path: counts[path], reverse=True)
    if counts[longer] == counts[shorter]:
        return _one(texts, chance)
    said = (
        f"{longer} is longer than {shorter}: {_words(counts[longer], 'words')}"
        f" against {counts[shorter]:,}."
    )
    text = f"Count the words in {first} and in {second}, then say which is longer"
    return Goal(text, "\n".join((*found, said)))


def _total(texts: dict[str, str], chance: Random) -> Goal:
    first, second = chance.sample(list(texts), 2)
    total = sum(_count(texts, path, "words") for path in (first, second))
    found = [_has(texts, path, "words") for path in (first, second)]
    said = f"The total of {first} and {second} is {_words(total, 'words')}."
    text = f"Count the words in {first} and in {second}, then add them"
    return Goal(text, "\n".join((*found, said)))


def _sum(_: dict[str, str], chance: Random) -> Goal:
    a, b, c = (chance.randint(2, 99) for _ in range(3))
    return Goal(f"What is {a} * {b} + {c}?", f"{a} * {b} + {c} = {a * b + c}.")


def _search(texts: dict[str, str], chance: Random) -> Goal:
    path, word = chance.choice(list(texts)), chance.choice(WORDS)
    found = [
        f"  {path}:{n}: {line}"
        for n, line in enumerate(texts[path].splitlines(), 1)
        if word in line
    ]
    if not found or len(found) > 5:
        return _one(texts, chance)
    lines = f"{len(found)} line{'s' if len(found) > 1 else ''}"
    verb = "mentions" if len(found) == 1 else "mention"
    head = f'{path} has {lines} that {verb} "{word}":'
    return Goal(f"Find '{word}' in {path}", "\n".join((head, *found)))


def _listing(texts: dict[str, str], chance: Random) -> Goal:
    folder = chance.choice(sorted({path.split("/")[0] for path in texts}))
    inside = sorted(path for path in texts if path.startswith(f"{folder}/"))
    files = f"{len(inside)} file{'s' if len(inside) > 1 else ''}"
    return Goal(f"List the files in {folder}", f"{folder} has {files}: {', '.join(inside)}.")
