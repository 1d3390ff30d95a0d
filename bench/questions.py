"""Goals for a real model over real files, and what a right answer has to say.

    ships/     generated: captains, harbours, cargoes that no model can know
    records/   copies of this project's decision records, some hundred words each

What is right is worked out here from the texts, in plain Python, and an answer is right when it
says each fact: a number whole and by itself, a name as a word, and none in a sentence that denies
it. Where two files are compared, the other one must not be named before the right one.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from random import Random

import msgspec

PEOPLE = ("Mara", "Jonas", "Ines", "Tobias", "Runa", "Felix", "Alma", "Piet")
PLACES = ("Lisbon", "Bergen", "Gdansk", "Cadiz", "Split", "Tallinn", "Bari", "Nantes")
SHIPS = ("kestrel", "heron", "osprey", "petrel", "gannet", "plover")
FILLER = ("wind", "rope", "tide", "mast", "anchor", "sail", "reef", "harbour", "deck", "chart")
RECORDS = Path(__file__).parents[1] / "docs" / "adr"
_FACT = "\0"
_NOT = re.compile(
    r"(?<![\w/-])(?:not|never|no|none|neither|nor|cannot)(?![\w/-])|n't\b", re.IGNORECASE
)
_WORD = re.compile(r"(?<![\w/-])[a-z]{7,}(?![\w/-])")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, and the facts that its answer has to say.

    Who has read all of `grounds` in results of tools could know the answer (None: the facts).
    `other` must not be named before the first fact.
    """

    goal: str
    facts: tuple[str, ...]
    grounds: tuple[str, ...] | None = None
    other: str | None = None

    def is_right(self, answer: str) -> bool:
        if not all(says(answer, fact) and not denies(answer, fact) for fact in self.facts):
            return False
        if self.other is None or not says(answer, self.other):
            return True
        return answer.index(self.facts[0]) < answer.index(self.other)


class Text(msgspec.Struct, frozen=True):
    """A file of the folder that the goals are about."""

    path: str
    content: str

    @property
    def stem(self) -> str:
        return PurePosixPath(self.path).stem

    @property
    def words(self) -> int:
        return len(self.content.split())

    @property
    def lines(self) -> list[str]:
        return self.content.splitlines()


class Ship(Text, frozen=True):
    """What stands in its file."""

    captain: str
    harbour: str
    tonnes: int


def says(text: str, fact: str) -> bool:
    """Whether a text has the fact as a whole word or number (`1,234` is 1234, `12.0` is 12)."""
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    tail = r"(?:\.0+)?(?!\w|\.\d)" if fact.isdecimal() else r"(?!\w)"
    return re.search(rf"(?<![\w.-]){re.escape(fact)}{tail}", plain) is not None


def denies(text: str, fact: str) -> bool:
    """Whether the sentence that has the fact says "not" outside of it."""
    sentences = re.split(r"(?<=[.!?])\s+", text.replace(fact, _FACT))
    return any(_FACT in one and _NOT.search(one) for one in sentences)


def write_ships(folder: Path, chance: Random) -> list[Ship]:
    """A file a ship in `ships/`, of different lengths."""
    people, places = chance.sample(PEOPLE, len(SHIPS)), chance.sample(PLACES, len(SHIPS))
    (folder / "ships").mkdir()
    made: list[Ship] = []
    for number, name in enumerate(SHIPS):
        tonnes = chance.randint(12, 99) * 10 + chance.randint(1, 9)
        words = [" ".join(chance.choices(FILLER, k=5)) for _ in range(2 * number + 1)]
        head = [f"captain: {people[number]}", f"harbour: {places[number]}", f"cargo: {tonnes} t"]
        content = "\n".join((*head, *words)) + "\n"
        (folder / "ships" / f"{name}.txt").write_text(content)
        made.append(Ship(f"ships/{name}.txt", content, people[number], places[number], tonnes))
    return made


