"""An examination from end to end: the acquaintance, then one probe after the other.

    meet → answers? → tools, forms, streams, roles → the long prompt
             no → the report ends there

Probes are pure: each yields what to ask, is sent the answer and returns findings. Here alone they
meet the network, one question at a time, because a server at work on two is slower at both.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

import msgspec

from galerne.models.dialects import Spoken
from galerne.models.doctor.acquaintance import meet
from galerne.models.doctor.context import MOST_EXTRA, window
from galerne.models.doctor.exchange import Answer, Ask, Exchange
from galerne.models.doctor.finding import Finding
from galerne.models.doctor.forms import schema, unknown_field
from galerne.models.doctor.patient import Patient, Subject
from galerne.models.doctor.reading import tokens_of
from galerne.models.doctor.roles import rules
from galerne.models.doctor.streams import streaming
from galerne.models.doctor.tools import Probe, native, one, required
from galerne.models.endpoint import Endpoint

T = TypeVar("T")

_PROBES: tuple[Callable[[Patient], Probe], ...] = (
    native,
    required,
    one,
    schema,
    streaming,
    rules,
    unknown_field,
)
_MOST_SMALL = 3_000
"""Tokens of everything but the long prompt: a dozen questions of 30 to 250 tokens."""


class Report(msgspec.Struct, frozen=True):
    """What was found. `tokens` were spent, as the server counted them."""

    endpoint: str
    model: str
    backend: Spoken
    findings: tuple[Finding, ...]
    tokens: int

    @property
    def failures(self) -> int:
        return sum(finding.level == "failure" for finding in self.findings)

    @property
    def warnings(self) -> int:
        return sum(finding.level == "warning" for finding in self.findings)


def most_tokens(subject: Subject) -> int:
    """What an examination spends at most."""
    long = subject.context
    return _MOST_SMALL + (0 if long is None else long + MOST_EXTRA)


async def examine(
    subject: Subject,
    *,
    on_finding: Callable[[Finding], None] = lambda _: None,
    on_patient: Callable[[Patient], None] = lambda _: None,
) -> Report:
    """The report; `on_patient` hears first who answers, `on_finding` of each finding as it comes.

    Raises InvalidSettingsError where the endpoint or the key cannot be used at all. Nothing that
    the server does raises anything: it is a finding.
    """
    endpoint = Endpoint(subject.settings)
    async with Exchange(endpoint, subject.settings.timeout) as exchange:
        purse = _Purse(exchange)
        met = await purse.run(meet(subject))
        patient, findings = met.patient, list(met.findings)
        on_patient(patient)
        for finding in findings:
            on_finding(finding)
        probes = _PROBES if subject.context is None else (*_PROBES, window)
        for probe in probes if met.goes_on else ():
            for finding in await purse.run(probe(patient)):
                findings.append(finding)
                on_finding(finding)
    return Report(
        patient.endpoint.url,
        patient.endpoint.model,
        patient.dialect.name,
        tuple(findings),
        purse.spent,
    )


class _Purse:
    """Sends what probes ask and counts what it costs."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.spent = 0

    async def run(self, probe: Generator[Ask, Answer, T]) -> T:
        try:
            ask = next(probe)
            while True:
                answer = await self._exchange.send(ask)
                self.spent += tokens_of(answer)
                ask = probe.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
