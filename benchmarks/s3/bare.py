"""A ready client of boto3 in a process of its own: it puts an object for each byte it reads, and answers with one.

usage: python -m benchmarks.s3.bare ENDPOINT REGION BUCKET
"""

import os
import sys

import boto3

from benchmarks.s3 import ENTRY

endpoint, region, bucket = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name=region)
number = 0
while os.read(sys.stdin.fileno(), 1):
    client.put_object(Bucket=bucket, Key=f"bare/{os.getpid()}/{number:010d}", Body=ENTRY)
    os.write(sys.stdout.fileno(), b".")
    number += 1
