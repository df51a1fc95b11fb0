"""What the contestants are given: runbooks of no-op steps, an environment without targets, experiments."""

import json
from pathlib import Path

ENVIRONMENT = "bench"


def write_environment(folder: Path) -> None:
    """A `dr.toml` with one environment that has no targets."""
    (folder / "dr.toml").write_text(f"[environments.{ENVIRONMENT}.targets]\n")


def write_runbook(file: Path, steps: int, *, options: bool = False) -> Path:
    """A runbook of no-op steps; with `options`, each step also has the optional fields that a person would give."""
    head = "name: bench\ntitle: Steps that do nothing\ndescription: Measures the engine.\nowner: nobody\nsteps:\n"
    step = "  - id: step-{0}\n    kind: note\n    with:\n      text: this is step {0}\n"
    if options:
        step += "    title: Step number {0}\n    timeout: 30s\n    retry:\n      attempts: 3\n      wait: 500ms\n"
        step += "    on_failure: rollback\n"
    file.write_text(head + "".join(step.format(number) for number in range(steps)))
    return file


def write_experiment(file: Path, steps: int) -> Path:
    """The same for Chaos Toolkit: actions that call a Python function that does nothing."""
    provider = {"type": "python", "module": "benchmarks.peers.noop", "func": "note"}
    method = [
        {
            "type": "action",
            "name": f"step-{number}",
            "provider": {**provider, "arguments": {"text": f"this is step {number}"}},
        }
        for number in range(steps)
    ]
    file.write_text(json.dumps({"title": "bench", "description": "Steps that do nothing.", "method": method}))
    return file
