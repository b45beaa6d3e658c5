"""Runs a program under the limits of the unit that a process can put on itself.

    python hardened.py FILE PROGRAM ARGUMENT...

FILE lists the system calls that are allowed; all others fail with EPERM, and memory that is
written to is never run, as systemd does for SystemCallFilter and MemoryDenyWriteExecute.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
ALLOW, FAIL = 0x7FFF0000, 0x00050000 | errno.EPERM


def main() -> None:
    file, *command = sys.argv[1:]
    if ctypes.CDLL(None).prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
        print("this kernel is older than 6.3 and does not know SET_MDWE", file=sys.stderr)
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(FAIL))
    for name in Path(file).read_text().split():
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # this processor has it
            assert seccomp.seccomp_rule_add(rules, ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(rules) == 0
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
