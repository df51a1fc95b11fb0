"""The home of the journal and its mirror in another region: versioned, and no version can be removed for a day.

LocalStack in Docker executes these scripts itself, each on its own and not as `__main__`.
"""

import os

import boto3

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "http://localhost:4566")  # within Docker: LocalStack's own
BUCKETS = {"dr-journal": "eu-central-1", "dr-journal-mirror": "eu-west-1"}
RETENTION = {"Mode": "COMPLIANCE", "Days": 1}

for bucket, region in BUCKETS.items():
    s3 = boto3.client("s3", region_name=region, endpoint_url=ENDPOINT)
    s3.create_bucket(
        Bucket=bucket,
        CreateBucketConfiguration={"LocationConstraint": region},
        ObjectLockEnabledForBucket=True,  # versions come with it
    )
    s3.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": RETENTION}},
    )
    print(f"s3://{bucket} in {region}, Object Lock {RETENTION['Mode']} {RETENTION['Days']} day")
