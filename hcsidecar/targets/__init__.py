"""This node as a target of load balancers: one loop for each target, so that a balancer that hangs delays nothing else.

`core/targets/reconcile.py` decides. `registrar.py` makes the calls that it wants, one at a time and each within a time
limit. A module for each kind of balancer knows how to call it. Code that blocks or computes runs in the helper process:
`helper_process.py` is the daemon's end of it, `helper.py` the other end, and `questions.py` has the messages.
No health answer and no heartbeat depends on anything here.
"""
