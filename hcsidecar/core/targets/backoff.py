"""The intervals and pauses of a reconcile loop."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Times in seconds. The defaults suit a cloud with call limits that many nodes share."""

    poll: float = 60.0
    "Between two looks while nothing changes; each varies at random by up to a fifth."
    hold_up: float = 5.0
    "How long the desired state must be `registered` before the node registers."
    unhealthy: float = 600.0
    "How long a node with policy `healthy` may be not Ready before it deregisters."
    soon: float = 2.0
    "From a change to the next look. It doubles each time while the balancer has not decided."
    fresh: float = 10.0
    "How old a look may be for a change that is based on it."
    longest_pause: float = 60.0
    "The longest pause after failures that may go away by themselves."
    first_pause_for_people: float = 60.0
    "After the first failure that a person must repair. It doubles each time."
    longest_pause_for_people: float = 300.0
    leaving: float = 4.0
    "The longest pause, and the longest time between two looks, while a person waits for `leave`."
    resync: float = 600.0
    "Between two registrations if the node cannot see their result."
    leave_budget: float = 20.0
    "How long a person waits for `leave`."
    last_connections: float = 120.0
    "How long a balancer that must drain the node first may send new connections after a deregistration."
    longest_draining: float = 3720.0
    "How long draining may take after a deregistration: the longest delay of AWS, plus `last_connections`."
    blind: float = 60.0
    "Without a look for this long, draining counts as over, once `last_connections` has passed too."
    window: float = 3600.0
    "The window for `repairs`."
    repairs: int = 5
    "How often in the window the node repairs what somebody else has undone. After that, it waits `resync` each time."
