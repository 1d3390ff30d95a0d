"""The crash matrix in its short form: a kill -9 at every boundary, and the audit afterwards."""

from pathlib import Path

import pytest

from chaos.matrix import short_form
from chaos.playing import play_matrix
from chaos.processes import zygote
from chaos.servers import OneServer
from chaos.table import as_text, causes, merged

pytestmark = pytest.mark.anyio
WIDTH = 6
"""Fleets side by side: a dead worker's tasks wait for its lease, and meanwhile others work."""


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_death_at_every_boundary_loses_and_doubles_nothing(tmp_path: Path) -> None:
    cells = short_form()
    async with zygote(tmp_path) as forks:
        report = await play_matrix(
            forks, tmp_path, cells, width=WIDTH, servers=OneServer, say=print
        )
    rows = merged(report.rows)
    shown = f"\n{as_text(rows)}\n{causes(report.findings)}"
    print(shown)  # noqa: T201 - whoever runs it with -s wants the table
    assert report.troubles == [], shown
    assert not any(row.bad for row in rows), shown
    assert all(row.kills >= 1 and row.jobs >= 1 for row in rows), shown
