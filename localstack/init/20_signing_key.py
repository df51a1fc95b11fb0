"""The key that signs checkpoints of unattended runs: ECDSA on P-256, which never leaves KMS."""

import os

import boto3

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "http://localhost:4566")
ALIAS = "alias/dr-checkpoints"

kms = boto3.client("kms", region_name="eu-central-1", endpoint_url=ENDPOINT)
key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Description="signs checkpoints of the journal")
kms.create_alias(AliasName=ALIAS, TargetKeyId=key["KeyMetadata"]["KeyId"])
print(f"{ALIAS} in eu-central-1, ECC_NIST_P256")
