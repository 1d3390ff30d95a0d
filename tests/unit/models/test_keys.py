"""Where a key comes from: the settings or a file, and what is said where neither will do."""

from pathlib import Path

import pytest
import structlog.testing

from galerne.errors import InvalidSettingsError
from galerne.models.endpoint import Endpoint
from galerne.models.keys import forms_of, key_of
from galerne.settings import RoleSettings

KEY = "sk-from-a-file"


def written(folder: Path, content: str, mode: int = 0o600) -> RoleSettings:
    file = folder / "key"
    file.write_text(content)
    file.chmod(mode)
    return RoleSettings(endpoint="http://models.test", api_key_file=str(file))


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n", f"  {KEY}\r\n\n"])
def test_the_one_line_of_a_file_is_the_key(tmp_path: Path, content: str) -> None:
    settings = written(tmp_path, content)
    with structlog.testing.capture_logs() as lines:
        assert Endpoint(settings).headers() == {"Authorization": f"Bearer {KEY}"}
    assert lines == []


def test_without_a_key_there_is_none() -> None:
    assert key_of(RoleSettings()) == ""
    assert forms_of("") == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (f"{KEY}\nmore\n", "not one line"),
        (KEY * 2000, "not one line"),
        (f"{KEY}\u00e9", "no HTTP header"),
        (f"{KEY}\x00", "no HTTP header"),
    ],
)
def test_a_file_that_holds_no_key(tmp_path: Path, content: str, reason: str) -> None:
    settings = written(tmp_path, content)
    with pytest.raises(InvalidSettingsError, match=reason) as caught:
        key_of(settings)
    assert str(tmp_path / "key") in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InvalidSettingsError, match=r"cannot read api_key_file .*correct"):
            key_of(RoleSettings(api_key_file=str(path)))


def test_a_key_and_a_file_are_one_too_many(tmp_path: Path) -> None:
    file = written(tmp_path, KEY).api_key_file
    with pytest.raises(InvalidSettingsError, match="both set") as caught:
        key_of(RoleSettings(api_key="sk-other", api_key_file=file))
    assert "sk-" not in str(caught.value)


def test_a_file_that_everybody_can_read_is_told_of(tmp_path: Path) -> None:
    settings = written(tmp_path, KEY, 0o644)
    with structlog.testing.capture_logs() as lines:
        assert key_of(settings) == KEY
    assert [line["event"] for line in lines] == ["key_file_is_open"]
    assert lines[0]["advice"] == f"chmod 600 {tmp_path / 'key'}"
    assert KEY not in str(lines)
