"""A callback plugin of Ansible: writes down which tasks check mode has skipped, and whether it predicts a change.

ansible-runner's own events do not say why a task was skipped. Ansible loads this file by its path.
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: dr_skipped
type: notification
short_description: Tasks that check mode has skipped
description: One line of JSON for each, in the file named by DR_SKIPPED.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible ships no type information
    """What Ansible looks for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "dr_skipped"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A false condition is an answer. A command without `creates` would run; of other modules nothing is known."""
        content = getattr(result, "result", None) or result._result  # noqa: SLF001 - before ansible-core 2.19
        parts = content.get("results") or [content]
        open_parts = [part for part in parts if not ("false_condition" in part or "skip_reason" in part)]
        if not open_parts:
            return
        host = getattr(result, "host", None) or result._host  # noqa: SLF001
        task = getattr(result, "task", None) or result._task  # noqa: SLF001
        line = {
            "type": "task",
            "host": host.get_name(),
            "task": task.get_name(),
            "outcome": "changed" if all("cmd" in part for part in open_parts) else "unpredicted",
        }
        with Path(os.environ["DR_SKIPPED"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
