"""SQL over files under the root: CSV, JSON, Parquet and SQLite, read-only, by DuckDB.

    query ─▶ names    which tables the SQL reads (DuckDB's own parser; one SELECT and nothing else)
          ─▶ sources  each name that is a file there becomes a view of its open descriptor
          ─▶ engine   a database in memory that may open these descriptors and nothing else
          ─▶ values   rows as JSON, exact

A file is opened as all file tools open one (`_root.py`), so a link leads nowhere, and DuckDB never
sees a path of this host.
"""
