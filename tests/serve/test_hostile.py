"""Whatever comes through the socket, the server refuses it, stays small and answers the next request."""

import contextlib
import json
import random
import socket
import time

import pytest

from tests.serve.servers import ask, started

GOOD = b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n{"inputs": "a"}'


def send(port, *parts, silence=1.0, pause=0.0, hang_up=False):
    """Send the parts, return all that comes back until the server closes or is silent; b'' after a reset."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=silence) as client:
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
            if hang_up:
                client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                found += data
        except TimeoutError:
            return found
        except ConnectionError:
            return b""
    return found


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def alive(port):
    assert ask(port, "/predict", {"inputs": "a good film"})[0] == 200


def request(head=b"", body=b"", path=b"/predict", method=b"POST", length=None):
    length = len(body) if length is None else length
    return b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s" % (
        method,
        path,
        length,
        head,
        body,
    )


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),  # a TLS hello
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\naaaaaa",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%zz%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT evil:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http:///// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /predict HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=lambda garbage: str(garbage[:16]),
)
def test_what_is_not_http_gets_an_error_or_a_closed_door(port, garbage):
    answer = send(port, garbage, silence=0.3)
    assert status(answer) is None or 400 <= status(answer) < 500
    assert not answer or b'{"error"' in answer.replace(b'{"error": ', b'{"error"') or b"Upgrade" in garbage
    alive(port)


def test_requests_with_mutated_bytes_never_crash_it(port):
    rng = random.Random(0)
    for _ in range(300):
        broken = bytearray(GOOD)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(broken))
            choice = rng.randrange(3)
            broken[at : at + (choice != 0)] = b"" if choice == 1 else bytes([rng.randrange(256)])
        answer = send(port, bytes(broken), hang_up=True)
        assert status(answer) is None or status(answer) < 500
    alive(port)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xff" * 100,
        b'{"inputs": "\xc3\x28"}',
        b"[" * 19_000,
        b'{"a":' * 3_000,
        b'{"inputs": "\\ud800"}',
        b'{"inputs": ' + b"1" * 10_000 + b"}",
        b'{"inputs": NaN}',
        b'{"__proto__": {}, "inputs": "a"}',
        b'{"inputs": [[[[["a"]]]]]}',
        json.dumps({"inputs": ["a"] * 2000}).encode(),
    ],
    ids=lambda body: str(body[:16]),
)
def test_bodies_that_mean_nothing_get_422(port, body):
    answer = send(port, request(body=body))
    assert status(answer) == 422
    assert b'"invalid_request"' in answer
    alive(port)


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x01\x02",
        "\u202e\u200b\ufeff",
        "a\u0300" * 300,
        "😀" * 30,
        "[CLS][SEP][MASK]",
        "\\" * 50,
        "'; DROP TABLE x",
    ],
)
def test_odd_texts_are_just_texts(port, text):
    assert ask(port, "/predict", {"inputs": text, "truncate": True})[0] == 200


def test_a_head_without_end_is_cut_off(port):
    answer = send(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"a" * 20_000, b"a" * 20_000, pause=0.1)
    assert status(answer) == 431
    many = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(3000))
    answer = send(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")
    assert status(answer) in (None, 400, 431)
    trailers = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(3000))
    chunked = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert status(send(port, chunked + trailers + b"\r\n")) in (None, 400, 422, 431)
    alive(port)


def test_a_body_without_end_is_not_kept(port):
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = memory(port)
    answer = send(port, head, *[chunk] * 2000)
    assert status(answer) in (None, 413)
    assert memory(port) - before < 10e6
    alive(port)


def memory(port):
    lines = ask(port, "/metrics")[1].splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("process_resident_memory_bytes ")))


def test_pipelined_requests_are_answered_in_turn(port):
    answer = send(port, GOOD * 50)
    assert answer.count(b"HTTP/1.1 200 OK") == 50


def test_a_thousand_bad_requests_leave_it_no_larger(port):
    for _ in range(50):
        send(port, request(body=b"{"))
    before = memory(port)
    for _ in range(1000):
        send(port, request(body=b"{"))
    assert memory(port) - before < 5e6


@pytest.fixture(scope="module")
def impatient(int8):
    with started(int8, limits={"read_timeout": 0.5, "max_connections": 20}) as server:
        yield server.ready().port


@pytest.mark.parametrize("part", [b"", GOOD[:9], GOOD[:40], GOOD[:-3]], ids=["nothing", "line", "head", "body"])
def test_a_request_that_dribbles_in_is_ended(impatient, part):
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", impatient), timeout=5) as client:
        client.sendall(part)
        found = b""
        while data := client.recv(65536):
            found += data
    assert time.monotonic() - start < 2
    assert status(found) == (408 if part else None)
    alive(impatient)


def test_one_byte_at_a_time_does_not_buy_time(impatient):
    start = time.monotonic()
    client = socket.create_connection(("127.0.0.1", impatient), timeout=5)
    with client, contextlib.suppress(ConnectionError):
        for byte in GOOD * 10:
            client.sendall(bytes([byte]))
            time.sleep(0.05)
    assert 0.4 < time.monotonic() - start < 2


def test_more_connections_than_allowed_are_turned_away_and_the_rest_served(impatient):
    held = [socket.create_connection(("127.0.0.1", impatient)) for _ in range(40)]
    time.sleep(0.1)
    for client in held:
        client.close()
    time.sleep(0.1)
    alive(impatient)


def test_a_request_whose_own_answer_is_slow_is_not_called_late(int8):
    with started(int8, "--workers", "1", row_seconds=0.6, limits={"read_timeout": 0.2}) as server:
        server.ready()
        assert send(server.port, GOOD + GOOD[:20], GOOD[20:], silence=2).count(b" 200 OK") == 2
