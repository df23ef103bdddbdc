"""What an error of SQLite says of the disk."""

import apsw

# Input/output errors that mean no space, before anything was written: as harmless as a full disk.
SPACE_ERRORS = frozenset({apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_SHMOPEN, apsw.SQLITE_IOERR_NOMEM})


def is_disk_unsound(error: Exception) -> bool:
    """Tell whether it is not known any more what the disk holds."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) not in SPACE_ERRORS
    return isinstance(error, apsw.CorruptError | apsw.NotADBError)


def in_words(error: Exception) -> str:
    """Say an error of the database in a few words."""
    if isinstance(error, apsw.FullError):
        return "the disk is full; free some space, nothing else is to be done"
    return f"{type(error).__name__}: {error}"
