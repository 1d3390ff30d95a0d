"""Hostile messages: bytes, JSON and mutilated recordings, for every subject there is.

Everything follows from a seed. Hypothesis makes the JSON; a recording is cut, overwritten or has
a value replaced; a few messages are nearly as large as may be. `Hostile.kept` is what the
quarantine must hold of a message afterwards.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from contract.recorded_messages import recorded_names
from galerne.bus.log import record_of
from galerne.errors import InvalidInputError
from galerne.messages.codec import decode_command, decode_fact, decode_submit
from galerne.messages.subjects import Subjects, part_of
from integration.fleet import hpub, pub

RECORDED = Path(__file__).parents[1] / "contract" / "recorded" / "v1"
WAKING = ("submitted", "plan.", "done.", "ask.", "decided.", "cancel", "end")
"""How the facts begin that a coordinator reads one by one."""
NEARLY_ALL = 500 * 1024
"""Bytes: close below the limit of a message's content."""

DELETE = b"\x7f"

NUMBERS = ("1e999", "-1e999", "NaN", "-Infinity", "9" * 400, "-" + "9" * 30, "-0.0", "1e-999")
VALUES = (
    *(number.encode() for number in NUMBERS),
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\xed\xa0\x80"',
    b'"\xff"',
    b'"\\u0000"',
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"a.b.>"',
    b'"\\r\\nPUB x 0\\r\\n\\r\\n"',
    b"-1",
    b"18446744073709551616",
    b"[" * 200 + b"]" * 200,
    b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'"' + b"x" * 5000 + b'"',
)
"""What takes the place of a value in a recording."""

