"""The kinds of steps: one file each, and the catalogue that closes the set."""

from typing import Final

from dr.core.catalogue import Catalogue
from dr.core.step import Step

CATALOGUE: Final[Catalogue[Step]] = Catalogue(
    __name__,
    {
        "feature.disable": "feature_flag:FeatureDisable",
        "feature.enable": "feature_flag:FeatureEnable",
        "queries.terminate": "queries_terminate:QueriesTerminate",
        "reads.shift": "reads_shift:ReadsShift",
        "database.switchover": "database_switchover:DatabaseSwitchover",
        "database.failover": "database_failover:DatabaseFailover",
        "database.reprotect": "database_reprotect:DatabaseReprotect",
        "aws.autoscaling.capacity": "aws_autoscaling:AwsAutoscalingCapacity",
        "aws.lambda.invoke": "aws_lambda:AwsLambdaInvoke",
        "aws.parameter": "aws_parameter:AwsParameter",
        "aws.rds.failover": "aws_rds:AwsRdsFailover",
        "aws.rds.promote": "aws_rds:AwsRdsPromote",
        "aws.route53.shift": "aws_route53:AwsRoute53Shift",
        "http.request": "http_request:HttpRequestStep",
        "notify": "notify:Notify",
        "ssh.command": "ssh_command:SshCommand",
        "playbook.run": "playbook_run:PlaybookRun",
        "health.verify": "health_verify:HealthVerify",
        "operator.confirm": "operator_confirm:OperatorConfirm",
        "note": "note:Note",
    },
)
