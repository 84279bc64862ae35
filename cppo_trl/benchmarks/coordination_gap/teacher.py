"""A stand-in for the large model that writes gold tuples and labels plans, offline.

    with teacher() as base_url:
        EndpointJudge("teacher", base_url)

An OpenAI-compatible endpoint on this machine that knows what the nouns of the coordination gap can
mean, as a large model knows what words mean; which reading the tests of a problem accept it is
never told. It answers a question that holds a plan with a verdict, and any other with a tuple.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cppo_trl.plans import format_plan, parse_plan

from .world import NUM_READINGS, READINGS, RULES, SPLITS, rule_of, split_wordings

_NOUNS = {wording.statement: wording.noun for split in SPLITS for wording in split_wordings(split)}


@contextmanager
def teacher() -> Iterator[str]:
    """Serves for the time of the block; gives the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(question: str) -> str:
    """What the teacher says: a verdict in JSON, or a tuple of different readings as a plan.

    Equal questions have equal answers.

    Raises:
        ValueError: the question holds no statement of the coordination gap.
    """
    statements = [statement for statement in _NOUNS if statement in question]
    if not statements:
        raise ValueError("the question holds no statement of the coordination gap")
    readings = READINGS[_NOUNS[max(statements, key=len)]]
    plan = parse_plan(question, NUM_READINGS)
    if plan is None:
        order = random.Random(question).sample(readings, NUM_READINGS)
        return format_plan([RULES[name].strategy for name in order])
    rules = [rule_of(strategy) for strategy in plan]
    admitted = [RULES[name] for name in readings]
    if any(rule not in admitted for rule in rules):
        verdict = {"verdict": "fail", "reason": "a strategy belongs to another problem"}
    elif len(set(rules)) < len(rules):
        verdict = {"verdict": "fail", "reason": "two strategies lead to the same program"}
    else:
        verdict = {"verdict": "pass", "reason": "four readings of the problem"}
    return json.dumps(verdict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open between questions

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            content, status = reply(asked["messages"][-1]["content"]), 200
        except ValueError as error:
            content, status = str(error), 400
        message = {"role": "assistant", "content": content}
        body = json.dumps(
            {
                "id": "teacher",
                "object": "chat.completion",
                "created": 0,
                "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            }
        ).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass
