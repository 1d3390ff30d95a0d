"""Tickets of requests: what is no acknowledgement of the queue's own stream is none."""

from typing import Any

import pytest

from galerne.bus import store
from galerne.bus.tenants import request_of

pytestmark = pytest.mark.anyio

STREAM = "GALERNE_SUBMIT"
PLACE = f"{STREAM}.admit-default.2.17.4.1700000000000000000.0"


def ticket_of(consumer: str = "admit-default", sequence: str = "17") -> str:
    return f"$JS.ACK.{STREAM}.{consumer}.2.{sequence}.4.1700000000000000000.0"


@pytest.mark.parametrize(
    ("ticket", "sequence"),
    [
        (f"$JS.ACK.{PLACE}", 17),
        (f"$JS.ACK._.AbCd1234.{PLACE}", 17),
        (f"$JS.ACK.hub.AbCd1234.{PLACE}.r4nd0m", 17),
        (f"$JS.ACK.{STREAM}.admit.1.0.1.1.1", 0),
        (None, None),
        ("", None),
        ("galerne.command.default", None),
        ("galerne.submit.default", None),
        (PLACE, None),
        (f"$JS.ACK.{PLACE}.r4nd0m", None),
        (f"$JS.ACK.{PLACE.rpartition('.')[0]}", None),
        (f"$JS.ACK.{PLACE.replace(STREAM, 'GALERNE_EVENTS')}", None),
        (f"$JS.ACK.{PLACE.replace(STREAM, 'galerne_submit')}", None),
        (f"$JS.ACK._.AbCd1234.{PLACE.replace(STREAM, 'GALERNE_EVENTS')}", None),
        (f"$JS.API.{PLACE}", None),
        (f"$js.ack.{PLACE}", None),
        (f" $JS.ACK.{PLACE}", None),
        (f"$JS.ACK.{PLACE}\n", None),
        (f"$JS.ACK.{PLACE} 5\r\nhello\r\nPUB galerne.command.default 2\r\n{{}}", None),
        (ticket_of("a\r\nPUB x 0"), None),
        (ticket_of("a\x00"), None),
        (ticket_of("a\u2028b"), None),
        (ticket_of("*"), None),
        (ticket_of(""), None),
        (ticket_of(sequence=">"), None),
        (ticket_of(sequence="-1"), None),
        (ticket_of(sequence="\u0663"), None),
        (ticket_of(sequence="9" * 5000), None),
        (ticket_of("x" * 5000), None),
    ],
)
def test_only_an_acknowledgement_of_the_queue_is_a_ticket(
    ticket: str | None, sequence: int | None
) -> None:
    assert request_of(ticket, STREAM) == sequence


class Pages:
    """A stream that gives its subjects so many at a time, and changes between the pages."""

    def __init__(self, names: list[str], size: int, *changes: tuple[str, str]) -> None:
        self.names = names
        self.asked: list[int] = []
        self._size = size
        self._changes = list(changes)

    async def api(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (name, body["subjects_filter"]) == ("STREAM.INFO.S", "a.*")
        start = body["offset"]
        self.asked.append(start)
        names = sorted(self.names)
        page = dict.fromkeys(names[start : start + self._size], 1)
        if self._changes:
            gone, come = self._changes.pop(0)
            self.names.remove(gone)
            self.names.append(come)
        return {"total": len(names), "state": {"subjects": page or None}}


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 30])
async def test_subjects_come_page_by_page(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OVERLAP", 2)
    names = [f"a.{n:03}" for n in range(count)]
    pages: Any = Pages(names, 8)
    assert await store.subject_counts(pages, "S", "a.*") == dict.fromkeys(names, 1)
    assert pages.asked == [0, 6, 12, 18, 24][: max(1, -(-(count - 2) // 6))]


async def test_no_subject_is_missed_where_others_go_between_two_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "OVERLAP", 2)
    names = [f"a.{n:03}" for n in range(30)]
    pages: Any = Pages(list(names), 8, ("a.000", "a.900"), ("a.001", "a.901"))
    found = await store.subject_counts(pages, "S", "a.*")
    assert set(names) <= found.keys()