# A header shorter than its first line is left out: nats-server 2.15.1 itself panics over it.
HEADERS = (
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0 \xff\xff\r\n\r\n",
    b"NATS/1.0\r\nStatus: 409\r\nDescription: Server Shutdown\r\n\r\n",
    b"NATS/1.0\r\n\xff: \xfe\r\n:\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: -1\r\nNats-Subject: >\r\n\r\n",
    b"NATS/1.0\r\nNats-Time-Stamp: yesterday\r\n\r\n",
    b"NATS/1.0\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Hostile(msgspec.Struct, frozen=True):
    """One message. `kept` is the subject under which its bytes must be found in quarantine."""

    subject: bytes
    data: bytes
    header: bytes | None = None
    kept: str | None = None

    def command(self) -> bytes:
        if self.header is None:
            return pub(self.subject, self.data)
        return hpub(self.subject, self.header, self.data)


def made_by_hypothesis(count: int, seed: int) -> list[bytes]:
    """JSON of any kind, with NaN, Infinity and lone surrogates where Python writes them."""
    found: list[bytes] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(_json)
    def collect(value: Any) -> None:
        found.append(json.dumps(value, ensure_ascii=len(found) % 2 == 0).encode("utf-8", "replace"))

    seeded(seed)(collect)()
    return found


class Maker:
    """Makes hostile messages; `jobs` are jobs that really run, which it only lies about."""

    def __init__(self, seed: int, subjects: Subjects, jobs: Callable[[], list[str]]) -> None:
        self._random = random.Random(seed)
        self._subjects = subjects
        self._jobs = jobs
        self._json = made_by_hypothesis(400, seed)
        names = recorded_names()
        raw = [json.loads((RECORDED / f"{name}.json").read_bytes())["message"] for name in names]
        self._recorded = [json.dumps(message).encode() for message in raw]
        self._trees = raw
        self._families: tuple[Callable[[], bytes | tuple[bytes, str]], ...] = (
            self._submit,
            self._command,
            self._event,
            self._event,
            self._event,
            self._ready,
            self._ready,
            self._tool,
            self._core,
        )

    def messages(self, count: int) -> Iterator[Hostile]:
        for _ in range(count):
            yield self.one()

    def one(self) -> Hostile:
        made = self._random.choice(self._families)()
        data = self.data()
        if isinstance(made, bytes):
            return Hostile(made, data, self._header())
        subject, kind = made
        header = self._header()
        durable = header is None or len(header) < 60
        return Hostile(subject, data, header, self._kept(subject, data, kind) if durable else None)

    # bytes

    def data(self) -> bytes:
        chance = self._random.random()
        if chance < 0.002:
            return self._large()
        if chance < 0.15:
            return self._random.randbytes(self._random.randrange(300))
        if chance < 0.3:
            return self._random.choice(self._json)
        if chance < 0.45:
            return self._replaced()
        recording = self._random.choice(self._recorded)
        return recording if chance < 0.5 else self._mutilated(recording)

    def _large(self) -> bytes:
        size = NEARLY_ALL - self._random.randrange(4096)
        filling = self._random.choice((b"\x00", b"[", b'"', b" ", b"\xff", b'{"a":'))
        return (filling * size)[:size]

    def _mutilated(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data))
        to = min(len(data), at + self._random.randrange(1, 20))
        match self._random.randrange(5):
            case 0:
                return data[:at]
            case 1:
                return data[:at] + data[to:]
            case 2:
                return data[:at] + self._random.randbytes(to - at) + data[to:]
            case 3:
                return data[:to] + data[at:]
            case _:
                return data[:at] + self._random.choice(VALUES) + data[at:]

    def _replaced(self) -> bytes:
        """A recording with another value in one place."""
        tree = self._random.choice(self._trees)
        mark = "\x00here\x00"
        text = json.dumps(self._with(tree, mark)).encode()
        value = self._random.choice((*VALUES, self._random.choice(self._json)))
        return text.replace(json.dumps(mark).encode(), value)

    def _with(self, tree: Any, mark: str) -> Any:
        if isinstance(tree, dict) and tree:
            fields = cast("dict[str, object]", tree)
            name = self._random.choice(sorted(fields))
            return {**fields, name: self._with(fields[name], mark)}
        if isinstance(tree, list) and tree:
            items = cast("list[object]", tree)
            at = self._random.randrange(len(items))
            return [*items[:at], self._with(items[at], mark), *items[at + 1 :]]
        return mark

    def _header(self) -> bytes | None:
        return self._random.choice(HEADERS) if self._random.random() < 0.1 else None

    # subjects

    def _job(self) -> str:
        return f"hostile-{self._random.randrange(40)}"

    def _name(self) -> str:
        n = self._random.randrange(4)
        names = (
            "submitted",
            f"plan.1.{n}",
            "plan.1.end",
            "plan.x.y.z",
            f"run.t{n}",
            f"step.t{n}.{n}",
            f"done.t{n}",
            "done.plan-1",
            f"ask.t{n}.1.1",
            f"decided.t{n}.1.1",
            "account",
            "cancel",
            "end",
            "nonsense",
            "ask" + ".a" * 40,
            "plan" + ".b" * 40,
        )
        return self._random.choice(names)

    def _submit(self) -> tuple[bytes, str]:
        return b"galerne.submit.default", "submit"

    def _command(self) -> tuple[bytes, str]:
        return b"galerne.command.default", "command"

    def _event(self) -> bytes | tuple[bytes, str]:
        job, name = self._job(), self._name()
        right = part_of(job, self._subjects.partitions)
        part: object = right
        if self._random.random() < 0.2:
            part = self._random.choice(("0", "1", "9", "00", "x", "-1"))
        if self._random.random() < 0.1:
            job = self._random.choice(("l\u00efve", "x" * 65, "a%", "\x7f"))
        subject = f"galerne.ev.{part}.default.{job}.{name}".encode()
        return subject, "ev"

    def _ready(self) -> bytes | tuple[bytes, str]:
        # Jobs without other facts: those of an ended one leave the lanes unread.
        job, n = f"lane-{self._random.randrange(40)}", self._random.randrange(4)
        lane = self._random.choice(("executor.normal", "executor.high", "planner.low", "no.lane"))
        kind = self._random.choice((f"ready.{lane}.t{n}", f"resume.{lane}.t{n}.{n}"))
        part = part_of(job, self._subjects.partitions)
        subject = f"galerne.ev.{part}.default.{job}.{kind}".encode()
        if not kind.startswith("ready") or lane == "no.lane":
            return subject
        return subject, f"task.{lane}.default.{job}.t{n}"

    def _tool(self) -> bytes:
        return self._random.choice(
            (b"galerne.tool.look", b"galerne.tool.nobody", b"galerne.tool.look.x", b"galerne.tools")
        )

    def _core(self) -> bytes:
        """What is not kept, or is kept by its stream and read by nobody but a call of its key."""
        good = self._random.choice(self._jobs() or ["none"])
        part = part_of(good, self._subjects.partitions)
        subject = self._random.choice(
            (
                f"live.default.{good}.end",
                f"live.default.{good}.cancel",
                f"live.default.{good}.delta.one",
                "live.default.x.end",
                "live.x",
                "live.default.l\u00efve.cancel",
                "plan",
                "presence.coordinator",
                "presence.tools",
                "presence.nobody",
                "presence_query.coordinator",
                "presence_query.tools",
                "quarantine.hostile",
                "quarantine.a.b.c",
                f"tj.default.{self._job()}.1.1.claim",
                f"tj.default.{self._job()}.1.1.result",
                "tj.x",
                f"task.executor.normal.default.{good}.one",
                f"task.planner.high.default.{good}.plan-1",
                f"ev.{1 - part}.default.{good}.done.one",
                "submit",
                "submit.a.b",
                "ev",
                "nonsense",
            )
        )
        return b"galerne." + subject.encode()

    # what has to be kept

    def _kept(self, subject: bytes, data: bytes, kind: str) -> str | None:
        """The subject in the record of a message that nobody can use; None: it is not due."""
        # A server does not index subjects with a DEL, and its consumers may pass over messages
        # there (nats-server pull request 5978); other subjects are not touched by it.
        if not subject.isascii() or DELETE in subject:
            return None
        text = subject.decode()
        match kind:
            case "submit":
                return text if _refused(decode_submit, data) else None
            case "command":
                return text if _refused(decode_command, data) else None
            case "ev":
                _, _, part, _, _, name = text.split(".", 5)
                due = part in {"0", "1"} and name.startswith(WAKING)
                return text if due and self._unreadable(text, data) else None
            case _:
                lane, priority, _, _, task = kind.split(".")[1:]
                name = f"ready.{lane}.{priority}.{task}"
                unusable = _refused(lambda given: decode_fact(name, given), data)
                return f"galerne.{kind}" if unusable else None

    def _unreadable(self, subject: str, data: bytes) -> bool:
        try:
            return record_of(self._subjects, subject, data, 1, 0.0).error is not None
        except InvalidInputError:
            return True


def _refused(decode: Callable[[bytes], object], data: bytes) -> bool:
    try:
        decode(data)
    except InvalidInputError:
        return True
    return False
