"""Messages recorded once and read for ever: a renamed, dropped or retyped field fails here.

Each file of `recorded/v1` is one message as it stands on the bus. `recorded_messages.EXPECTED` says
what it means. Readers must also ignore fields that they do not know, so that a fleet can be
upgraded one process at a time.
"""

import copy
import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

import galerne.messages
from contract.recorded_messages import EXPECTED, FACTS, load, recorded_names
from galerne.messages.chat import ChatReply, ChatRequest, OneTool, ToolSchema
from galerne.messages.codec import decode_fact, encode
from galerne.messages.facts import AnyFact
from galerne.messages.subjects import JobAddress, Subjects, TaskAddress

SUBJECTS = Subjects("galerne", partitions=8)
NOT_ON_THE_BUS = {ChatRequest, ChatReply, ToolSchema, OneTool, JobAddress, TaskAddress}
"""Structs that functions hand to each other inside a process."""

every_recording = pytest.mark.parametrize("name", sorted(EXPECTED))
every_fact = pytest.mark.parametrize("name", sorted(FACTS))


def test_every_file_has_its_meaning_and_every_meaning_its_file() -> None:
    assert recorded_names() == sorted(EXPECTED)


@every_recording
def test_decodes_to_what_it_meant(name: str) -> None:
    recording = load(name)
    assert EXPECTED[name].decode(msgspec.json.encode(recording.message)) == EXPECTED[name].meaning


@every_recording
def test_encodes_to_the_same_json(name: str) -> None:
    message = load(name).message
    decoded = EXPECTED[name].decode(msgspec.json.encode(message))
    assert msgspec.json.decode(encode(decoded)) == message


@every_recording
def test_unknown_fields_are_ignored_at_every_level(name: str) -> None:
    meaning = EXPECTED[name].meaning
    message = copy.deepcopy(load(name).message)
    levels = list(struct_levels(meaning, message))
    for _, level in levels:
        level["added_in_2031"] = {"type": "unheard of", "more": [1]}
    assert levels
    assert EXPECTED[name].decode(msgspec.json.encode(message)) == meaning


@every_recording
def test_the_subject_is_the_one_that_a_sender_makes(name: str) -> None:
    assert load(name).subject == EXPECTED[name].subject(SUBJECTS)


@every_fact
def test_a_fact_is_found_again_by_its_subject(name: str) -> None:
    recording = load(name)
    assert recording.subject is not None
    address, fact_name = SUBJECTS.parse_event(recording.subject)
    fact: AnyFact = decode_fact(fact_name, msgspec.json.encode(recording.message))
    assert SUBJECTS.address(address.tenant, address.job) == address
    assert SUBJECTS.fact(address, fact) == recording.subject


def test_every_message_is_recorded_with_every_field() -> None:
    seen: dict[type[msgspec.Struct], set[str]] = defaultdict(set)
    for name, expected in EXPECTED.items():
        for struct, level in struct_levels(expected.meaning, load(name).message):
            seen[type(struct)].update(level)
    kinds = set(wire_types())
    assert {kind.__name__ for kind in kinds - seen.keys()} == set()
    fields = {(kind.__name__, key) for kind in kinds for key in kind.__struct_encode_fields__}
    assert fields - {(kind.__name__, key) for kind in kinds for key in seen[kind]} == set()


def wire_types() -> Iterator[type[msgspec.Struct]]:
    """Every Struct that `galerne.messages` defines for the wire, without their bases."""
    for module in pkgutil.iter_modules(galerne.messages.__path__, "galerne.messages."):
        for value in vars(importlib.import_module(module.name)).values():
            if not (isinstance(value, type) and issubclass(value, msgspec.Struct)):
                continue
            is_base = bool(value.__subclasses__())
            if value.__module__ == module.name and not is_base and value not in NOT_ON_THE_BUS:
                yield value


def struct_levels(value: Any, json: Any) -> Iterator[tuple[msgspec.Struct, dict[str, Any]]]:
    """Walk a Struct and its JSON side by side: each Struct with its object, the outermost first.

    Free-form objects (inputs, arguments, values) hold no Struct and are left out.
    """
    kind = cast("type[object]", type(value))
    inner: list[tuple[Any, Any]] = []
    if issubclass(kind, msgspec.Struct):
        yield value, json
        names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
        inner = [(getattr(value, name), json[key]) for name, key in names if key in json]
    elif issubclass(kind, tuple):
        inner = list(zip(value, json, strict=True))
    elif issubclass(kind, dict):
        inner = [(item, json[key]) for key, item in value.items()]
    for item, item_json in inner:
        yield from struct_levels(item, item_json)
