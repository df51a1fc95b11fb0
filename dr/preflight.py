"""What is asked before anything is touched: whether the targets answer, and what each step would act on."""

from collections.abc import Iterator

from dr.core.plan import Plan, PlannedStep
from dr.core.step import Evidence, OutOfTime
from dr.errors import PreconditionFailed
from dr.real_world import RealTargets, make_step
from dr.steps import CATALOGUE
from dr.targets.protocols import TargetUnreachable
from dr.world import Here, World

PREFLIGHT = 5.0
"""Seconds in which a target must answer before the first step."""


def preflight(plan: Plan, targets: RealTargets) -> None:
    """Ask every target that a step acts on, side by side, before anything is touched (safety rule 9).

    Not asked are the targets of steps that only look (that the website is down is why the runbook is run) and of steps
    that this run skips, and those that a step allows to be down: the server that a failover leaves, one that is
    restored. Where several steps name a target, the first of them decides.

    Raises:
        PreconditionFailed: at least one does not answer.
    """
    needed: dict[str, bool] = {}
    for step in plan.steps():
        if not step.skip and CATALOGUE[step.kind].acts:
            may_be_down = _may_be_down(step)
            for name in step.targets:
                needed.setdefault(name, name not in may_be_down)
    names = sorted(name for name, is_needed in needed.items() if is_needed)
    if not names:
        return
    from concurrent.futures import ThreadPoolExecutor  # with logging: only where there is something to be reached

    with ThreadPoolExecutor(max_workers=len(names), thread_name_prefix="preflight") as pool:
        answers = list(pool.map(lambda name: _ping(targets, name), names))
    silent = [f"{name}: {why.removeprefix(f'{name}: ')}" for name, why in zip(names, answers, strict=True) if why]
    if silent:
        raise PreconditionFailed(
            "not everything can be reached\n" + "\n".join(f"  {line}" for line in silent),
            stands="nothing was touched; no run was started",
            hint="mend it, or run with --ungraceful to pass over the steps that allow it",
        )


def look(plan: Plan, world: World) -> Iterator[tuple[PlannedStep, Evidence | str]]:
    """What each step would act on right now, where it can tell; or why it cannot be looked at. Changes nothing."""
    verify = (plan.steady_state,) if plan.steady_state else ()
    for planned in (*plan.steps(), *verify):
        here = Here(world, "look", planned.id, 0, PREFLIGHT)
        try:
            seen = world.step(planned).preview(here)
        except (TargetUnreachable, LookupError, OutOfTime) as error:
            yield planned, str(error)
        else:
            if seen is not None:
                yield planned, seen
        finally:
            here.close()


def _may_be_down(planned: PlannedStep) -> set[str]:
    return {name for name, role in make_step(planned).roles() if role.may_be_down}


def _ping(targets: RealTargets, name: str) -> str:
    """Why the target does not answer; empty when it does."""
    try:
        with targets.open(name, "dr:preflight", PREFLIGHT) as target:
            target.ping()
    except (TargetUnreachable, LookupError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""
