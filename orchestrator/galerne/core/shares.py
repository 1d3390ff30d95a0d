"""Which coordinator looks after which part of the log: rendezvous hashing.

Every replica computes it alone from the members that it sees. When they disagree for a moment two
replicas own a part, which costs time and never correctness: facts are write-once.
"""

import hashlib
from collections.abc import Iterable


def owner(part: int, members: Iterable[str]) -> str:
    """The member with the highest weight for `part`; `members` must not be empty."""
    return max(members, key=lambda member: (_weight(part, member), member))


def own_parts(me: str, members: Iterable[str], partitions: int) -> frozenset[int]:
    """The parts that fall to `me`, who always counts as a member."""
    everyone = {me, *members}
    return frozenset(part for part in range(partitions) if owner(part, everyone) == me)


def _weight(part: int, member: str) -> bytes:
    return hashlib.blake2b(f"{part}\0{member}".encode(), digest_size=8).digest()
