"""Jobs from outside: submit them, follow them, fetch their results, cancel them.

A client needs a NATS connection and nothing else of the fleet. What it says about a job always
comes from the job's log; what it sends goes to a work queue and is durable once it is accepted.
"""

from galerne.client.connection import Client
from galerne.client.events import JobEvent, JobEvents
from galerne.client.export import Recording, read_export
from galerne.client.job import Job
from galerne.client.quarantine import Quarantine, QuarantineEntry, QuarantineRecord
from galerne.client.sessions import Session, SessionSummary
from galerne.client.summary import JobSummary
from galerne.core.open_question import OpenQuestion

__all__ = [
    "Client",
    "Job",
    "JobEvent",
    "JobEvents",
    "JobSummary",
    "OpenQuestion",
    "Quarantine",
    "QuarantineEntry",
    "QuarantineRecord",
    "Recording",
    "Session",
    "SessionSummary",
    "read_export",
]
