"""The bench of replicas: a window in which a request failed is void, whatever its numbers are."""

from __future__ import annotations

import pytest

from benchmarks.cluster import told

GOOD = """Running 8s test @ http://127.0.0.1:1/v1/images/generations
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    49.26ms    5.01ms  60.00ms   92.50%
    Req/Sec   627.00     20.00   700.00     70.00%
  Latency Distribution
     50%   48.10ms
     99%   59.00ms
  5016 requests in 8.00s, 3.21MB read
Requests/sec:    627.00
Transfer/sec:    410.90KB
"""


def test_a_window_is_read() -> None:
    window = told(GOOD)
    assert (window.requests, window.seconds, window.p50) == (5016, 8.0, "48.10ms")
    assert window.per_second == 627
    assert window.void == ""


@pytest.mark.parametrize(
    "line",
    ["  Non-2xx or 3xx responses: 1", "  Socket errors: connect 0, read 1, write 0, timeout 0"],
)
def test_a_failed_request_makes_it_void(line: str) -> None:
    assert told(GOOD.replace("Requests/sec", f"{line}\nRequests/sec")).void == line.strip()


def test_a_window_without_an_answer_is_void() -> None:
    assert told(GOOD.replace("5016 requests", "0 requests")).void == "nothing was answered"
