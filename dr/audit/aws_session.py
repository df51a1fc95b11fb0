"""Sessions of botocore: whose credentials, and no more of botocore's data read than a client of S3 needs.

botocore and not boto3, which is botocore and an upload manager that nobody here uses. A session and its first client
take 30 ms so; 100 ms as they come, most of it for JSON read into OrderedDicts and for a look into each service's
folder.
"""

import functools
import gzip
import os
import threading
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials
from botocore.loaders import JSONFileLoader, Loader

STS_WITHIN = 5.0

opening = threading.Lock()
"""A session may be used by one thread at a time; the clients it makes by many."""


@functools.cache
def session(profile: str | None) -> Any:
    """One session for all clients of a profile: it keeps what it has read.

    Raises:
        botocore.exceptions.ProfileNotFound: there is no such profile.
    """
    made = botocore.session.Session(profile=profile)
    made.register_component("data_loader", _Data(file_loader=_Json()))
    return made


@functools.cache
def assumed(profile: str | None, role: str, region: str | None, endpoint: str | None) -> Any:
    """One session for all clients of a role that the profile may assume."""
    made = botocore.session.Session(profile=profile)
    made.register_component("data_loader", session(profile).get_component("data_loader"))
    provider = _AssumedRole(session(profile), role, region, endpoint)
    made.get_component("credential_provider").insert_before("env", provider)
    return made


def region_name(region: str | None) -> str | None:
    """The region, also by the name that other AWS tools read; None leaves it to the profile."""
    return region or os.environ.get("AWS_REGION")


class _Data(Loader):  # type: ignore[misc]  # botocore has no types
    """botocore's descriptions of the services."""

    def list_available_services(self, type_name: str) -> list[str]:
        """Each folder, without a look whether a description of that type is in it: all have one."""
        return sorted(
            {folder.name for path in map(Path, self.search_paths) if path.is_dir() for folder in path.iterdir()}
        )


class _Json(JSONFileLoader):  # type: ignore[misc]
    """Reads them, five times as fast."""

    def load_file(self, file_path: str) -> Any:
        """The content of the file, whose name lacks its ending; None when there is none."""
        for ending, decompress in ((".json", bytes), (".json.gz", gzip.decompress)):
            path = Path(file_path + ending)
            if path.is_file():
                return msgspec.json.decode(decompress(path.read_bytes()))
        return None


class _AssumedRole(CredentialProvider):  # type: ignore[misc]
    """Credentials of a role, renewed before they run out: a run may wait for hours."""

    METHOD = "assume-role"

    def __init__(self, source: Any, role: str, region: str | None, endpoint: str | None) -> None:
        super().__init__()
        self._source = source
        self._role = role
        self._where = {"region_name": region_name(region), "endpoint_url": endpoint}

    def load(self) -> DeferredRefreshableCredentials:
        """Nothing is sent before the first call that needs them."""
        fetcher = AssumeRoleCredentialFetcher(
            self._client, self._source.get_credentials(), self._role, {"RoleSessionName": "dr-journal"}
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    def _client(self, service: str, **credentials: Any) -> Any:
        config = Config(connect_timeout=STS_WITHIN, read_timeout=STS_WITHIN, retries={"total_max_attempts": 2})
        with opening:
            return self._source.create_client(service, config=config, **self._where, **credentials)
