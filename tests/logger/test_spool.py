"""The spool: what is written is read by whoever comes next, whatever the writer's end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge_logger.backlog import Backlog, Inbox, weight
from tidegauge_logger.events import Event
from tidegauge_logger.spool import Segment, Writer, orphans


def event(number, size=10):
    return Event("predictions", str(number), b"x" * size)


def everything(writer):
    found = []
    while (block := writer.read()) is not None:
        found += [int(one.key) for one in block.events]
        block.segment.acknowledge(block.end)
    return found


def test_what_a_writer_left_is_adopted_once_and_in_order(tmp_path):
    first = Writer(tmp_path, segment_bytes=100)
    for number in range(20):
        assert first.append([event(number)], True)
    assert len(first.segments) > 3
    assert list(orphans(tmp_path)) == []
    first.abandon()
    (found,) = orphans(tmp_path)
    assert list(orphans(tmp_path)) == []
    assert everything(found) == list(range(20))
    found.tidy()
    found.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_acknowledged_is_not_read_again(tmp_path):
    first = Writer(tmp_path)
    for number in range(10):
        first.append([event(number)], True)
    for _ in range(4):
        _, segment, end = first.read()
        segment.acknowledge(end)
    first.abandon()
    (found,) = orphans(tmp_path)
    assert everything(found) == list(range(4, 10))


@given(st.integers(1, 400), st.booleans())
def test_a_torn_or_broken_end_costs_what_was_torn(tmp_path_factory, cut, flip):
    path = tmp_path_factory.mktemp("spool") / "one.events"
    written = Segment(path, new=True)
    ends = [written.size]
    for number in range(10):
        written.append([event(number)])
        ends.append(written.size)
    written.close()
    data = path.read_bytes()
    cut = min(cut, len(data) - ends[0])
    place = len(data) - cut
    path.write_bytes(data[:place] + (bytes([data[place] ^ 255]) + data[place + 1 :] if flip else b""))
    found = Segment(path)
    read = []
    while (block := found.read()) is not None:
        read += [int(one.key) for one in block.events]
        found.acknowledge(block.end)
    assert read == list(range(sum(end <= place for end in ends[1:])))
    assert found.done
    found.close()


def test_a_file_that_is_none_of_ours_is_no_trouble(tmp_path):
    (tmp_path / "x.lock").write_bytes(b"")
    (tmp_path / "x.00000001.events").write_bytes(b"")
    (tmp_path / "x.00000002.events").write_bytes(os.urandom(1000))
    (tmp_path / "notes.txt").write_text("mine")
    (found,) = orphans(tmp_path)
    assert everything(found) == []
    found.tidy()
    found.close()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def spooled(tmp_path, **bounds):
    inbox = Inbox(bounds.pop("memory", 1 << 30))
    return inbox, Backlog(inbox, tmp_path, **({"max_bytes": 1 << 30} | bounds))


def drain(backlog):
    found = []
    while (block := backlog.next()) is not None:
        found += [int(one.key) for one in block.events]
        backlog.arrived(block)
        backlog.tidy()
    return found


def test_the_disk_is_bounded_and_the_rest_waits_in_memory_in_order(tmp_path, caplog):
    inbox, backlog = spooled(tmp_path, max_bytes=1 << 20)
    for number in range(3000):
        assert inbox.put(event(number, 1000))
        if number % 100 == 99:
            backlog.collect()
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert used <= 1 << 20
    assert inbox.held > 1 << 20
    assert caplog.text.count("takes no events") == 1
    assert drain(backlog) == list(range(3000))
    assert inbox.held == 0
    inbox.put(event(1))
    backlog.collect()
    assert inbox.held == 0, "there is room on disk again"


def test_a_directory_that_cannot_be_had_leaves_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    inbox, backlog = spooled(tmp_path / "file" / "spool")
    inbox.put(event(1))
    backlog.adopt()
    backlog.collect()
    assert inbox.held == weight(event(1))
    assert drain(backlog) == [1]
    assert inbox.held == 0
    assert caplog.text.count("takes no events") == 1


DYING = """
import sys
from pathlib import Path
from tidegauge_logger.events import Event
from tidegauge_logger.spool import Writer, orphans
import os, signal, random
directory, name = Path(sys.argv[1]), int(sys.argv[2])
adopted = list(orphans(directory))
for writer in adopted:
    while (block := writer.read()) is not None:
        for one in block.events:
            print(one.key)
        block.segment.acknowledge(block.end)
    writer.tidy()
    writer.close()
sys.stdout.flush()
mine = Writer(directory, segment_bytes=2000)
for number in range(50):
    mine.append([Event("predictions", str(name * 1000 + number), b"x" * 100)], True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_share_a_directory_and_each_event_is_read_by_one_of_them(tmp_path):
    said = []
    for generation in range(3):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", DYING, str(tmp_path), str(10 * generation + number)], stdout=subprocess.PIPE
            )
            for number in range(4)
        ]
        said += [int(line) for process in running for line in process.communicate(timeout=60)[0].split()]
        assert all(process.returncode == -9 for process in running)
    for writer in orphans(tmp_path):
        said += everything(writer)
        writer.tidy()
        writer.close()
    expected = [(10 * generation + number) * 1000 + one for generation in range(3) for number in range(4) for one in range(50)]
    assert sorted(said) == sorted(expected)
    assert list(tmp_path.iterdir()) == []


def test_another_process_cannot_take_a_living_writers_name(tmp_path):
    first = Writer(tmp_path)
    with pytest.raises(BlockingIOError):
        Writer(tmp_path, first.name)
    first.close()
