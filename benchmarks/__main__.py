"""Run the benchmarks: `make bench`, or some of them: `make bench ARGS="start check"`.

Prints a line per result as it comes, all of them as a table at the end, and writes build/benchmarks.json. The exit
status is 1 when a goal is missed.
"""

import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.goals import Row, table, write_json
from benchmarks.measure import Place, fresh

ROOT = Path(__file__).parent.parent
BENCHMARKS = ("start", "steps", "resume", "verify", "check", "switchover", "journal-s3", "ssh", "reads")
"""A module each, imported when its turn comes: some need libraries of 30 MB, and the peak of a process is never
told to be less than that of the one that started it (`benchmarks.measure`).
"""


def main(chosen: list[str]) -> int:
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for variable in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[variable]  # this shell's wishes, such as to write no bytecode: an installed tool has its own
    binaries = Path(sys.executable).parent
    rows: list[Row] = []
    for name in chosen or BENCHMARKS:
        work = fresh(ROOT / "build" / "bench" / name)
        place = Place(Path(sys.executable), binaries / "dr", ROOT / "build" / "peers-venv" / "bin", work)
        for row in import_module(f"benchmarks.{name.replace('-', '_')}").measure(place):
            print(row.line(), flush=True)
            rows.append(row)
        shutil.rmtree(work)
    write_json(rows, ROOT / "build" / "benchmarks.json")
    print(f"\n{table(rows)}")
    return any(row.verdict == "FAIL" for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
