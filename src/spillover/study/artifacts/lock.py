"""Holds a run folder, so that two processes never work in it at once. Knows nothing of its content.

The lock is `fcntl`'s: it goes with the process, however it ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spillover.errors import StorageError


@contextmanager
def folder_lock(out: Path) -> Iterator[None]:
    """Make the folder if it is missing, and hold it while inside.

    Raises:
        StorageError: If it cannot be written, or another process holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        stream = (out / ".lock").open("w")
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written ({error.strerror}); choose another --out"
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{out}: another process is running in this folder; wait for it or choose "
                "another --out"
            ) from error
        yield
