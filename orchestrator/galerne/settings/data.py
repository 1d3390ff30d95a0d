"""The tools that ask files by SQL."""

from galerne.settings.section import Section


class DataSettings(Section, frozen=True):
    """`describe_data` and `query_data`, over the files under `tools.root`."""

    enabled: bool = False
    """Whether the tools are there. Needs the extra `data` (DuckDB)."""
    seconds: float = 30.0
    """Seconds that one query may take."""
    memory: int = 1024 * 1024 * 1024
    """Bytes that one query may hold; nothing is written to disk. A SQLite file may have a quarter
    of that."""
    threads: int = 2
    """Cores that one query may use."""
    concurrency: int = 2
    """Queries at once in one worker: each may take `memory`."""
    rows: int = 1000
    """Rows of one answer at the most; a model asks for fewer by itself."""
