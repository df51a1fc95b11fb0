"""A topic for notices, and a queue that keeps them, so that one can look at what was sent."""

import os

import boto3

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "http://localhost:4566")
NAME = "dr-notices"

sns = boto3.client("sns", region_name="eu-central-1", endpoint_url=ENDPOINT)
sqs = boto3.client("sqs", region_name="eu-central-1", endpoint_url=ENDPOINT)
topic = sns.create_topic(Name=NAME)["TopicArn"]
queue = sqs.create_queue(QueueName=NAME)["QueueUrl"]
attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
sns.subscribe(
    TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"], Attributes={"RawMessageDelivery": "true"}
)
print(f"{topic} -> {queue}")
