"""The real server, over real sockets: what it answers, what it refuses, and how it starts and stops."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from burnish.serve.parity import running
from burnish.serve.predict import Local
from tests.serve.servers import ask, started, until


def counted(port, line):
    """The value of one line of /metrics."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
    return float(found.group(1)) if found else 0.0


# -- answers ---------------------------------------------------------------------------------------------


def test_one_or_many_are_answered_as_the_artifact_in_process_would(port, int8, texts):
    local = Local(int8)
    status, answer, headers = ask(port, "/predict", {"inputs": texts})
    assert (status, answer) == (200, local.predict(texts))
    assert headers["content-type"] == "application/json"
    assert ask(port, "/predict", {"inputs": texts[0]})[1] == local.predict(texts[:1])


def test_alone_rows_have_the_same_bits_whoever_is_served_at_the_same_time(port, int8, texts):
    expected = Local(int8, workers=1).outputs(texts)

    def client(n):
        found = ask(port, "/predict", {"inputs": texts[n % len(texts)], "raw": True})
        return found[1][0]["outputs"]

    with ThreadPoolExecutor(16) as pool:
        single = np.array(list(pool.map(client, range(4 * len(texts)))), dtype=np.float32)
    assert (single == np.tile(expected, (4, 1))).all()
    many = np.array([a["outputs"] for a in ask(port, "/predict", {"inputs": texts, "raw": True})[1]], dtype=np.float32)
    assert (many == expected).all()


def test_batches_change_answers_by_rounding_only(plain, texts):
    expected = Local(plain).outputs(texts)
    with running(plain) as port, ThreadPoolExecutor(16) as pool:
        asked = pool.map(lambda t: ask(port, "/predict", {"inputs": t, "raw": True})[1][0]["outputs"], texts)
        np.testing.assert_allclose(np.array(list(asked)), expected, atol=1e-5)
        assert ask(port, "/info")[1]["serving"]["batching"] == "batches"


def test_info_says_what_is_served(port, int8):
    import hashlib

    info = ask(port, "/info")[1]
    assert info["artifact_sha256"] == hashlib.sha256((int8 / "burnish.json").read_bytes()).hexdigest()
    assert info["measured"] == {"test": {"value": 0.5}}
    assert info["serving"]["batching"] == "rows alone"
    assert info["serving"]["limits"]["max_body"] == 20000
    assert "golden" not in info
    assert ask(port, "/predict", {"inputs": "a"})[2]["x-burnish-artifact"] == info["artifact_sha256"][:16]


def test_metrics_count_answers_batches_and_refusals(port):
    before = {code: counted(port, f'burnish_requests_total{{code="{code}"}}') for code in (200, 422)}
    rows = counted(port, "burnish_batch_rows_sum")
    ask(port, "/predict", {"inputs": ["a", "b", "c"]})
    ask(port, "/predict", {"input": "a"})
    until(lambda: counted(port, "burnish_batch_rows_sum") == rows + 3)
    assert counted(port, 'burnish_requests_total{code="200"}') == before[200] + 1
    assert counted(port, 'burnish_requests_total{code="422"}') == before[422] + 1
    for name in ("queue", "tokenize", "inference"):
        assert counted(port, f"burnish_{name}_seconds_count") > 0


# -- refusals --------------------------------------------------------------------------------------------


def test_a_long_text_is_refused_with_both_numbers_or_cut_and_said_so(port, int8):
    long = "good " * 100
    status, body, _ = ask(port, "/predict", {"inputs": ["a", long]})
    assert status == 422
    assert (body["error"]["type"], body["error"]["input"]) == ("too_long", 1)
    assert (body["error"]["tokens"], body["error"]["max_length"]) == (102, 64)
    assert "102" in body["error"]["message"]
    assert "64" in body["error"]["message"]
    answer = ask(port, "/predict", {"inputs": ["a", long], "truncate": True})[1]
    assert [a.get("truncated") for a in answer] == [None, True]
    assert answer == Local(int8).predict(["a", long])


