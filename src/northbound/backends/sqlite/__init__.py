"""Log, rooms, deliveries, registry and history on SQLite files, one writer each (apsw, WAL, synchronous=FULL)."""
