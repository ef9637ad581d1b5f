"""The times of a reconcile loop."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Seconds between one thing and the next; the defaults are for a cloud whose limits many nodes share."""

    poll: float = 60.0
    "From one look to the next at rest; a fifth more or less, by chance."
    hold_up: float = 5.0
    "For which it must have been wished to register."
    unhealthy: float = 600.0
    "Of not being Ready, after which policy `healthy` wishes to deregister."
    soon: float = 2.0
    "From a change to the look at what became of it; twice as long each time, while the balancer makes up its mind."
    fresh: float = 10.0
    "For which a look is good enough to change something on its grounds."
    longest_pause: float = 60.0
    "After failures that may mend themselves."
    first_pause_for_people: float = 60.0
    "After a failure that a person must mend; twice as long each time."
    longest_pause_for_people: float = 300.0
    leaving: float = 4.0
    "The longest pause, and the longest time between two looks, while a person waits for `leave`."
    resync: float = 600.0
    "From one registration to the next where nothing can be seen of it."
    leave_budget: float = 20.0
    "For which a person waits for `leave`."
    last_connections: float = 120.0
    "After a deregistration for which a balancer that is told first may still send new connections."
    longest_draining: float = 3720.0
    "After a deregistration: the longest delay that AWS has, and the time above."
    blind: float = 60.0
    "Without a look after which draining is taken as over, once the last connections have come."
    window: float = 3600.0
    repairs: int = 5
    "How often within the window it is done again what somebody else has undone; more often only after `resync`."
