"""Two workers of different versions share a group, and each takes over what the other has kept: a rolling upgrade, and back."""

import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.alternation import assert_alternating
from support.cluster import Cluster
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS

ROOT = Path(__file__).parents[2]
FORMER = "2f9ab9db76e6"
"""The version to upgrade from: the last release, as soon as there is one; until then a commit of the same state format."""


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"upgrade-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


@pytest.fixture
def former(tmp_path):
    """The path that has the former version's packages, out of the history: a shallow clone has to fetch it."""
    archive = tmp_path / "former.tar"
    subprocess.run(["git", "-C", str(ROOT), "archive", "--output", str(archive), FORMER, "app"], check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "former", filter="data")
    return str(tmp_path / "former" / "app")


def restored(cluster, index):
    """How many tasks a worker of this number has taken over so far, as its log says."""
    return (cluster.directory / f"worker-{index}.log").read_text().count(": restored ")


@pytest.mark.long
@pytest.mark.parametrize("back", [False, True], ids=["upgrade", "downgrade"])
def test_one_worker_after_the_other(cluster, former, tmp_path, back):
    present = str(ROOT / "app")
    before, after = (present, former) if back else (former, present)
    events, end = traffic(61, 3000)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    step = len(events) // 3
    workers = [cluster.start(index, PYTHONPATH=before) for index in (0, 1)]
    wait_for(lambda: restored(cluster, 0) and restored(cluster, 1), 60, "two workers at work")
    cluster.send(events[:step], pause=0.1)
    wait_for(lambda: bool(cluster.metrics()), 60, "the first numbers")
    for index in (0, 1):
        workers[index].terminate()
        assert workers[index].wait(30) == 0
        # With the disk that the other version has left.
        at_first = restored(cluster, index)
        workers[index] = cluster.start(index, PYTHONPATH=after)
        wait_for(lambda: restored(cluster, index) > at_first, 60, "the other version at work")  # noqa: B023
        cluster.send(events[(1 + index) * step : (2 + index) * step if index == 0 else None], pause=0.1)
    cluster.send(end)
    found = cluster.wait_for_predictions(count, "1m")
    assert_same(found, replayed(events + end, tmp_path))
    assert_alternating(cluster.alerts())
