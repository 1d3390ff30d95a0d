"""Who shares a limit: all who ask one model at one endpoint with one key, and nobody else."""

from pathlib import Path

import msgspec

from galerne.models.catalogue import packaged
from galerne.models.member import Member
from galerne.settings import RoleSettings

URL = "http://127.0.0.1:1/v1"


def identity(**settings: str) -> str:
    given = {"endpoint": URL, "model": "m", **settings}
    return Member(msgspec.convert(given, RoleSettings), packaged(), None).identity


def test_a_key_counts_the_same_from_a_file_and_from_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-key\n")
    file.chmod(0o600)
    assert identity(api_key_file=str(file)) == identity(api_key="the-key")


def test_another_key_model_or_endpoint_is_another_limit() -> None:
    others = [
        identity(),
        identity(api_key="one"),
        identity(api_key="two"),
        identity(model="n"),
        identity(endpoint="http://127.0.0.1:2/v1"),
    ]
    assert len(set(others)) == len(others)


def test_nothing_of_the_key_can_be_read_in_it() -> None:
    assert "the-key" not in identity(api_key="the-key")
