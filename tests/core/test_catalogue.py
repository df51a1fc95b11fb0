import subprocess
import sys

import pytest

from dr.core.catalogue import Catalogue
from dr.core.step import Step

KNOWN: Catalogue[Step] = Catalogue("dr.steps", {"note": "note:Note", "notify": "notify:Notify"})


def test_a_catalogue_knows_its_types_by_name() -> None:
    assert list(KNOWN) == ["note", "notify"]
    assert len(KNOWN) == 2
    assert KNOWN["note"] is KNOWN["note"]
    assert KNOWN["note"].__name__ == "Note"
    assert "note" in KNOWN


def test_a_name_that_it_does_not_know_is_not_looked_for() -> None:
    assert "os" not in KNOWN
    assert KNOWN.get("os") is None
    with pytest.raises(KeyError):
        KNOWN["os"]


def test_only_what_is_asked_for_is_loaded() -> None:
    code = (
        "import sys\n"
        "from dr.steps import CATALOGUE\n"
        "assert 'note' in CATALOGUE and len(list(CATALOGUE)) > 10\n"
        "assert not [name for name in sys.modules if name.startswith('dr.steps.')]\n"
        "CATALOGUE['note']\n"
        "print(*[name for name in sys.modules if name.startswith('dr.steps.')])\n"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert loaded == ["dr.steps.note"]
