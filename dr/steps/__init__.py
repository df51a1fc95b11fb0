"""The kinds of steps: one file each, and the catalogue that closes the set."""

from dr.core.step import Catalogue
from dr.steps.database_failover import DatabaseFailover
from dr.steps.database_reprotect import DatabaseReprotect
from dr.steps.database_switchover import DatabaseSwitchover
from dr.steps.feature_flag import FeatureDisable, FeatureEnable
from dr.steps.health_verify import HealthVerify
from dr.steps.note import Note
from dr.steps.operator_confirm import OperatorConfirm
from dr.steps.queries_terminate import QueriesTerminate
from dr.steps.reads_shift import ReadsShift

CATALOGUE = Catalogue(
    [
        FeatureDisable,
        FeatureEnable,
        QueriesTerminate,
        ReadsShift,
        DatabaseSwitchover,
        DatabaseFailover,
        DatabaseReprotect,
        HealthVerify,
        OperatorConfirm,
        Note,
    ]
)
