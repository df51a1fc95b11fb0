"""The shop's feature flags: a flagd JSON file, written by whoever decides and polled by the shop."""

import json
from pathlib import Path

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

RECOMMENDATIONS = "recommendations"
READS_FROM = "reads-from"
PRIMARY = "primary"
STANDBY = "standby"

POLL_MS = 100

# Before the incident: the new feature is finished but not released, and every read goes to the primary.
BEFORE = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "flags": {
        RECOMMENDATIONS: {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "metadata": {"owner": "team-discovery"},
        },
        READS_FROM: {
            "state": "ENABLED",
            "variants": {PRIMARY: PRIMARY, STANDBY: STANDBY},
            "defaultVariant": PRIMARY,
        },
    },
}


def client(path: Path) -> OpenFeatureClient:
    """An OpenFeature client that follows the file; a change is seen within 0.1 s.

    The flagd provider has no interval for files of its own: it polls as often as its deadline says.
    """
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=POLL_MS)
    api.set_provider_and_wait(provider)
    return api.get_client()


def create(path: Path) -> None:
    """Write the flags as they stand before the incident."""
    replace(path, BEFORE)


def release(path: Path, feature: str) -> None:
    """Turn a feature on for everyone, as a developer does on an ordinary morning."""
    document = json.loads(path.read_text())
    document["flags"][feature]["defaultVariant"] = "on"
    replace(path, document)


def replace(path: Path, document: object) -> None:
    """Write the file so that a reader sees the old or the new one, never a part."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=2) + "\n")
    new.replace(path)
