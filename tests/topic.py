"""A topic of SNS in LocalStack."""

import json
import uuid
from typing import Any

from localstack.instance import LocalStack


class Topic:
    """A topic and its one subscriber."""

    def __init__(self, localstack: LocalStack, *, fifo: bool = False) -> None:
        name = f"people-{uuid.uuid4().hex[:8]}" + (".fifo" if fifo else "")
        attributes = {"FifoQueue": "true"} if fifo else {}
        self._sqs = localstack.client("sqs")
        self._queue = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        sns = localstack.client("sns")
        self.arn: str = sns.create_topic(Name=name, Attributes={"FifoTopic": "true"} if fifo else {})["TopicArn"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=arn)

    def came(self) -> list[dict[str, Any]]:
        """What the subscriber got since it was last asked."""
        found: list[dict[str, Any]] = []
        while messages := self._sqs.receive_message(QueueUrl=self._queue, WaitTimeSeconds=1).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return found
