from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.settings import ToolSettings
from galerne_tools import text
from galerne_tools.text import TextStats, measure, tools
from unit.tools.calls import refusal_of, value_of


@given(
    st.lists(
        st.binary(max_size=8)
        | st.text(" \n\r\t\u2028é👍ab", max_size=8).map(lambda part: part.encode())
    )
)
def test_pieces_are_counted_as_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    decoded = whole.decode("utf-8", "replace")
    lines = decoded.count("\n") + (not decoded.endswith("\n") and decoded != "")
    expected = TextStats("p", len(decoded.split()), lines, len(decoded), len(whole))
    assert measure("p", [piece for piece in pieces if piece]) == expected
    assert measure("p", [bytes([byte]) for byte in whole]) == expected


@pytest.mark.anyio
async def test_measuring_a_file(tmp_path: Path) -> None:
    (stats,) = tools(ToolSettings(root=str(tmp_path)))
    assert stats.spec.parameters == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "The file, from the root folder."}
        },
        "required": ["path"],
        "additionalProperties": False,
    }
    (tmp_path / "poem.txt").write_text("Un café\n\nnoir , deux  mots\nfin")
    assert await value_of(stats, path="poem.txt") == {
        "path": "poem.txt",
        "words": 7,
        "lines": 4,
        "characters": 30,
        "bytes": 31,
    }
    (tmp_path / "empty").touch()
    assert await value_of(stats, path="empty") == {
        "path": "empty",
        "words": 0,
        "lines": 0,
        "characters": 0,
        "bytes": 0,
    }
    (tmp_path / "blob").write_bytes(b"x" * 300_000 + b"\0")
    assert (await refusal_of(stats, path="blob")).message == (
        "blob is a binary file (it has NUL bytes), not text"
    )
    assert "there is poem.txt" in (await refusal_of(stats, path="poem.text")).message


@pytest.mark.anyio
async def test_a_file_over_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stats,) = tools(ToolSettings(root=str(tmp_path)))
    monkeypatch.setattr(text, "MAX_BYTES", 1 << 20)
    (tmp_path / "large").write_bytes(b"word " * ((1 << 20) // 5))
    assert (await value_of(stats, path="large"))["words"] == (1 << 20) // 5
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) + 1))
    refused = await refusal_of(stats, path="large")
    assert refused.message == "large is larger than 1 MB, the limit of text_stats"
