"""Every error an operator can meet, with its code and its exit status.

An error says three things: what happened, what stands now, and what to type next. Imports nothing, so that every
layer may raise these.
"""

from typing import ClassVar


class DrError(Exception):
    """What happened, what stands now, and the next command to type.

    `code` is stable and kebab-case; scripts may match it. `exit_status` is the status of the process. `meaning` is the
    line of the table in `dr --help` and the README.
    """

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1
    meaning: ClassVar[str] = "a defect of dr, or the system refused something; the journal is safe, try `dr resume`"

    def __init__(self, what: str, *, stands: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.stands = stands
        self.hint = hint


class UsageError(DrError):
    code = "usage"
    exit_status = 2
    meaning = "the command line is wrong; nothing was touched"


class Deviated(DrError):
    code = "deviated"
    exit_status = 3
    meaning = "the run ended but the steady state did not hold"


class RolledBack(DrError):
    code = "rolled-back"
    exit_status = 4
    meaning = "the run was rolled back: what it had applied is undone, or left as it is where the operator ruled so"


class NeedsOperator(DrError):
    code = "needs-operator"
    exit_status = 5
    meaning = "the run is paused on a question; answer it with `dr answer`"


class Stopped(DrError):
    code = "stopped"
    exit_status = 6
    meaning = "the run was stopped at a safe point; `dr resume` goes on"


class Aborted(DrError):
    code = "aborted"
    exit_status = 7
    meaning = "the operator aborted the run; what was applied stays applied"


class RunbookWrong(DrError):
    code = "runbook-wrong"
    exit_status = 8
    meaning = "the runbook or dr.toml is wrong (file:line:column is named); nothing was touched"


class PlanChanged(DrError):
    code = "plan-changed"
    exit_status = 9
    meaning = "the stored plan is not the one the run was started with; nothing was touched"


class JournalBroken(DrError):
    code = "journal-broken"
    exit_status = 10
    meaning = "the journal was tampered with or damaged: it does not verify; the entry or checkpoint is named"


class JournalHeld(DrError):
    code = "journal-held"
    exit_status = 11
    meaning = "the run is held by another live process"


class NoSuchRun(DrError):
    code = "no-such-run"
    exit_status = 12
    meaning = "no run of that name is in the journal"


class RunEnded(DrError):
    code = "run-ended"
    exit_status = 13
    meaning = "the run has ended; there is nothing to go on with"


class JournalUnwritable(DrError):
    code = "journal-unwritable"
    exit_status = 14
    meaning = "the journal could not be written (disk full, no permission); stopped before the next effect, resumable"


class HomeUnreachable(DrError):
    code = "home-unreachable"
    exit_status = 19
    meaning = "the journal's home could not be written or read; stopped before the next effect, resumable"


class EnvironmentHeld(DrError):
    code = "environment-held"
    exit_status = 20
    meaning = "another run has not ended on the same environment; nothing was touched"


class SecretMissing(DrError):
    code = "secret-missing"
    exit_status = 15
    meaning = "a secret reference could not be resolved; nothing was touched"


class PreconditionFailed(DrError):
    code = "precondition-failed"
    exit_status = 16
    meaning = "a target could not be reached before the first step; nothing was touched"


class PartMissing(DrError):
    code = "part-missing"
    exit_status = 17
    meaning = "something dr needs for this is not installed; its name and how to get it are said"


class RollbackRefused(DrError):
    code = "rollback-refused"
    exit_status = 18
    meaning = "the run is past its point of no return and cannot be rolled back"


class EvidenceIncomplete(DrError):
    code = "evidence-incomplete"
    exit_status = 21
    meaning = "nothing was found changed, but signatures that should be there are missing; the entries are named"


class Unverifiable(DrError):
    code = "unverifiable"
    exit_status = 22
    meaning = "the journal is whole, but its signatures cannot be judged: no allowed_signers was given"


class SigningFailed(DrError):
    code = "signing-failed"
    exit_status = 23
    meaning = "the key that signs the run cannot be used (no agent, wrong passphrase, not allowed); nothing was touched"


class JournalUnreadable(DrError):
    code = "journal-unreadable"
    exit_status = 24
    meaning = "the system does not let this user read the journal, or its disk fails; nothing was touched"


#: Statuses that no error class stands for.
PLAIN_STATUSES = (
    (0, "recovered", "the run finished and the steady state held (or the command did what it says)"),
    (130, "interrupted", "Ctrl-C or a no before the first step, or a second Ctrl-C; `dr resume` goes on with a run"),
)


def exit_statuses() -> tuple[tuple[int, str, str], ...]:
    """The table of exit statuses: (status, code, meaning), by number."""
    kinds: tuple[type[DrError], ...] = (DrError, *DrError.__subclasses__())
    rows = [(kind.exit_status, kind.code, kind.meaning) for kind in kinds]
    return tuple(sorted([*rows, *PLAIN_STATUSES]))
