"""DBOS Transact on SQLite: one workflow of COUNT no-op steps, each recorded before the next begins.

usage: dbos_steps.py DATABASE WORKFLOW COUNT [--die-at STEP | --resume MARK]

--die-at kills this process (SIGKILL) inside that step. --resume lets DBOS find the unfinished workflow by itself and
writes the wall-clock time at which the first step ran again to the file MARK. Everything DBOS can leave out is left
out (admin server, tracing, conductor).
"""

import argparse
import os
import signal
import time
from pathlib import Path

from dbos import DBOS, SetWorkflowID

parser = argparse.ArgumentParser()
parser.add_argument("database")
parser.add_argument("workflow")
parser.add_argument("count", type=int)
parser.add_argument("--die-at", type=int, default=-1)
parser.add_argument("--resume", type=Path)
options = parser.parse_args()


@DBOS.step()
def note(number: int) -> int:
    if options.resume and not options.resume.exists():
        options.resume.write_text(repr(time.time()))
    if number == options.die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@DBOS.workflow()
def all_steps(count: int) -> int:
    for number in range(count):
        note(number)
    return count


DBOS(
    config={
        "name": "noop",
        "system_database_url": f"sqlite:///{options.database}",
        "application_version": "1",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
)
DBOS.launch()
if options.resume:
    done = DBOS.retrieve_workflow(options.workflow).get_result()
else:
    with SetWorkflowID(options.workflow):
        done = all_steps(options.count)
if done != options.count:
    raise SystemExit(f"{done} steps of {options.count}")
DBOS.destroy()