def copy_records(folder: Path) -> list[Text]:
    """The decision records in `records/`."""
    (folder / "records").mkdir()
    made = [Text(f"records/{file.name}", file.read_text()) for file in sorted(RECORDS.iterdir())]
    for text in made:
        (folder / text.path).write_text(text.content)
    return made


class Shelf(msgspec.Struct, frozen=True):
    """The files, and what draws from them."""

    ships: Sequence[Ship]
    records: Sequence[Text]
    chance: Random

    def questions(self, count: int) -> list[Question]:
        """Each kind in turn; those that any text serves for, about ships and records in turn."""
        kinds = (_words, _longer, _sum, _files, _captain, _who, _cargo, _total, _first_line, _lines)
        made: list[Question] = []
        for number in range(count):
            about = self.records if (number // len(kinds) + number) % 2 else self.ships
            made.append(kinds[number % len(kinds)](self, about))
        return made

    def ship(self) -> Ship:
        return self.chance.choice(self.ships)


def _words(shelf: Shelf, about: Sequence[Text]) -> Question:
    text = shelf.chance.choice(about)
    return Question(goal=f"How many words does {text.path} have?", facts=(str(text.words),))


def _lines(shelf: Shelf, about: Sequence[Text]) -> Question:
    text = shelf.chance.choice(about)
    return Question(goal=f"Count the lines of {text.path}.", facts=(str(len(text.lines)),))


def _longer(shelf: Shelf, about: Sequence[Text]) -> Question:
    texts = shelf.chance.sample(about, 2)
    shorter, longer = sorted(texts, key=lambda text: text.words)
    return Question(
        goal=f"Which has more words, {texts[0].path} or {texts[1].path}, and how many?",
        facts=(longer.stem, str(longer.words)),
        grounds=(str(shorter.words), str(longer.words)),
        other=shorter.stem,
    )


def _total(shelf: Shelf, about: Sequence[Text]) -> Question:
    one, other = shelf.chance.sample(about, 2)
    return Question(
        goal=f"Count the words in {one.path} and in {other.path}, and add the two numbers.",
        facts=(str(one.words + other.words),),
        grounds=(str(one.words), str(other.words)),
    )


def _sum(shelf: Shelf, _: Sequence[Text]) -> Question:
    draw = shelf.chance.randint
    a, b, c = draw(120, 980), draw(12, 98), draw(100, 999)
    return Question(goal=f"What is {a} * {b} + {c}?", facts=(str(a * b + c),))


def _files(_: Shelf, about: Sequence[Text]) -> Question:
    folder = PurePosixPath(about[0].path).parent
    return Question(
        goal=f"How many files are in the folder {folder}?",
        facts=(str(len(about)),),
        grounds=tuple(text.stem for text in about),
    )


def _captain(shelf: Shelf, _: Sequence[Text]) -> Question:
    ship = shelf.ship()
    return Question(goal=f"Who is the captain in {ship.path}?", facts=(ship.captain,))


def _who(shelf: Shelf, about: Sequence[Text]) -> Question:
    text = shelf.chance.choice(about)
    rest = " ".join(one.content for one in about if one is not text).lower()
    only = sorted({word for word in _WORD.findall(text.content) if word not in rest})
    word = text.harbour if isinstance(text, Ship) else shelf.chance.choice(only)
    folder = PurePosixPath(text.path).parent
    return Question(goal=f"Which file in the folder {folder} mentions {word}?", facts=(text.stem,))


def _cargo(shelf: Shelf, _: Sequence[Text]) -> Question:
    ship = shelf.ship()
    goal = f"How many tonnes of cargo does {ship.path} name?"
    return Question(goal=goal, facts=(str(ship.tonnes),))


def _first_line(shelf: Shelf, about: Sequence[Text]) -> Question:
    text = shelf.chance.choice(about)
    return Question(goal=f"What is the first line of {text.path}?", facts=(text.lines[0],))
