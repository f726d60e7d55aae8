"""What a process inside may use. Called before any untrusted line runs; none of it can be taken back."""

import os
import resource
from typing import Any

NOBODY = 65534


def enclose(limits: dict[str, Any]) -> None:
    """Lower the hard limits, then give up root if this is root."""
    for which, most in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["processor_s"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
    ):
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))
    if os.getuid() == 0 and limits["give_up_root"]:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
