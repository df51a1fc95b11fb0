"""The kinds of steps: one file each, and the catalogue that closes the set."""

from dr.core.step import Catalogue
from dr.steps.feature_flag import FeatureDisable, FeatureEnable
from dr.steps.health_verify import HealthVerify
from dr.steps.note import Note
from dr.steps.operator_confirm import OperatorConfirm
from dr.steps.playbook_run import PlaybookRun
from dr.steps.queries_terminate import QueriesTerminate
from dr.steps.reads_shift import ReadsShift
from dr.steps.ssh_command import SshCommand

CATALOGUE = Catalogue(
    [
        FeatureDisable,
        FeatureEnable,
        QueriesTerminate,
        ReadsShift,
        SshCommand,
        PlaybookRun,
        HealthVerify,
        OperatorConfirm,
        Note,
    ]
)
