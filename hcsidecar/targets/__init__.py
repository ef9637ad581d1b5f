"""This node as a target of load balancers: one loop for each, which a hung balancer cannot make anybody wait for.

`core/targets/reconcile.py` decides; `registrar.py` makes the calls that it asks for, one at a time and each within its
limit, and a module for each kind of balancer knows how to call. What blocks or computes does so in the helper process:
`helper_process.py` is the daemon's end of it, `helper.py` the other, and `questions.py` what they say to each other.
Nothing here is on the way of a health answer or a heartbeat.
"""
