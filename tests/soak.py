"""Changes of the primary by the real `dr`, hit by one to three faults at random moments: `make soak`.

The matrices (`tests/runbooks/*_faults.py`) put one fault at each entry of a run. Here faults meet each other, and come
at any moment after an intent: while clients are held, between two commands, in the middle of a resume. A seed says
what comes and when; the machine has a say in that, too, so one that has found something may have to be repeated.
"""

import argparse
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import psutil
import psycopg

from dr.demo import process_tree, wait
from dr.targets.transport.data_directory import CLAIM, FENCE
from tests.cli.shell import PATIENCE, journal, types
from tests.cluster import LIMIT, Cluster, Node, Watch, Writer, cluster
from tests.desk import FAIL, NEVER_RECEIVED, SWITCH, Desk
from tests.faults import AGREED, frozen, kept_up
from tests.website import Site, website

MOST_COMMANDS: Final = 6
"""Commands of the operator that are under fire; those that follow are not."""

KILL: Final = "dr killed"


class Fault(NamedTuple):
    """What comes, `delay` seconds after something was seen of the run, and goes again `lasts` seconds later."""

    what: str
    seen: str
    delay: float
    lasts: float

    def __str__(self) -> str:
        return f"{self.what} {self.delay * 1000:.0f} ms after {self.seen} for {self.lasts:.1f} s"


class Scene:
    """A run, and what may happen to it."""

    def __init__(self, desk: Desk, runbook: str) -> None:
        self.desk = desk
        self.runbook = runbook
        self.over = threading.Event()
        """The faults are: what has begun goes away, and what has not does not come."""
        self.process: psutil.Process | None = None
        """The `dr` that is at it."""

    def bring(self, fault: Fault) -> None:
        while not SIGNS[fault.seen](self.desk):
            if self.over.wait(0.001):
                return
        if not self.over.wait(fault.delay):
            with FAULTS[fault.what](self):
                self.over.wait(fault.lasts)


def signalled(scene: Scene, number: signal.Signals) -> None:
    if scene.process is not None:
        with suppress(psutil.NoSuchProcess):
            scene.process.send_signal(number)


@contextmanager
def killed_orchestrator(scene: Scene) -> Iterator[None]:
    signalled(scene, signal.SIGKILL)
    yield


@contextmanager
def stopped_orchestrator(scene: Scene) -> Iterator[None]:
    signalled(scene, signal.SIGTERM)
    yield


def frozen_orchestrator(scene: Scene) -> AbstractContextManager[None]:
    return frozen(scene.process)


@contextmanager
def second_operator(scene: Scene) -> Iterator[None]:
    """He gets hold of the run if the first one has let go of it."""
    said = scene.desk.dr("resume", "latest")
    assert said.status in {0, 5, 6, 11, 13}, said.err
    yield


@contextmanager
def killed(role: str, scene: Scene) -> Iterator[None]:
    """Whoever starts it knows nothing of dr; but a dead primary that is not fenced yet he leaves alone."""
    node: Node = getattr(scene.desk, role)
    node.kill()
    yield
    dead = scene.runbook == FAIL and role == "primary" and not (node.server.data / FENCE).exists()
    if node.process() is None and not dead:
        node.launch()


def kept_up_primary(scene: Scene) -> AbstractContextManager[None]:
    """By a service manager. A dead one would work again, and then there is no failover."""
    return kept_up(scene.desk.primary) if scene.runbook == SWITCH else nullcontext()


def frozen_server(role: str, scene: Scene) -> AbstractContextManager[None]:
    node: Node = getattr(scene.desk, role)
    return frozen(node.process())


@contextmanager
def ended_sessions(role: str, scene: Scene) -> Iterator[None]:
    """Those of dr and of the replication, too."""
    node: Node = getattr(scene.desk, role)
    with suppress(psycopg.OperationalError), node.server.connect() as administrator:
        administrator.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
            "and backend_type in ('client backend', 'walsender')"
        )
    yield


@contextmanager
def killed_pool(scene: Scene) -> Iterator[None]:
    process_tree.kill(scene.desk.servers.pool)
    yield
    scene.desk.servers.start_pool()


def frozen_pool(scene: Scene) -> AbstractContextManager[None]:
    return frozen(scene.desk.servers.pool)


FAULTS: Final[Mapping[str, Callable[[Scene], AbstractContextManager[None]]]] = {
    KILL: killed_orchestrator,
    "dr stopped": stopped_orchestrator,
    "dr frozen": frozen_orchestrator,
    "a second operator": second_operator,
    "primary kept up": kept_up_primary,
    "pool killed": killed_pool,
    "pool frozen": frozen_pool,
    **{
        f"{role} {what}": partial(fault, role)
        for role in ("primary", "standby")
        for what, fault in (("killed", killed), ("frozen", frozen_server), ("loses its sessions", ended_sessions))
    },
}


