"""What a model server really does, found out by asking it.

`examine` asks a server a few small questions, each made to show one trait, and judges the answers:
a `Finding` says what was seen and, where it is not well, which flag or setting mends it. It never
looks at what a server says of itself where it can see what it does.
"""

from galerne.models.doctor.examination import Report, examine, most_tokens
from galerne.models.doctor.finding import Finding, Level
from galerne.models.doctor.patient import Subject

__all__ = ["examine", "most_tokens", "Report", "Finding", "Level", "Subject"]
