"""What the kernel refuses, in words that tell the operator what to do."""


class FilterError(Exception):
    """Layer-2 mode cannot work here: `problem` says why, `remedy` what the operator can do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
