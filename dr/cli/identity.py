"""Who acts, and whose signatures are accepted: as the options and `dr.toml` say."""

import getpass
from pathlib import Path

from dr.audit.allowed_signers import AllowedSigners
from dr.author import Author, open_signing
from dr.cli.streams import complain
from dr.environment import load_config, read_signers
from dr.errors import SigningFailed
from dr.secrets import Secrets


def signers(config: Path, given: Path | None) -> AllowedSigners | None:
    """Whose signatures are accepted; None: nobody has said."""
    if given is not None:
        return read_signers(given)
    return load_config(config).signers() if config.exists() else None


def author(config: Path, secrets: Secrets, unsigned: str) -> Author:
    """Who acts: the identity that signs, as `dr.toml` says, else the user of the machine."""
    signing = None if unsigned or not config.exists() else open_signing(load_config(config), secrets, complain)
    return Author(signing.identity if signing else actor(), signing, unsigned)


def author_of_run(config: Path, secrets: Secrets, unsigned: str) -> Author:
    """The same for who acts: a recovery need not wait for a key, and whoever is refused for its sake is told so."""
    try:
        return author(config, secrets, unsigned)
    except SigningFailed as error:
        without = "to go without a signature: add --unsigned REASON"
        hint = f"{error.hint}   ({without})" if error.hint else without
        raise SigningFailed(error.what, stands=error.stands, hint=hint) from None


def actor() -> str:
    """Who is at the keyboard, as far as the machine knows."""
    try:
        return getpass.getuser().encode(errors="backslashreplace").decode()
    except (KeyError, OSError):  # a container without a name for its user
        return "unknown"
