"""The logger on a real Kafka: there, away and back, killed, forked, from many threads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from support.servers import wait_for
from support.topics import made, read
from tidegauge_logger import Logger


@pytest.fixture
def topics(broker, request):
    names = {
        topic: f"logger-{request.node.name[:60].replace('[', '-').rstrip(']')}-{topic}" for topic in ("predictions", "labels")
    }
    made(broker, *names.values())
    return names


def ids(broker, name):
    return [json.loads(record.value)["request_id"] for record in read(broker, name)]


def test_events_arrive_where_they_belong(broker, topics):
    log = Logger(broker.bootstrap, model_version="m:1", topics=topics)
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    made_ids = [log.prediction(features={"age": 41}, prediction=1, score=0.83, traceparent=parent) for _ in range(200)]
    for request_id in made_ids:
        log.label(request_id, 0, business={"revenue": 1.5})
    assert log.flush(20)
    log.close()
    predictions, labels = (read(broker, topics[topic]) for topic in ("predictions", "labels"))
    assert Counter(json.loads(record.value)["request_id"] for record in predictions) == Counter(made_ids)
    assert {tuple(record.headers) for record in predictions} == {(("traceparent", parent.encode()),)}
    of = {record.key: record.partition for record in predictions}
    assert {record.key: record.partition for record in labels} == of
    assert len(set(of.values())) == 4
    from aiokafka.partitioner import DefaultPartitioner

    assert all(DefaultPartitioner()(key, [0, 1, 2, 3], [0, 1, 2, 3]) == partition for key, partition in of.items())
    assert log.dropped == 0


def test_events_of_many_threads_all_arrive_once(broker, topics):
    log = Logger(broker.bootstrap, model_version="m:1", topics=topics)
    threads = [threading.Thread(target=lambda: [log.prediction(score=0.5) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close(20)
    found = ids(broker, topics["predictions"])
    assert len(found) == len(set(found)) == 8000
    assert log.dropped == 0


@pytest.mark.parametrize("spooled", [False, True])
def test_flush_and_close_wait_for_all_of_much(broker, topics, tmp_path, spooled):
    log = Logger(broker.bootstrap, model_version="m:1", topics=topics, spool=tmp_path if spooled else None)
    text = "x" * 1000
    sent = [log.prediction(features={"text": text}) for _ in range(12_000)]
    assert log.flush(60)
    assert log.counters.sent == len(sent)
    sent += [log.prediction(features={"text": text}) for _ in range(12_000)]
    log.close(60)
    assert (log.counters.sent, log.dropped) == (len(sent), 0)
    assert Counter(ids(broker, topics["predictions"])) == Counter(sent)


SERVICE = """
import os, sys, time
from tidegauge_logger import Logger
bootstrap, spool, predictions, labels = sys.argv[1:5]
log = Logger(bootstrap, model_version="m:1", spool=spool or None, topics={"predictions": predictions, "labels": labels})
"""


def service(broker, spool, topics, text):
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        SERVICE + text,
        broker.bootstrap,
        str(spool),
        topics["predictions"],
        topics["labels"],
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_outage_loses_nothing_and_sends_nothing_twice(tmp_path):
    from tidegauge.stream.broker import Broker

    topics = {"predictions": "predictions", "labels": "labels"}
    with Broker(tmp_path / "kafka") as broker:
        made(broker, *topics.values())
        log = Logger(broker.bootstrap, model_version="m:1", spool=tmp_path / "spool", max_buffer_bytes=4 << 20)
        sent = [log.prediction(score=0.5, features={"number": number}) for number in range(500)]
        assert log.flush(20)
        broker.stop()
        for number in range(20_000):
            sent.append(log.prediction(score=0.5, features={"number": number}))
            if number % 1000 == 0:
                time.sleep(0.05)
        wait_for(lambda: log.spooled_bytes or log.buffered_bytes < 100_000, what="the spool")
        assert log.dropped == 0
        assert log.buffered_bytes < 4 << 20
        # A process that ends meanwhile leaves what it has to the next one.
        log.close(0.2)
        assert log.dropped == 0
        assert list((tmp_path / "spool").glob("*.events"))
        log.prediction(score=0.5)
        assert log.dropped == 1, "it is closed"
        successor = Logger(broker.bootstrap, model_version="m:1", spool=tmp_path / "spool")
        sent.append(successor.prediction(score=0.5))
        broker.start()
        assert successor.flush(60)
        successor.close()
        found = ids(broker, "predictions")
        assert set(found) == set(sent)
        assert len(found) == len(sent)
        assert list((tmp_path / "spool").iterdir()) == []


def test_kill_9_loses_what_the_spool_had_not_taken(broker, topics, tmp_path):
    text = """
