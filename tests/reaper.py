"""Run a program and take in what it leaves: `python reaper.py PROGRAM ...`, as process 1 of a machine would.

Patroni starts PostgreSQL as nobody's child and watches its process. Where that is not reaped when it ends, because the
machine's first process does not, or this one's parent has taken its place, Patroni waits for its end for ever.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen(argv)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
