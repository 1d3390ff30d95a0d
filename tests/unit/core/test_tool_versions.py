"""Which version of a tool is called: newest first, and never one that promises something else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from galerne.core.tool_versions import (
    MOST_SPEC,
    fault_of_announcement,
    offers,
    preferred,
    route_of,
    version_key,
)
from galerne.messages.ids import is_id
from galerne.messages.tools import ToolSpec, ToolsPresent

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}

versions = st.text(st.characters(), max_size=80) | st.from_regex(
    r"\d+(\.\d+){0,3}(rc\d)?", fullmatch=True
)


def spec(version: str = "1", schema: dict[str, Any] | None = None, **fields: Any) -> ToolSpec:
    made = ToolSpec(
        name="look", description="Look", parameters=schema or SCHEMA, version=version, **fields
    )
    return replace(made, route=route_of(made))


def present(worker: str, *tools: ToolSpec, started: float = 0.0) -> ToolsPresent:
    return ToolsPresent(worker=worker, tools=tools, capacity=4, active=0, started=started)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1", "2"),
        ("2", "10"),
        ("1.9", "1.10"),
        ("1", "1.1"),
        ("2.0rc1", "2.0"),
        ("2.0a", "2.0b"),
        ("2026-11-09", "2026-11-23"),
        ("v1", "v2"),
        ("", "1"),
    ],
)
def test_versions_are_ordered_as_people_count(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


@given(versions, versions)
def test_any_two_versions_can_be_compared(one: str, other: str) -> None:
    first, second = version_key(one), version_key(other)
    assert (first < second) + (second < first) + (first == second) == 1


@given(versions)
def test_a_route_is_always_a_token(version: str) -> None:
    try:
        version.encode()
    except UnicodeEncodeError:
        return  # no message could carry it
    assert is_id(route_of(spec(version)))


def test_a_route_tells_apart_what_a_call_must_not_mix_up() -> None:
    wider = {"type": "object", "properties": {"a": {"type": "number"}}}
    routes = {
        route_of(one)
        for one in (
            spec(),
            spec("2"),
            spec(schema=wider),
            spec(effect="once"),
            spec(approve="always"),
        )
    }
    assert len(routes) == 5


def test_a_route_is_the_same_for_another_order_of_the_schema_and_another_text() -> None:
    turned = {"properties": {"a": {"type": "string"}}, "type": "object"}
    other = ToolSpec(name="look", description="Otherwise", parameters=turned, timeout=9.0)
    assert route_of(other) == route_of(spec())


def test_the_newest_version_is_preferred_and_the_older_still_offered() -> None:
    found = offers([present("b", spec("10")), present("a", spec("9")), present("c", spec("9"))])
    assert [(one.spec.version, one.workers) for one in found] == [("10", ("b",)), ("9", ("a", "c"))]
    assert preferred(found)["look"].version == "10"


def test_of_one_version_with_two_schemas_the_younger_worker_is_believed() -> None:
    """Somebody has changed a tool and forgotten its version."""
    wider = spec(schema={"type": "object", "properties": {}})
    for said in (
        [present("a", spec(), started=5.0), present("b", wider, started=9.0)],
        [present("b", wider, started=9.0), present("a", spec(), started=5.0)],
    ):
        assert preferred(offers(said))["look"] == wider


def test_of_one_route_who_keeps_its_promise_is_believed_and_not_who_borrows_it() -> None:
    liar = replace(spec(schema={"type": "object"}, effect="once"), route=spec().route)
    for said in (
        [present("a", spec(), started=5.0), present("b", liar, started=9.0)],
        [present("b", liar, started=9.0), present("a", spec(), started=5.0)],
    ):
        (found,) = offers(said)
        assert found.spec == spec()
        assert found.workers == ("a",)


def test_of_a_route_of_its_own_making_the_younger_worker_is_believed() -> None:
    older, younger = (replace(spec(), description=one, route="mine") for one in ("old", "new"))
    (found,) = offers([present("b", younger, started=9.0), present("a", older, started=5.0)])
    assert found.spec.description == "new"
    assert found.workers == ("a", "b")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"name": "a b"}, "its name"),
        ({"name": ""}, "its name"),
        ({"name": "*"}, "its name"),
        ({"route": "a.b"}, "its route"),
        ({"route": ">"}, "its route"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"description": "x" * (MOST_SPEC + 1)}, "bytes"),
    ],
)
def test_what_cannot_be_called_is_told(bad: dict[str, Any], why: str) -> None:
    assert fault_of_announcement(spec()) is None
    fault = fault_of_announcement(replace(spec(), **bad))
    assert fault is not None
    assert why in fault
