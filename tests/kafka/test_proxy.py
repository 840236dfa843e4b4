"""The bad network of the campaign of faults is as bad as it says: held up, slow, broken."""

import socket
import socketserver
import threading
import time

import pytest

from support.proxy import Proxy
from tidegauge.stream.broker import free_port


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while piece := self.request.recv(1 << 14):
            self.request.sendall(piece)


@pytest.fixture
def way():
    """A proxy, and a connection through it to a server that says all again."""
    listening, beyond = free_port(), free_port()
    with socketserver.ThreadingTCPServer(("127.0.0.1", beyond), Echo) as server, Proxy({listening: beyond}) as proxy:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection(("127.0.0.1", listening)) as connection:
            connection.settimeout(30)
            yield proxy, connection
        server.shutdown()


def said_again(connection, text):
    connection.sendall(text)
    heard = b""
    while len(heard) < len(text) and (piece := connection.recv(1 << 14)):
        heard += piece
    return heard


def test_everything_passes_in_order(way):
    text = bytes(range(256)) * 4000
    sender = threading.Thread(target=way[1].sendall, args=(text,))
    sender.start()
    heard = b""
    while len(heard) < len(text):
        heard += way[1].recv(1 << 14)
    sender.join()
    assert heard == text


def test_what_is_cut_off_comes_once_it_is_mended(way):
    proxy, connection = way
    assert said_again(connection, b"before") == b"before"
    proxy.cut()
    time.sleep(0.2)
    connection.sendall(b"meanwhile")
    connection.settimeout(1)
    with pytest.raises(TimeoutError):
        connection.recv(10)
    connection.settimeout(30)
    proxy.mend()
    assert connection.recv(10) == b"meanwhile"


def test_delay_and_throughput_are_those_that_were_asked_for(way):
    proxy, connection = way
    proxy.delay, proxy.bytes_per_second = 0.1, 10_000
    began = time.monotonic()
    assert said_again(connection, bytes(2000)) == bytes(2000)
    assert time.monotonic() - began >= 2 * (0.1 + 0.2)


def test_lost_packets_break_connections(way):
    proxy, connection = way
    proxy.loss = 1.0
    assert said_again(connection, b"lost") == b""
    assert proxy.broken == 1