def intents(count: int, desk: Desk) -> bool:
    return types(desk.folder).count("apply-started") >= count


SIGNS: Final[Mapping[str, Callable[[Desk], bool]]] = {
    "the first intent": partial(intents, 1),
    "the second intent": partial(intents, 2),
    "the mark": lambda desk: (desk.primary.server.data / CLAIM).exists(),
    "the fence": lambda desk: (desk.primary.server.data / FENCE).exists(),
}
"""What is seen of a run. Soon after the mark clients are held, and after the fence the old primary is down."""


def drawn(chance: random.Random) -> list[Fault]:
    """Each at most once: what is frozen is not frozen again. In every other round `dr` is killed, whatever else."""
    count = chance.choice((1, 2, 2, 3))
    names = chance.sample(list(FAULTS), count)
    if KILL not in names and chance.random() < 0.5:
        names[0] = KILL
    soon = (0.01, 0.03, 0.12, 0.6)
    return [
        Fault(name, chance.choice(list(SIGNS)), chance.uniform(0, chance.choice(soon)), chance.uniform(0.02, 2))
        for name in names
    ]


def play(scene: Scene, faults: list[Fault]) -> None:
    """The operator's commands while the faults come and go, and then until the run has ended."""
    arguments: tuple[str, ...] = scene.desk.arguments(scene.runbook)
    with ThreadPoolExecutor() as threads:
        coming = [threads.submit(scene.bring, fault) for fault in faults]
        try:
            for _ in range(MOST_COMMANDS):
                with scene.desk.background(*arguments) as process:
                    scene.process = psutil.Process(process.pid)
                    process.wait(PATIENCE)
                match journal(scene.desk.folder)[-1:]:
                    case [{"type": "run-ended"}]:
                        break
                    case [{"type": "paused", "question": {"choices": choices}}]:
                        arguments = AGREED if "yes" in choices else ("answer", "latest", "retry")
                    case _:
                        arguments = ("resume", "latest")
        finally:
            scene.over.set()
        for fault in coming:
            fault.result(LIMIT)
    scene.desk.to_the_end()


def soak_once(servers: Cluster, shop: Site, folder: Path, roles: list[Node], seed: int) -> str:
    """One change of the primary, and whether it went well, whatever came; in words what came. Swaps the roles.

    Raises:
        AssertionError: it did not.
    """
    chance = random.Random(seed)
    runbook = chance.choice((SWITCH, SWITCH, FAIL))
    faults = drawn(chance)
    words = f"{runbook.removeprefix('runbooks/')}: {'; '.join(map(str, faults))}"
    scene = Scene(Desk(folder, servers, shop, *roles), runbook)
    old, new = roles
    try:
        with Watch(servers) as watch, Writer(servers, first=seed % 2000 * 1_000_000) as client:
            if runbook == FAIL:
                scene.desk.primary_dies()
            promised_before = client.begun
            play(scene, faults)
            client.goes_on()
        promised = {row for row in client.acknowledged if runbook == SWITCH or row > promised_before}
        if old.process() is None:
            old.start()
        judge(scene, watch, promised)
    except BaseException as error:
        error.add_note(f"{words}\n{scene.desk.dr('show', 'latest').out}")
        error.add_note(f"Again: make soak ARGS='--seed {seed} --rounds 1'")
        raise
    roles[:] = new, old
    return words


def judge(scene: Scene, watch: Watch, promised: set[int]) -> None:
    """What must hold when a run has ended, whatever came."""
    desk = scene.desk
    assert not watch.two_writable
    assert watch.turns[-1:] == [desk.standby.name]
    assert desk.standby.writable()
    assert desk.primary.ask("select pg_is_in_recovery()")
    rows = desk.servers.ids(desk.standby)
    assert promised <= rows, f"{len(promised - rows)} rows are lost"
    assert NEVER_RECEIVED not in rows
    assert desk.dr("audit", "verify", "--all").status == 0
    marks = [node.server.data / CLAIM for node in desk.servers.nodes]
    assert not any(mark.exists() and mark.read_text() for mark in marks), "a mark is left, and bars any later failover"
    wait.until(lambda: not at_work_in(desk.folder), LIMIT, "the end of all that dr has started")


def at_work_in(folder: Path) -> list[int]:
    """Processes of `dr`, and of what it started; a server has gone to its data directory."""
    return [process.pid for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--rounds", type=int, default=50)
    given = parser.parse_args()
    with website() as shop, cluster() as servers, TemporaryDirectory() as folder:
        roles = [servers.first, servers.second]
        for seed in range(given.seed, given.seed + given.rounds):
            words = soak_once(servers, shop, Path(folder) / str(seed), roles, seed)
            sys.stdout.write(f"{seed}: well; {words}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