def test_a_body_over_the_cap_is_refused_as_announced_and_as_counted(port):
    big = json.dumps({"inputs": "a" * 30_000}).encode()
    status, body, _ = ask(port, "/predict", big)
    assert (status, body["error"]["type"], body["error"]["max_body"]) == (413, "too_large", 20000)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20001\r\n\r\n")
        assert b" 413 " in client.recv(4096)  # before a single byte of the body
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/predict", iter([big[:15_000], big[15_000:]]), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [
        ("/nowhere", "GET", 404, "not_found"),
        ("/predict", "GET", 405, "method_not_allowed"),
        ("/predict", "DELETE", 405, "method_not_allowed"),
        ("/info", "POST", 405, "method_not_allowed"),
    ],
)
def test_other_paths_and_methods_get_the_same_error_body(port, path, method, status, kind):
    found = ask(port, path, method=method)
    assert (found[0], found[1]["error"]["type"]) == (status, kind)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "127.0.0.1.evil"])
def test_a_page_that_rebinds_its_name_to_localhost_gets_nothing(port, host):
    assert ask(port, "/predict", {"inputs": "a"}, {"Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:80"])
def test_names_of_this_machine_are_welcome(port, host):
    assert ask(port, "/predict", {"inputs": "a"}, {"Host": host})[0] == 200


def test_with_a_key_all_but_the_probes_ask_for_it(int8):
    with started(int8, key="s3cret") as server:
        server.ready()
        for path, body in [("/predict", {"inputs": "a"}), ("/info", None), ("/metrics", None), ("/nowhere", None)]:
            assert server.ask(path, body)[0] == 401
            assert server.ask(path, body, {"Authorization": "Bearer s3cre"})[0] == 401
            assert server.ask(path, body, {"Authorization": "Bearer s3cret"})[0] in (200, 404)
        assert server.ask("/health")[0] == 200


def test_full_queue_answers_429_and_says_when_to_come_back(int8):
    with started(int8, "--max-queue", "2", "--workers", "1", row_seconds=0.3) as server:
        server.ready()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: server.ask("/predict", {"inputs": "a"}), range(8)))
        statuses = sorted(status for status, _, _ in found)
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 3  # one runs, two wait
        refused = next(answer for answer in found if answer[0] == 429)
        assert refused[1]["error"]["type"] == "overloaded"
        assert int(refused[2]["retry-after"]) >= 1
        assert counted(server.port, 'burnish_rejected_total{reason="requests"}') == statuses.count(429)


def test_more_tokens_than_can_ever_wait_is_not_try_again_later(int8):
    with started(int8, "--max-queued-tokens", "40") as server:
        server.ready()
        status, body, _ = server.ask("/predict", {"inputs": ["good film"] * 20})
        assert (status, body["error"]["type"], body["error"]["max_queued_tokens"]) == (422, "too_many_tokens", 40)
        assert server.ask("/predict", {"inputs": ["good film"] * 5})[0] == 200


def test_a_deadline_is_kept_and_the_work_behind_it_dropped(int8):
    with started(int8, "--workers", "1", "--timeout", "5", row_seconds=0.4) as server:
        server.ready()
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(server.ask, "/predict", {"inputs": "a"})
            time.sleep(0.1)
            start = time.monotonic()
            status, body, _ = server.ask("/predict", {"inputs": ["b", "c", "d"]}, {"X-Timeout-Ms": "100"})
            assert time.monotonic() - start < 0.35
            assert (status, body["error"]["type"], body["error"]["timeout_ms"]) == (504, "timeout", 100)
            assert first.result()[0] == 200
        assert counted(server.port, "burnish_batch_rows_count") == 1
        assert counted(server.port, "burnish_queue_requests") == 0


def test_a_client_that_leaves_takes_its_work_along(int8):
    with started(int8, "--workers", "1", row_seconds=0.6) as server:
        server.ready()
        body = b'{"inputs": ["a", "b", "c", "d", "e", "f", "g", "h"]}'
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            time.sleep(0.4)
        until(lambda: counted(server.port, "burnish_dropped_total") == 1, 3)
        assert counted(server.port, "burnish_queue_tokens") == 0


def test_an_engine_that_breaks_is_a_500_and_the_next_request_is_fine(int8):
    with started(int8, fail_at=5) as server:
        server.ready()
        status, body, _ = server.ask("/predict", {"inputs": "a good film"})
        assert (status, body["error"]["type"]) == (500, "engine")
        assert server.ask("/predict", {"inputs": "a good"})[0] == 200


