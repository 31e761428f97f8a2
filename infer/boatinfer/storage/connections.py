"""Opens the store of a bucket: its library, credentials, region and endpoint."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from boatinfer.errors import UsageError, install_hint
from boatinfer.storage.errors import reason_of

__all__ = ["connection", "s3_endpoint"]

#: Names of Amazon's own servers, for which obstore knows the address of each bucket.
_AMAZON = ".amazonaws.com"

#: What names another S3 server than Amazon's to all tools; botocore reads it.
_ENDPOINT = "AWS_ENDPOINT_URL_S3"

#: How long credentials are used before botocore is asked whether they are still good.
_CREDENTIALS_FOR = timedelta(minutes=5)


@contextlib.contextmanager
def s3_endpoint(url: str | None) -> Iterator[None]:
    """Names the S3 server, for this process and those that it starts; None changes nothing."""
    before = os.environ.get(_ENDPOINT)
    if url is not None:
        os.environ[_ENDPOINT] = url
    try:
        yield
    finally:
        if before is not None:
            os.environ[_ENDPOINT] = before
        elif url is not None:
            del os.environ[_ENDPOINT]


def connection(scheme: str, bucket: str) -> tuple[Any, Any]:
    """Gives an obstore store, and for S3 a botocore client beside it, made when first asked for.

    Raises:
        UsageError: a package or credentials are missing, there is no such bucket, or the server
            cannot be reached.
    """
    return _connected(scheme, bucket, os.environ.get(_ENDPOINT))


@functools.cache
def _connected(scheme: str, bucket: str, endpoint: str | None) -> tuple[Any, Any]:
    """`connection`, once for each bucket of each server."""
    uri = f"{scheme}://{bucket}"
    try:
        return _google(bucket) if scheme == "gs" else _amazon(bucket)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{uri} needs {error.name}, which is not installed; {install_hint('bucket')}."
        ) from error


def _google(bucket: str) -> tuple[Any, None]:
    from obstore.exceptions import BaseError
    from obstore.store import GCSStore

    try:
        return GCSStore(bucket), None
    except BaseError as error:
        raise UsageError(
            f"gs://{bucket} cannot be opened ({reason_of(error)}); set "
            "GOOGLE_APPLICATION_CREDENTIALS to a key file, or log in with gcloud."
        ) from error


def _amazon(bucket: str) -> tuple[Any, Any]:
    from botocore.exceptions import BotoCoreError
    from obstore.store import S3Store

    try:
        client, credentials = _client(bucket)
        region = _region(client, bucket)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(
            f"s3://{bucket} cannot be opened ({reason_of(error)}); check the credentials, the "
            "profile and the endpoint."
        ) from error
    server = client.meta.endpoint_url
    theirs = _AMAZON in server
    store = S3Store(
        bucket,
        region=region,
        endpoint=None if theirs else server,
        virtual_hosted_style_request=theirs and "." not in bucket,
        skip_signature=credentials is None,
        credential_provider=credentials,
        client_options={"allow_http": True, "timeout": timedelta(minutes=2)},
    )
    return store, client


def _client(bucket: str) -> tuple[Any, Any]:
    """A botocore client, and what gives obstore the same credentials; None for nobody's."""
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    session = botocore.session.get_session()
    signed = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() not in {"1", "true"}
    credentials = session.get_credentials() if signed else None
    if signed and credentials is None:
        raise UsageError(
            f"s3://{bucket}: there are no credentials; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or for a public bucket AWS_SKIP_SIGNATURE=true."
        )
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 6},
        signature_version=None if signed else UNSIGNED,
    )
    region = session.get_config_variable("region") or "us-east-1"
    client = session.create_client("s3", region, config=config)
    if credentials is None:
        return client, None

    def frozen() -> dict[str, Any]:
        now = credentials.get_frozen_credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_FOR,
        }

    return client, frozen


def _region(client: Any, bucket: str) -> str:
    """Where the bucket is, which its server tells even to those who may not look into it.

    Raises:
        UsageError: there is no such bucket.
    """
    from botocore.exceptions import ClientError

    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        if answer["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise UsageError(
                f"there is no bucket s3://{bucket} at {client.meta.endpoint_url}; check its name."
            ) from error
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    return str(told or client.meta.region_name)
