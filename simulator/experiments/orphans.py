"""Workers end when the process that started them does, however that ended: nobody would take their results.

joblib's processes wait for work on a pipe of which they have both ends, so a parent that was killed leaves them running, for five minutes
beyond what they were given to do.
"""

from __future__ import annotations

import os
import threading
import time
from functools import lru_cache

# How often a worker looks for its parent, in seconds: so long it may outlive it. A look is one system call.
_EVERY = 1.0


@lru_cache(maxsize=1)
def end_with(parent: int) -> None:
    """Ends this process soon after `parent` has ended, if that is what started it; else does nothing.

    A worker of a cluster is no child of whoever asks it, nor is a thread.

    Args:
        parent: number of a process.
    """
    if os.getppid() == parent:
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)  # nothing is to be cleaned up: results are the parent's to keep
