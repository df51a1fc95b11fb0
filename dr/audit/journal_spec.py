"""`[journal]` of `dr.toml`: where runs are recorded."""

from collections.abc import Iterator

import msgspec

from dr.audit.place import Place, StoreSpec, bucket_and_prefix

DIRECTORY = "journal"
"""Where the journal is when nobody says."""
REGIONAL = ("region", "kms_key")
"""What a mirror does not share with the home unless it says so."""


class MirrorSpec(StoreSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mirror. What it does not say is as for the home, except region and KMS key."""

    url: str
    """`s3://bucket/prefix`."""


class JournalSpec(StoreSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table. Besides directory and mirrors everything is about the home."""

    directory: str = DIRECTORY
    """A relative one starts from the folder of `dr.toml`."""
    home: str | None = None
    """`s3://bucket/prefix`; without it the directory alone is the journal."""
    mirrors: tuple[str | MirrorSpec, ...] = ()


class Places(msgspec.Struct, frozen=True):
    """Where a journal is kept besides the local directory."""

    home: Place
    mirrors: tuple[Place, ...] = ()


def places(spec: JournalSpec) -> Places | None:
    """The home and the mirrors; None when there are none.

    Raises:
        ValueError: something cannot be meant as it is written (`problems` says it with its field).
    """
    if spec.home is None:
        return None
    return Places(_place(spec.home, spec), tuple(_mirror(spec, mirror) for mirror in spec.mirrors))


def place_of(url: str, **how: str | None) -> Place:
    """The place that is named on a command line.

    Raises:
        ValueError: it is none.
    """
    return _place(url, StoreSpec(**how))  # type: ignore[arg-type]


def problems(spec: JournalSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What cannot be meant as it is written: the path of the field, and what is wrong with it."""
    if spec.home is None:
        said = [name for name in (*StoreSpec.__struct_fields__, "mirrors") if getattr(spec, name)]
        yield from (((name,), f"{name!r} is about the journal's home, and there is none") for name in said)
        return
    try:
        names = [_place(spec.home, spec).name]
    except ValueError as error:
        yield ("home",), str(error)
        return
    for number, mirror in enumerate(spec.mirrors):
        try:
            name = _mirror(spec, mirror).name
        except ValueError as error:
            yield ("mirrors", number), str(error)
            continue
        if name in names:
            yield ("mirrors", number), f"{name} is named twice"
        names.append(name)


def _mirror(spec: JournalSpec, mirror: str | MirrorSpec) -> Place:
    if isinstance(mirror, str):
        mirror = MirrorSpec(url=mirror)
    shared = (name for name in StoreSpec.__struct_fields__ if name not in REGIONAL)
    changes = {name: getattr(spec, name) for name in shared if getattr(mirror, name) is None}
    return _place(mirror.url, msgspec.structs.replace(mirror, **changes))


def _place(url: str, spec: StoreSpec) -> Place:
    bucket, prefix = bucket_and_prefix(url)
    return Place(bucket=bucket, prefix=prefix, **{name: getattr(spec, name) for name in StoreSpec.__struct_fields__})
