"""Opens the clients of a bucket's store, with credentials, region and endpoint."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from boatinfer.errors import UsageError, install_hint
from boatinfer.storage.errors import error_reason

__all__ = ["connection", "s3_endpoint"]

#: Domain of Amazon's own servers, for which obstore knows the address of each bucket.
_AWS_DOMAIN = ".amazonaws.com"

#: Environment variable that sets another S3 server than Amazon's; botocore reads it.
_ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_S3"

#: How long credentials are used before botocore is asked for them again.
_CREDENTIALS_LIFETIME = timedelta(minutes=5)


@contextlib.contextmanager
def s3_endpoint(url: str | None) -> Iterator[None]:
    """Sets the S3 server for this process and its children; None changes nothing."""
    previous = os.environ.get(_ENDPOINT_VARIABLE)
    if url is not None:
        os.environ[_ENDPOINT_VARIABLE] = url
    try:
        yield
    finally:
        if previous is not None:
            os.environ[_ENDPOINT_VARIABLE] = previous
        elif url is not None:
            del os.environ[_ENDPOINT_VARIABLE]


def connection(scheme: str, bucket: str) -> tuple[Any, Any]:
    """Returns the obstore store and, for S3, a botocore client; both are cached.

    Raises:
        UsageError: a package or credentials are missing, there is no such bucket, or the server
            cannot be reached.
    """
    return _cached_connection(scheme, bucket, os.environ.get(_ENDPOINT_VARIABLE))


@functools.cache
def _cached_connection(scheme: str, bucket: str, endpoint: str | None) -> tuple[Any, Any]:
    """`connection`, cached by bucket and server."""
    uri = f"{scheme}://{bucket}"
    try:
        return _open_gcs(bucket) if scheme == "gs" else _open_s3(bucket)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{uri} needs {error.name}, which is not installed; {install_hint('bucket')}."
        ) from error


def _open_gcs(bucket: str) -> tuple[Any, None]:
    from obstore.exceptions import BaseError
    from obstore.store import GCSStore

    try:
        return GCSStore(bucket), None
    except BaseError as error:
        raise UsageError(
            f"gs://{bucket} cannot be opened ({error_reason(error)}); set "
            "GOOGLE_APPLICATION_CREDENTIALS to a key file, or log in with gcloud."
        ) from error


def _open_s3(bucket: str) -> tuple[Any, Any]:
    from botocore.exceptions import BotoCoreError
    from obstore.store import S3Store

    try:
        client, credentials = _s3_client(bucket)
        region = _bucket_region(client, bucket)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(
            f"s3://{bucket} cannot be opened ({error_reason(error)}); check the credentials, the "
            "profile and the endpoint."
        ) from error
    server = client.meta.endpoint_url
    is_amazon = _AWS_DOMAIN in server
    store = S3Store(
        bucket,
        region=region,
        endpoint=None if is_amazon else server,
        virtual_hosted_style_request=is_amazon and "." not in bucket,
        skip_signature=credentials is None,
        credential_provider=credentials,
        client_options={"allow_http": True, "timeout": timedelta(minutes=2)},
    )
    return store, client


def _s3_client(bucket: str) -> tuple[Any, Any]:
    """A botocore client, and a credential provider for obstore; None for anonymous access."""
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

    def provide_credentials() -> dict[str, Any]:
        current = credentials.get_frozen_credentials()
        return {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": current.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LIFETIME,
        }

    return client, provide_credentials


def _bucket_region(client: Any, bucket: str) -> str:
    """The region of the bucket, which its server returns even without read permission.

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
    region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    return str(region or client.meta.region_name)
