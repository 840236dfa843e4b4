"""What happens to a worker's machine while events flow: its disk is full, cannot be written, is deleted under it; its clock is
set. The campaign's table has them too.
"""

import contextlib
import os
import random
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from support.campaign import Workers, put_through
from support.cluster import Cluster
from support.debian import program
from support.servers import wait_for

REFUSAL = 60
DISK_MB = 96


@contextlib.contextmanager
def small_disk(path):
    """A file system of its own, of DISK_MB, at ``path``."""
    path.mkdir(parents=True)
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", path], check=False).returncode
    ):
        pytest.skip("a small disk has to be mounted, which this user may not do here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def disk_full(workers):
    """Not a byte is left; then the worker dies, and its successor cannot even begin."""
    filler = workers.disk(0).parent / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return refused_until(workers, "No space left on device", filler.unlink)


def disk_read_only(workers):
    mounted = workers.disk(0).parent
    workers.end(0)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    workers.start(0)
    return refused_until(
        workers, "Read-only file system", lambda: subprocess.run(["mount", "-o", "remount,rw", mounted], check=True), kill=False
    )


def refused_until(workers, words, mend, kill=True):
    if kill:
        workers.kill_child(0)
    wait_for(lambda: words in workers.log(0), REFUSAL, "a refusal that says what is wrong")
    # Whoever cannot work does not take partitions from those who can.
    said = workers.log(0)
    assert "the state cannot be written there" in said[said.index(words) - 300 :]
    time.sleep(workers.cluster.settings.session_timeout + 4)
    assert "changelog records in" not in workers.log(0)[len(said) :]
    mend()
    return f"the worker refuses to start (“{words}”), the other does its work; right once there is room or a right"


def directory_deleted(workers):
    """While the worker has its files open."""
    shutil.rmtree(workers.disk(0))
    time.sleep(3)
    workers.end(0, refuses=True)
    workers.start(0)


def clock_set(workers, hours):
    with (workers.cluster.directory / "clock").open("r+b") as said:
        said.write(struct.pack("q", hours * 3600))
    time.sleep(12)


FAULTS = {
    "the disk full, and a `kill -9`": disk_full,
    "the disk read-only": disk_read_only,
    "the state directory deleted while it is in use": directory_deleted,
    "a worker's clock set an hour ahead": lambda workers: clock_set(workers, 1),
    "a worker's clock set an hour back": lambda workers: clock_set(workers, -1),
}
NAMES = ("disk_full", "disk_read_only", "directory_deleted", "clock_ahead", "clock_back")


@pytest.mark.long
@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for fault, name in zip(FAULTS, NAMES, strict=True)])
def test_faults_of_the_machine_end_in_the_numbers_of_replay(broker, table, tmp_path, fault):
    cluster = Cluster(broker, f"fault-{random.randrange(10**6)}", tmp_path)
    workers = Workers(cluster, 8, supervised=True)
    with contextlib.ExitStack() as stack:
        if "disk" in fault:
            stack.enter_context(small_disk(workers.disk(0).parent))
        environment = faked_clock(tmp_path) if "clock" in fault else {}
        put_through(workers, fault, FAULTS[fault], table, environment=environment)


def faked_clock(directory):
    """Environment under which a program's wall clock, and nothing else, is off by the seconds in the file ``clock``."""
    (directory / "clock").write_bytes(struct.pack("q", 0))
    library = directory / "set_clock.so"
    source = Path(__file__).parents[1] / "fixtures" / "set_clock.c"
    subprocess.run([program("gcc", "gcc"), "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "TIDEGAUGE_CLOCK": str(directory / "clock")}
