"""Everything the server refuses, as numbers: one frozen value, shown by /info."""

from dataclasses import dataclass

from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What a server takes on. Beyond it, a refusal now is better than an answer too late."""

    max_queue: int = 512  # requests that wait; one more gets 429
    max_queued_tokens: int = 131_072  # tokens that wait; a request that would exceed it gets 429
    max_inputs: int = 1024  # texts a request; more gets 422
    max_body: int = 2_000_000  # bytes a request; more gets 413
    timeout: float = 30.0  # seconds from a request's arrival to its answer; later gets 504
    read_timeout: float = 10.0  # seconds for a whole request to arrive; slower gets 408
    max_header: int = 32_768  # bytes before the body; more gets 431
    max_connections: int = 1024  # open at once; more are closed unanswered
    drain: float = 30.0  # seconds that a stopping server gives the requests it has taken

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                given = say("{name} is {value}", name=name, value=value)
                raise UsageError(problem(given, say("a number above 0"), say("leave it out for the default")))
