from dr.core.step import InPlace, NotInPlace
from dr.steps.cluster_pause import ClusterPause, ClusterResume
from tests.patroni_cluster import PatroniCluster, world


def test_a_paused_manager_says_so_and_pausing_is_undone_by_what_was_before(patroni: PatroniCluster) -> None:
    step = ClusterPause(cluster="cluster")
    with world(patroni).act() as here:
        before = step.observe(here)
        assert before == NotInPlace({"paused": False})
        step.apply(here)
        assert patroni.nodes[0].ask("/cluster")["pause"]
        assert step.observe(here) == InPlace({"paused": True})
        step.undo(here, before.evidence)
        assert isinstance(step.observe_undone(here, before.evidence), InPlace)
    assert "pause" not in patroni.nodes[0].ask("/cluster")


def test_a_manager_takes_care_of_the_roles_again(patroni: PatroniCluster) -> None:
    with world(patroni).act() as here:
        ClusterPause(cluster="cluster").apply(here)
        step = ClusterResume(cluster="cluster")
        assert step.observe(here) == NotInPlace({"paused": True})
        step.apply(here)
        assert step.observe(here) == InPlace({"paused": False})
    assert "pause" not in patroni.nodes[0].ask("/cluster")