number = 0
while True:
    print(log.prediction(score=0.5), flush=True)
    number += 1
    time.sleep(0.001)
"""
    away = type("Away", (), {"bootstrap": "127.0.0.1:1"})
    process = service(away, tmp_path, topics, text)
    said = [process.stdout.readline().strip() for _ in range(3000)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read().split("\n")[:-1]
    assert all(said)
    process.wait()
    process.stderr.close()
    process.stdout.close()
    log = Logger(broker.bootstrap, model_version="m:1", spool=tmp_path, topics=topics)
    assert log.flush(30)
    log.close()
    records = read(broker, topics["predictions"])
    found = [record.key.decode() for record in records]
    assert len(set(found)) == len(found)
    place = {request_id: number for number, request_id in enumerate(said)}
    places = [(record.partition, place[record.key.decode()]) for record in records if record.key.decode() in place]
    assert places == sorted(places), "in order"
    # All but the last: what a collection's pause holds, and what a busy machine adds to it.
    missing = set(said) - set(found)
    assert len(missing) < 500
    assert missing <= set(said[-500:])


def test_a_fork_sends_its_own_events_and_not_the_parents(broker, topics, tmp_path):
    text = """
parents = [log.prediction(score=0.5) for _ in range(100)]
if os.environ.get("RUNNING"):
    log.flush(20)
    parents += [log.prediction(score=0.5) for _ in range(100)]
child = os.fork()
mine = [log.prediction(score=0.5) for _ in range(100)]
os.write(1, "".join(one + "\\n" for one in (*mine, *([] if child == 0 else parents))).encode())
if child:
    os.waitpid(child, 0)
"""
    for running in ("", "1"):
        os.environ["RUNNING"] = running
        try:
            process = service(broker, tmp_path, topics, text)
        finally:
            del os.environ["RUNNING"]
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        expected = out.split()
        found = set(ids(broker, topics["predictions"]))
        assert set(expected) <= found
        assert len(set(expected)) == len(expected)
    everything = ids(broker, topics["predictions"])
    assert len(everything) == len(set(everything)) == 300 + 400


def test_exit_is_quiet_and_sends_what_there_is(broker, topics):
    process = service(broker, "", topics, "print(*[log.prediction(score=0.5) for _ in range(1000)], sep='\\n')")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert Counter(ids(broker, topics["predictions"])) == Counter(out.split())


def test_exit_without_kafka_and_spool_says_what_is_lost_and_does_not_hang(topics):
    away = type("Away", (), {"bootstrap": "127.0.0.1:1"})
    began = time.monotonic()
    process = service(away, "", topics, "[log.prediction(score=0.5) for _ in range(10)]")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - began < 20
    assert "10 closed" in err


def test_a_topic_that_comes_later_gets_what_waited(broker, tmp_path):
    topics = {"predictions": "logger-late-predictions", "labels": "logger-late-labels"}
    log = Logger(broker.bootstrap, model_version="m:1", topics=topics)
    request_id = log.prediction(score=0.5)
    assert not log.flush(1)
    made(broker, *topics.values())
    assert log.flush(60)
    log.close()
    assert ids(broker, topics["predictions"]) == [request_id]
