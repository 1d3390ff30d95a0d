"""What makes an answer doubtful, and what is asked then."""

from typing import Any

import msgspec
import pytest

from galerne.messages.plan import Succeeded
from galerne_agents.checks import Accepted, Evidence, Fault
from galerne_agents.doubts import (
    DENIES,
    DOUBT,
    HOW_MANY,
    REPEATS,
    REPEATS_BUT_LOOKED,
    better,
    echoes,
    not_denied,
    not_repeated,
    weighed,
    with_its_number,
)


def test_numbers_that_no_result_says_are_named_and_asked_back() -> None:
    results = {"1": {"words": 388}, "2": '{"words": 314}'}
    answer = weighed("302 words", Evidence(results=results))
    assert answer == Accepted("302 words", ("302",), DOUBT.format("302"))
    assert answer.result == Succeeded("302 words", ("302",))
    assert weighed("702 words", Evidence(results=results)).result == "702 words"
    assert weighed("702 words", Evidence(results=results, doubtful=("702",))).unsupported == (
        "702",
    )
    assert weighed("500 words", Evidence(results=results, words=("Has it 500?",))).say == ""


@pytest.mark.parametrize(("closing", "say"), [(False, ""), (True, DOUBT.format("7"))])
def test_who_has_only_texts_may_rate_them(closing: bool, say: str) -> None:
    evidence = Evidence(results={"1": "A lively book."}, closing=closing)
    assert weighed(
        "7 of 10", msgspec.structs.replace(evidence, words=("from 1 to 10",))
    ) == Accepted("7 of 10", ("7",), say)


def test_what_nothing_was_looked_at_for_is_the_models_own_word() -> None:
    assert weighed("A tale of 7 pirates", Evidence()) == Accepted("A tale of 7 pirates")


def test_what_was_given_is_asked_back_as_it_stands() -> None:
    given = Evidence(results={"1": {"words": 388}, "2": {"words": 314}})
    for value in ('{"words": 314}', {"words": 314}, '## 2\n{"words":314}'):
        assert not_repeated(Accepted(value), given) == Accepted(value, say=REPEATS.format("2"))
    for taken in (Accepted("314"), Accepted({"words": 702}), Accepted({"words": 314}, say="x")):
        assert not_repeated(taken, given) == taken
    alone = Evidence(results={"1": ["a.txt"]})
    looked = msgspec.structs.replace(alone, calls=("a line",))
    listed = msgspec.structs.replace(alone, calls=('["a.txt"]',))
    says = [not_repeated(Accepted(["a.txt"]), one).say for one in (alone, looked, listed)]
    assert says == ["", REPEATS_BUT_LOOKED.format("1", "a line"), ""]
    nothing = Evidence(results={"1": [], "2": []})
    assert not_repeated(Accepted("[]"), nothing).say == "", "both may well be empty"


@pytest.mark.parametrize(
    ("goal", "text", "asks"),
    [
        ("Which is longer, and how many words has it?", "The first one is.", True),
        ("Combien de mots ?", "Beaucoup.", True),
        ("Wie viele Wörter?", "Viele.", True),
        ("How many files are there?", "There are none.", False),
        ("How many files are there?", "Twelve.", False),
        ("How many files are there?", "It has 7.", False),
        ("Which is longer?", "The first one is.", False),
        ("How many files are there?", "There is one.", False),
        ("How many files are there?", "One file.", False),
        ("How many files are there?", "Thirteen, or twenty-one.", False),
        ("Wie viele Dateien?", "Keine.", False),
        ("Combien de mots ?", "Trois.", False),
        ("How much does it cost?", "The results do not say.", False),
        ('Translate "How many apples?" into German', "Welche Äpfel?", False),
    ],
)
def test_who_is_asked_how_many_says_a_number(goal: str, text: str, asks: bool) -> None:
    results = ("a text", {"words": 7})
    assert with_its_number(Accepted(text), goal, results).say == (HOW_MANY if asks else "")
    assert with_its_number(Accepted({"no": "text"}), goal, results).say == ""
    assert with_its_number(Accepted(text), goal, ["a text"]).say == "", "it would be made up"


def test_an_answer_of_what_was_told_is_known_by_its_beginning() -> None:
    told = REPEATS_BUT_LOOKED.format("1", "# a line")
    assert echoes(f'The first line is "{told}"', [told])
    assert echoes(told.replace("\n", " "), [DOUBT.format("7"), told])
    assert not echoes("The first line is # a line", [told])
    assert not echoes("", [])


