"""For all tests."""

import signal

from hypothesis import HealthCheck, settings

# How long an example takes is this machine's affair and its neighbours': no test asserts a time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A shell's background job ignores it, and so would the programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
