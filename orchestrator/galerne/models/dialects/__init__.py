"""The dialects of the back ends: one contract, one small file each.

`Dialect` is the contract; `dialect_named` hands one out, and `told_by_address`, `told_by_server`
and `told_by_owners` find out which one a back end speaks.
"""

from galerne.models.dialects.contract import Asked, Dialect, Offer, OutputForm, Spoken
from galerne.models.dialects.telling import (
    dialect_named,
    told_by_address,
    told_by_owners,
    told_by_server,
)

__all__ = [
    "Dialect",
    "Spoken",
    "Asked",
    "Offer",
    "OutputForm",
    "dialect_named",
    "told_by_address",
    "told_by_server",
    "told_by_owners",
]
