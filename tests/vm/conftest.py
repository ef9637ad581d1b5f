"""For tests with virtual machines, of which a run takes an hour: a failure is told when it happens."""


def pytest_runtest_logreport(report):
    if report.failed:
        print(f"\n{report.nodeid}:\n{report.longreprtext}", flush=True)
