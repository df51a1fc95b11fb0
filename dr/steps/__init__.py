"""The kinds of steps: one file each, and the catalogue that closes the set."""

from dr.core.step import Catalogue
from dr.steps.aws_autoscaling import AwsAutoscalingCapacity
from dr.steps.aws_lambda import AwsLambdaInvoke
from dr.steps.aws_parameter import AwsParameter
from dr.steps.aws_rds import AwsRdsFailover, AwsRdsPromote, AwsRdsSwitchover
from dr.steps.aws_rds_global import AwsRdsGlobalFailover, AwsRdsGlobalSwitchover
from dr.steps.aws_route53 import AwsRoute53Shift
from dr.steps.cluster_pause import ClusterPause, ClusterResume
from dr.steps.database_failover import DatabaseFailover
from dr.steps.database_reprotect import DatabaseReprotect
from dr.steps.database_restore import DatabaseRestore
from dr.steps.database_switchover import DatabaseSwitchover
from dr.steps.feature_flag import FeatureDisable, FeatureEnable
from dr.steps.health_verify import HealthVerify
from dr.steps.http_request import HttpRequestStep
from dr.steps.note import Note
from dr.steps.notify import Notify
from dr.steps.operator_confirm import OperatorConfirm
from dr.steps.playbook_run import PlaybookRun
from dr.steps.queries_terminate import QueriesTerminate
from dr.steps.reads_shift import ReadsShift
from dr.steps.ssh_command import SshCommand
from dr.steps.traffic_shift import TrafficShift

CATALOGUE = Catalogue(
    [
        FeatureDisable,
        FeatureEnable,
        QueriesTerminate,
        ReadsShift,
        TrafficShift,
        DatabaseSwitchover,
        DatabaseFailover,
        DatabaseReprotect,
        ClusterPause,
        ClusterResume,
        DatabaseRestore,
        AwsAutoscalingCapacity,
        AwsLambdaInvoke,
        AwsParameter,
        AwsRdsFailover,
        AwsRdsPromote,
        AwsRdsSwitchover,
        AwsRdsGlobalFailover,
        AwsRdsGlobalSwitchover,
        AwsRoute53Shift,
        HttpRequestStep,
        Notify,
        SshCommand,
        PlaybookRun,
        HealthVerify,
        OperatorConfirm,
        Note,
    ]
)
