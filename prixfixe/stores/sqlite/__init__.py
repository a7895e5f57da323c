"""The SQLite store: one file, one writer, WAL with full sync."""
