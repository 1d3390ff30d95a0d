"""What queries over data files may take."""

from galerne.settings.section import Section


class DataSettings(Section, frozen=True):
    """`query_data` and `describe_data`: SQL over the files under `tools.root`, read only."""

    enabled: bool = False
    """Whether the tools are there. They need the extra `data`."""
    seconds: float = 30.0
    """Seconds that one call may take: a scan of some gigabytes, and an end to a join gone wrong."""
    memory: int = 512 * 1024 * 1024
    """Bytes that DuckDB may hold for one call; nothing is spilled to the disk."""
    threads: int = 2
    """Processor cores that one call may use."""
    concurrency: int = 4
    """Calls at once in one worker, each a process with that memory and those cores."""
    rows: int = 1000
    """Rows that one query gives at the most; a model asks for 100 unless it says otherwise."""
    output: int = 128 * 1024
    """Bytes of rows that one query gives: about 40,000 tokens, all that a 7B model can read."""
