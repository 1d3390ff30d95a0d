"""SQL over CSV, JSON, Parquet and SQLite files under `tools.root`, by DuckDB; nothing is written.

    offer ─▶ running ─▶ child, a process for each call
                          │  names    (which files does the SQL name?)
                          ├─▶ sources (each opened under the root; sqlite: read into tables)
                          └─▶ engine  (locked: what is open may be read, and nothing else)
                                └─▶ values (exact, as JSON)

DuckDB never opens a path of a model's. The child opens the files itself, through `_root.py`, and
DuckDB may read those very descriptors; all else of its access to files, network, extensions and
settings is switched off before it sees the SQL.
"""
