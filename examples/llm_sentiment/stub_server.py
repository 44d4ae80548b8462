"""A stub of a language model that counts words.

It answers like OpenAI's API. The first request about a radio is refused as one too many, and a review without a comment
gets no answer.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8808

GOOD = {"easy", "good", "great", "love", "quiet", "wonderful"}
BAD = {"awful", "broken", "hate", "late", "leaked", "terrible"}


def judge(review: str) -> str:
    """Return the verdict on a review as JSON."""
    words = {word.strip(".,").lower() for word in review.split()}
    if "comment" in words:
        return "There is nothing to judge."
    good, bad = len(words & GOOD), len(words & BAD)
    score = (good - bad) / max(good + bad, 1)
    sentiment = "neutral" if score == 0 else "positive" if score > 0 else "negative"
    return json.dumps({"sentiment": sentiment, "score": score})


class Handler(BaseHTTPRequestHandler):
    """Answers POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        """Judge the last message, or answer that it is busy."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = request["messages"][-1]["content"]
        if "radio" in prompt and self.server.is_first(prompt):
            self.answer(503, {"error": {"message": "busy"}})
            return
        message = {"role": "assistant", "content": judge(prompt.partition("Review: ")[2])}
        self.answer(200, {"model": request["model"], "choices": [{"index": 0, "message": message}]})

    def answer(self, status: int, body: dict[str, object]) -> None:
        """Send JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server on the loopback interface; 0 is any port."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self._lock = threading.Lock()
        self._asked: set[str] = set()

    def is_first(self, prompt: str) -> bool:
        """Return whether this has not been asked before."""
        with self._lock:
            is_new = prompt not in self._asked
            self._asked.add(prompt)
        return is_new


if __name__ == "__main__":
    sys.stderr.write(f"listening on http://127.0.0.1:{PORT}/v1; Ctrl-C ends it\n")
    try:
        Server(PORT).serve_forever()
    except KeyboardInterrupt:
        sys.stderr.write("ended\n")