# -- starting and stopping -------------------------------------------------------------------------------


def test_while_loading_it_lives_but_is_not_ready(int8):
    with started(int8, load_seconds=1.0) as server:
        assert server.ask("/health")[0] == 200
        status, body, headers = server.ask("/ready")
        assert (status, body["status"], body["error"]["type"]) == (503, "starting", "not_ready")
        assert headers["retry-after"] == "1"
        assert server.ask("/predict", {"inputs": "a"})[0] == 503
        server.ready()
        assert server.ask("/predict", {"inputs": "a"})[0] == 200


def test_golden_rows_that_come_out_otherwise_end_it_with_the_reason(int8, tmp_path):
    folder = shutil.copytree(int8, tmp_path / "artifact")
    facts = json.loads((folder / "burnish.json").read_text())
    facts["golden"][0]["outputs"][0] += 1
    (folder / "burnish.json").write_text(json.dumps(facts))
    with started(folder) as server:
        code, said = server.ended()
    assert code == 5
    assert "answers otherwise than when it was built" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_it_has_and_take_no_more(int8, number):
    with started(int8, "--workers", "1", row_seconds=0.3) as server:
        server.ready()
        with ThreadPoolExecutor(8) as pool:
            taken = [pool.submit(server.ask, "/predict", {"inputs": "a"}) for _ in range(4)]
            time.sleep(0.15)
            server.process.send_signal(number)
            until(lambda: server.ask("/ready")[0] == 503, 2)
            assert server.ask("/ready")[1]["status"] == "draining"
            assert server.ask("/predict", {"inputs": "a"})[0] == 503
            assert [answer.result()[0] for answer in taken] == [200] * 4
        code, said = server.ended()
    assert code == 0
    assert "stopped: 4 answered, 0 aborted" in said


def test_under_load_every_request_gets_an_answer_or_a_503(int8):
    """No client may see a connection die with its request on it."""
    found, stop = [], threading.Event()

    def client(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not stop.is_set():
            connection.request("POST", "/predict", b'{"inputs": "a good film"}')
            response = connection.getresponse()
            response.read()
            found.append(response.status)
            if response.status == 503:
                break
        connection.close()

    with started(int8) as server, ThreadPoolExecutor(12) as pool:
        server.ready()
        clients = [pool.submit(client, server.port) for _ in range(12)]
        until(lambda: len(found) > 200)
        server.process.terminate()
        code, said = server.ended()
        stop.set()
        for one in clients:
            one.result()
    assert code == 0
    assert set(found) == {200, 503}
    assert f"stopped: {found.count(200)} answered, 0 aborted" in said


def test_a_second_signal_ends_it_at_once(int8):
    with started(int8, row_seconds=20) as server:
        server.ready()
        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(server.ask, "/predict", {"inputs": "a"})
            time.sleep(0.2)
            server.process.terminate()
            until(lambda: server.ask("/ready")[0] == 503, 2)
            server.process.terminate()
            assert server.ended(3)[0] == 128 + signal.SIGTERM
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                lost.result()


def command(*arguments):
    found = subprocess.run(
        [sys.executable, "-m", "burnish.serve.app", *map(str, arguments)], capture_output=True, text=True, timeout=30
    )
    return found.returncode, found.stderr


def test_a_public_address_needs_a_key(int8):
    code, said = command(int8, "--host", "0.0.0.0")
    assert code == 2
    assert "--api-key" in said


def test_a_taken_port_is_named_with_a_way_out(int8, port):
    code, said = command(int8, "--port", port)
    assert code == 4
    assert f"127.0.0.1:{port}" in said
    assert "--port 0" in said


def test_no_artifact_and_a_damaged_one_end_before_anything_listens(int8, tmp_path):
    assert command(tmp_path)[0] == 2
    folder = shutil.copytree(int8, tmp_path / "artifact")
    (folder / "tokenizer.json").write_text("{}")
    code, said = command(folder)
    assert code == 5
    assert "tokenizer.json is damaged" in said
    assert "http://" not in said


@pytest.mark.parametrize(
    "arguments", [("--port", "70000"), ("--timeout", "0"), ("--max-queue", "-1"), ("--workers", "0")]
)
def test_settings_that_cannot_be_meant_are_refused(int8, arguments):
    assert command(int8, *arguments)[0] == 2
