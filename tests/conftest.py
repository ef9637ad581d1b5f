"""For all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes is this machine's affair and its neighbours': no test asserts a time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
