"""An S3-compatible object store on this machine (moto), for tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

BUCKET = "dps"


def make_bucket(address: str) -> dict[str, str]:
    """Make the bucket in the store at this address. Returns what the environment needs to find it."""
    import boto3

    env = {
        "AWS_ACCESS_KEY_ID": "planted-key",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    return env


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """A server with an empty bucket; what the environment needs to find it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield make_bucket(f"http://{host}:{port}")
    finally:
        server.stop()