def test_who_stands_by_the_numbers_that_it_was_asked_about_is_no_echo() -> None:
    primes = "2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59"
    assert not echoes(f"{primes} are the primes.", [DOUBT.format(primes)])


def test_a_rating_is_marked_in_the_jobs_answer_and_not_asked_about_again() -> None:
    rated = Evidence(results={"1": "7 of 10, lively"}, doubtful=("7",), closing=True)
    assert weighed("7 of 10", rated) == Accepted("7 of 10", ("7",))
    assert weighed("8 of 10", rated).say == DOUBT.format("8")


def test_a_mark_of_a_task_is_none_of_its_numbers() -> None:
    evidence = Evidence(results={"100": {"words": 388}, "101": "b"}, closing=True)
    assert weighed("388 words [100], [100, 101].", evidence) == Accepted(
        "388 words [100], [100, 101]."
    )


def test_of_two_answers_the_second_stands_where_it_is_no_worse() -> None:
    sure, one, two = Accepted("a"), Accepted("b", ("1",)), Accepted("c", ("1", "2"))
    assert better(one, sure) is sure
    assert better(one, Accepted("d", ("3",))).value == "d"
    assert better(one, two) is one
    assert better(sure, one) is one, "it was asked for something else"
    assert better(one, Fault("x", "y")) is one


EMPTY: list[Any] = []
LISBON = "Which file in the folder ships mentions Lisbon?"


@pytest.mark.parametrize(
    ("answer", "goal", "results", "asks"),
    [
        ("ships/a.txt does not mention Lisbon.", LISBON, ["ships/a.txt"], True),
        ("No file does.", LISBON, ["ships/a.txt", {"lines": 7}], True),
        ("Nobody is named.", "Who is the captain of a.txt?", ["captain: Mara"], True),
        ("Keine Datei.", "Welche Datei nennt Bari?", ["a.txt"], True),
        ("No, not one. It is nowhere, so no file does.", LISBON, ["ships/a.txt"], True),
        ("ships/a.txt mentions it.", LISBON, ["ships/a.txt"], False),
        ("ships/a.txt does, not b.txt.", LISBON, ["ships/a.txt"], False),
        ("ships/a.txt does. b.txt does not.", LISBON, ["ships/a.txt"], False),
        ("ships/a.txt is it.\n\n(a model of rules, no LLM)", LISBON, ["ships/a.txt"], False),
        ("It is why-not/no-one.txt.", LISBON, ["why-not/no-one.txt"], False),
        ('It begins with "No wind".', "What is the first line?", ["wind"], False),
        ("No file does.", LISBON, [EMPTY], False),
        ("No file does.", LISBON, [""], False),
        ("No file does.", LISBON, ["a.txt", {"matches": EMPTY}], False),
        ("No file does.", LISBON, [{"matches": 0}], False),
        ("No file does.", LISBON, ["Lisbon is not mentioned"], False),
        ("No file does.", LISBON, ["(failed: no route)"], False),
        ("a.txt is not longer.", "Is a.txt longer than b.txt?", [{"words": 1}], False),
        ("a.txt does not.", "Which file does not mention Bari?", ["a.txt"], False),
        ({"file": "none"}, LISBON, ["ships/a.txt"], False),
        (f"{'It has this and that. ' * 20}It is not long.", LISBON, ["ships/a.txt"], False),
    ],
)
def test_who_asks_which_is_not_told_that_there_is_none_where_no_result_says_so(
    answer: Any, goal: str, results: list[Any], asks: bool
) -> None:
    said = not_denied(Accepted(answer), goal, results)
    assert (said.value, bool(said.say), said.afresh, len(said.unsupported)) == (
        *(answer, asks),
        *(asks, int(asks)),
    )
    assert not_denied(said, goal, results) == said


def test_a_denial_is_asked_about_with_the_last_result_and_named() -> None:
    said = not_denied(Accepted("a.txt does not mention it."), LISBON, [["a.txt"], "a.txt\nb"])
    assert said.unsupported == ("not mention",)
    assert said.say == DENIES.format("not mention", "a.txt b")
    assert not_denied(Accepted("It isn\u2019t there."), LISBON, ["a"]).unsupported == (
        "isn\u2019t there",
    )
