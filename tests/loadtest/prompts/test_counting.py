"""Counting with a server: vLLM's route where it has one, else the usage of a one-token answer, else not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loadtest.prompts.counting import ask_json, counter_of
from loadtest.prompts.prepare import prepare
from loadtest.prompts.shape import PromptShape
from loadtest.target import target_of
from serving.errors import Refused
from tests.loadtest.prompts.tokenizers_of_tests import by_space

Answer = tuple[int, object]
Route = Callable[[dict[str, Any]], Answer]


def tokenize(body: dict[str, Any]) -> Answer:
    """As vLLM 0.32 answers on /tokenize."""
    assert set(body) == {"model", "messages"}
    count = by_space(body["messages"])
    return 200, {"count": count, "max_model_len": 2048, "tokens": list(range(count)), "token_strs": None}


def complete(body: dict[str, Any]) -> Answer:
    """As any OpenAI-compatible server answers, unstreamed."""
    assert body["max_tokens"] == 1
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "length"}
    usage = {"prompt_tokens": by_space(body["messages"]), "completion_tokens": 1}
    return 200, {"object": "chat.completion", "choices": [choice], "usage": usage}


@contextmanager
def serving(routes: dict[str, Route]) -> Iterator[tuple[str, list[str]]]:
    """A server with these routes, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(self.path)
            assert body["model"] == "m"
            status, answer = routes.get(self.path, lambda _: (404, {"error": "no such route"}))(body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("routes", "name"),
    [
        pytest.param({"/tokenize": tokenize, "/v1/chat/completions": complete}, "/tokenize", id="vllm"),
        pytest.param({"/v1/chat/completions": complete}, "usage of one-token answers", id="any-other"),
        pytest.param(
            {"/tokenize": lambda _: (200, {"tokens": [1]}), "/v1/chat/completions": complete},
            "usage of one-token answers",
            id="another-tokenize",
        ),
    ],
)
def test_prompts_are_as_long_as_asked_by_what_the_server_counts(routes: dict[str, Route], name: str):
    with serving(routes) as (url, asked):
        counter = counter_of(target_of(url), "m")
        assert counter is not None
        assert counter.name == name
        found = prepare(PromptShape.model_validate({"tokens": 300}), 1, counter)
        assert len(asked) < 40
    assert found.calibration is not None
    assert not found.calibration.approximated
    assert {by_space(found.prompts.prompt_of(index).messages) for index in range(20)} == {300}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((500, {"error": "broken"}), id="error"),
        pytest.param((200, b"<html>"), id="not-json"),
        pytest.param((200, [1]), id="a-list"),
        pytest.param((200, {"choices": []}), id="no-usage"),
        pytest.param((200, {"usage": {"prompt_tokens": None}}), id="usage-of-nothing"),
        pytest.param((200, {"usage": {"prompt_tokens": 0}}), id="zero"),
        pytest.param((200, {"usage": [3]}), id="usage-no-object"),
    ],
)
def test_a_server_that_does_not_tell_has_no_counter(answer: Answer):
    with serving({"/v1/chat/completions": lambda _: answer}) as (url, _):
        assert counter_of(target_of(url), "m") is None


def test_a_server_that_is_not_there_answers_nothing():
    with serving({}) as (url, _):
        pass
    assert ask_json(target_of(url), "/tokenize", {}) is None


def test_prompts_that_do_not_fit_into_the_context_are_refused_before_the_run():
    with serving({"/tokenize": tokenize}) as (url, _):
        counter = counter_of(target_of(url), "m")
        shape = PromptShape.model_validate({"tokens": 2000})
        with pytest.raises(Refused, match=r"prompts of 2000 tokens with answers of 64 do not fit .* context of 2048"):
            prepare(shape, 1, counter, max_tokens=64)
        assert prepare(shape, 1, counter, max_tokens=48).prompts
