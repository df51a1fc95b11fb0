import subprocess
import sys

import msgspec
import pytest

from dr.targets import cloud, playbooks, pools, protocols, switching
from dr.targets.catalogue import TARGET_TYPES, open_target
from dr.targets.protocols import TargetConfig
from tests.here import opening

HEAVY = {"psycopg", "http.client", "ssl", "boto3", "apprise", "paramiko", "ansible_runner", "asyncio", "logging"}


@pytest.mark.parametrize("name", TARGET_TYPES)
def test_a_technology_says_what_it_is_and_which_protocols_it_speaks(name: str) -> None:
    kind = TARGET_TYPES[name]
    assert kind.__doc__
    assert kind.__struct_config__.frozen
    assert kind.__struct_config__.forbid_unknown_fields
    assert kind.__struct_config__.tag_field == "type"
    assert kind.__struct_config__.tag == name
    assert kind.speaks
    words = (protocols, cloud, switching, pools, playbooks)
    assert all(any(hasattr(module, protocol) for module in words) for protocol in kind.speaks)


def test_editors_can_be_told_what_each_technology_takes() -> None:
    schemas, _ = msgspec.json.schema_components(TARGET_TYPES.values(), schema_hook=lambda _: {"type": "string"})
    assert len(schemas) == len(TARGET_TYPES)


def test_what_is_not_in_the_catalogue_cannot_be_opened() -> None:
    class Telepathy(TargetConfig, frozen=True, tag="telepathy"):
        pass

    with pytest.raises(TypeError, match="Telepathy is not in the catalogue"):
        open_target(Telepathy(), opening())


def test_the_catalogue_loads_no_heavy_library() -> None:
    code = "import sys; from dr.targets.catalogue import TARGET_TYPES; [*TARGET_TYPES.values()]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "dr.targets.postgresql" in loaded
    assert not HEAVY & set(loaded)
