"""A topic of Amazon SNS that tells its subscribers. boto3 is loaded when it is opened."""

import hashlib
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from dr.targets.protocols import Opening, Receipt
from dr.targets.transport import receipts
from dr.targets.transport.aws_access import AwsAccess

if TYPE_CHECKING:
    from dr.targets.transport.aws_api import Api


class Sns(AwsAccess, frozen=True, kw_only=True, tag="sns"):
    """A topic of Amazon SNS."""

    speaks: ClassVar[tuple[str, ...]] = ("Notifier",)

    topic: Annotated[str, msgspec.Meta(pattern=r"^arn:[^:\s]+:sns:[^:\s]+:\d{12}:[\w.-]+$")]
    """Its ARN."""

    def __post_init__(self) -> None:
        if self.topic.split(":")[3] != self.region:
            raise ValueError(f"topic: it is not in {self.region}")


def open_target(config: Sns, opening: Opening) -> "SnsTopic":
    """The topic, opened. Nothing is asked yet."""
    from dr.targets.transport import aws_api

    return SnsTopic(config.topic, aws_api.Api(config, opening), opening)


class SnsTopic:
    """A Notifier. A FIFO topic delivers a message once, however often it is sent within five minutes."""

    def __init__(self, topic: str, api: "Api", opening: Opening) -> None:
        self._topic = topic
        self._api = api
        self._opening = opening

    def ping(self) -> None:
        self._api.ask("sns", "get_topic_attributes", TopicArn=self._topic)

    def close(self) -> None:
        pass

    def tell(self, subject: str, text: str) -> Receipt:
        plain = subject.encode("ascii", "replace").decode()  # SNS takes no other
        message = {"Subject": plain, "Message": text if plain == subject else f"{subject}\n\n{text}"}
        if self._topic.endswith(".fifo"):
            key = hashlib.sha256(receipts.without_attempt(self._opening.label).encode()).hexdigest()
            message |= {"MessageGroupId": "dr", "MessageDeduplicationId": key}
        answer = self._api.once("sns", "publish", TopicArn=self._topic, **message)
        return receipts.keep(self._opening, {"message": answer["MessageId"]})

    def told(self) -> Receipt | None:
        return receipts.find(self._opening)
