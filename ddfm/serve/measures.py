"""What a worker measures of its requests, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter, defaultdict

__all__ = ["Measures"]

_TEXT = """\
# HELP ddfm_request_seconds Requests to /fuse, and the seconds until they were answered.
# TYPE ddfm_request_seconds summary
{}\
# HELP ddfm_requests_taken Requests that are accepted and not yet answered.
# TYPE ddfm_requests_taken gauge
ddfm_requests_taken {}
# HELP ddfm_requests_most Requests that are accepted at a time; further ones get status 503.
# TYPE ddfm_requests_most gauge
ddfm_requests_most {}
"""


class Measures:
    """Counts requests and their seconds, by the status of the answer.

    Attributes:
        taken: the number of requests that are accepted and not yet answered.
        pace: the seconds that the last fusion took.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.pace = 1.0
        self._requests: Counter[int] = Counter()
        self._seconds: defaultdict[int, float] = defaultdict(float)

    def add(self, status: int, seconds: float) -> None:
        """Adds a request that was answered."""
        self._requests[status] += 1
        self._seconds[status] += seconds

    def text(self, most: int) -> str:
        """All that was counted, and the requests that are accepted now, of at most `most`."""
        lines = [
            f'ddfm_request_seconds_sum{{status="{status}"}} {self._seconds[status]:.3f}\n'
            f'ddfm_request_seconds_count{{status="{status}"}} {count}\n'
            for status, count in sorted(self._requests.items())
        ]
        return _TEXT.format("".join(lines), self.taken, most)
