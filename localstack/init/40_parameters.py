"""Where the journal is, for machines that are told nothing but where to ask."""

import os

import boto3

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "http://localhost:4566")
PARAMETERS = {"/dr/journal/home": "s3://dr-journal", "/dr/journal/mirrors": "s3://dr-journal-mirror"}

ssm = boto3.client("ssm", region_name="eu-central-1", endpoint_url=ENDPOINT)
for name, value in PARAMETERS.items():
    ssm.put_parameter(Name=name, Value=value, Type="StringList" if name.endswith("s") else "String")
    print(f"{name} = {value}")
