"""`dr plan --look`: what each step would act on right now."""

from collections.abc import Iterator

from dr.cli.terminal import Json, Keyboard
from dr.core.plan import Plan
from dr.preflight import look
from dr.real_world import RealTargets, real_world
from dr.report.words import facts
from dr.secrets import Secrets


def look_lines(plan: Plan) -> Iterator[str]:
    """A line for each step that can tell, and for each item of what it lists."""
    secrets = Secrets()
    targets = RealTargets(plan.targets, secrets)
    targets.resolve_secrets()
    keyboard = Keyboard(interactive=False)
    for planned, seen in look(plan, real_world(targets, secrets, keyboard, Json(), keyboard.stop)):
        if isinstance(seen, str):
            yield secrets.mask(f"  {planned.id}: it cannot be looked at: {seen}")
            continue
        lists = {name: value for name, value in seen.items() if isinstance(value, list | tuple)}
        plain = {name: value for name, value in seen.items() if name not in lists}
        yield secrets.mask(f"  {planned.id}: {facts(plain)}".rstrip(": "))
        for name, items in lists.items():
            for item in items:
                told = facts(item) if isinstance(item, dict) else str(item)
                yield secrets.mask(f"    {name.replace('_', ' ')}: {told}")
