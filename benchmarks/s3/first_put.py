"""A process that stores one object and ends.

usage: python first_put.py boto3|dr|dr-later ENDPOINT

`dr-later` does something else for a second first, as `dr run` does that shows a plan and asks, and then prints how many
seconds the put took.
"""

import sys
import time

ENTRY = b"{" + b"x" * 268 + b"}\n"
BUCKET, KEY, REGION = "home", "entry", "eu-central-1"

contestant, endpoint = sys.argv[1:]
if contestant == "boto3":
    import boto3

    boto3.client("s3", endpoint_url=endpoint, region_name=REGION).put_object(Bucket=BUCKET, Key=KEY, Body=ENTRY)
else:
    from dr.audit.place import Place
    from dr.audit.s3 import S3Store

    store = S3Store(Place(bucket=BUCKET, region=REGION, endpoint=endpoint))
    if contestant == "dr-later":
        time.sleep(1)
    begin = time.perf_counter()
    store.create(KEY, ENTRY, within=15)
    print(time.perf_counter() - begin)
