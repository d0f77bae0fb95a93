"""Connections that stand open ahead: used again, thrown away when dead, and never a way to hide a lost request."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import pytest

from loadtest import transport
from loadtest.outcome import settle
from loadtest.pool import Pool
from loadtest.prompts.prompt import Prompt, user
from loadtest.request import Requests
from loadtest.target import Target, find_model, target_of
from loadtest.transport import Ending, Wire, exchange
from serving.facts.traffic import Outcome, RequestSeen
from tests.fakes.sse_server import Program, SseServer, sse_server
from tests.loadtest.asking import LIMITS, profile_of
from tests.loadtest.test_command import until

GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def pool_of(target: Target, spare: int = 0, reuse: bool = True) -> Pool:
    return Pool(target.peer, 5, spare=spare, reuse=reuse)


def asker(server: SseServer, pool: Pool) -> Callable[[], RequestSeen]:
    """Asks one request after the other through the pool."""
    target = target_of(server.url)
    requests = Requests(target, find_model(target, None, 5), profile_of())

    def ask() -> RequestSeen:
        wire, origin_ns = Wire(), time.perf_counter_ns()
        request = requests.bytes_of(Prompt("p", (user("hello"),)), "warmgate-0-0")
        exchange(target.peer, request, LIMITS, wire, pool)
        return settle(0, "p", 0.0, wire, origin_ns)

    return ask


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[Target, list[int]]]:
    """A server whose nth connection answers one request for each of these, in turn; None closes without a byte."""
    served: list[int] = []
    left = list(answers)

    def serve(connection: socket.socket, number: int) -> None:
        with connection:
            while left and connection.recv(65_536):
                served.append(number)
                answer = left.pop(0)
                if answer is None:
                    return
                connection.sendall(answer)

    def accept() -> None:
        number = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection, number), daemon=True).start()
            number += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield target_of(f"http://127.0.0.1:{listener.getsockname()[1]}"), served
        listener.shutdown(socket.SHUT_RDWR)


def get(target: Target, pool: Pool) -> Wire:
    wire = Wire()
    exchange(target.peer, GET, LIMITS, wire, pool)
    return wire


def test_a_connection_is_used_again_when_its_message_ended_well():
    with sse_server(Program()) as server:
        pool = pool_of(target_of(server.url))
        ask = asker(server, pool)
        before = server.connections
        assert [ask().outcome for _ in range(5)] == [Outcome.OK] * 5
        assert server.connections - before == 1
        pool.close()


def test_fresh_connections_are_asked_for_and_given():
    with sse_server(Program()) as server:
        pool = pool_of(target_of(server.url), reuse=False)
        ask = asker(server, pool)
        before = server.connections
        assert [ask().outcome for _ in range(3)] == [Outcome.OK] * 3
        assert server.connections - before == 3
        pool.close()


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(Program(fault="no_done"), id="a-whole-message-without-done-may-be-followed"),
        pytest.param(Program(status=503), id="an-error-that-is-a-whole-message"),
    ],
)
def test_a_bad_answer_that_is_a_whole_message_costs_no_connection(program: Program):
    with sse_server(program) as server:
        pool = pool_of(target_of(server.url))
        ask = asker(server, pool)
        before = server.connections
        assert Outcome.OK not in {ask().outcome for _ in range(3)}
        assert server.connections - before == 1
        pool.close()


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(Program(fault="truncate"), id="cut-short"),
        pytest.param(Program(framing="close"), id="ended-by-closing"),
        pytest.param(Program(headers=(("connection", "close"),)), id="the-server-wants-to-close"),
    ],
)
def test_a_connection_is_not_used_again_when_that_would_not_be_right(program: Program):
    with sse_server(program) as server:
        pool = pool_of(target_of(server.url))
        ask = asker(server, pool)
        before = server.connections
        assert len({ask().outcome for _ in range(3)}) == 1
        assert server.connections - before == 3
        pool.close()


def test_connections_are_opened_ahead_so_that_a_stream_does_not_wait_for_one():
    with sse_server(Program()) as server:
        pool = pool_of(target_of(server.url))
        pool.prepare(4)
        assert pool.opened == 4
        ask = asker(server, pool)
        assert ask().connect_s == 0.0
        pool.close()
    with sse_server(Program()) as server:
        cold = pool_of(target_of(server.url))
        connect_s = asker(server, cold)().connect_s
        assert connect_s is not None
        assert connect_s > 0
        cold.close()


def test_spare_connections_are_opened_in_the_background():
    with sse_server(Program()) as server:
        pool = pool_of(target_of(server.url), spare=2)
        assert pool.take() is None
        assert pool.take() is None
        with gevent.Timeout(60):
            while pool.opened < 2:
                gevent.sleep(0.01)
        taken = pool.take()
        assert taken is not None
        pool.give(taken)
        pool.close()


def test_a_connection_that_died_while_idle_is_replaced_without_a_resend():
    with sse_server(Program(), idle_close_s=1.0) as server:
        pool = pool_of(target_of(server.url))
        ask = asker(server, pool)
        assert ask().ok
        until(pool._idle[0].dead)
        again = ask()
        assert (again.outcome, again.resends) == (Outcome.OK, 0)
        pool.close()


def test_a_connection_that_dies_as_the_request_arrives_is_replaced_and_counted(monkeypatch: pytest.MonkeyPatch):
    """The keep-alive race: the server closes an idle connection just as the next request is on its way."""
    monkeypatch.setattr(transport, "RACE_NS", 10**10)  # a busy machine is slow to close
    with scripted(ANSWER, None, ANSWER) as (target, served):
        pool = pool_of(target)
        first, second = get(target, pool), get(target, pool)
        assert (first.ending, second.ending) == (Ending.COMPLETE, Ending.COMPLETE)
        assert (first.resends, second.resends) == (0, 1)
        assert served == [0, 0, 1]
        pool.close()


def test_a_request_on_a_fresh_connection_is_never_sent_twice():
    with scripted(None, ANSWER) as (target, served):
        wire = get(target, pool_of(target))
        assert (wire.ending, wire.resends) == (Ending.CLOSED, 0)
        assert served == [0]


def test_a_server_that_dies_over_a_request_is_not_hidden_by_a_resend():
    """It took the request on a connection in use, worked on it, and died: that answer is lost, and must show."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(ANSWER)
            connection.recv(65_536)
            time.sleep(0.3)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        target = target_of(f"http://127.0.0.1:{listener.getsockname()[1]}")
        pool = pool_of(target)
        assert get(target, pool).ending is Ending.COMPLETE
        lost = get(target, pool)
        thread.join()
    assert (lost.ending, lost.resends) == (Ending.CLOSED, 0)
    pool.close()
