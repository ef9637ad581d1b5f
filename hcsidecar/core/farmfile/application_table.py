"""The [application] table of the farm file: the scripts that start and stop the application, and their limits."""

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from hcsidecar.core.farmfile.tables import Table
from hcsidecar.core.farmfile.values import Seconds, Text, as_toml, between, wrong

_OPTIONAL = ("prestart", "poststop", "transition")


def _variable(value: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is None:
        raise wrong(f"is not the name of a variable: {as_toml(value)}", "letters, digits and underscore")
    return value


def _no_zero_byte(value: str) -> str:
    if "\0" in value:
        raise wrong("has a zero byte in it")
    return value


Variable = Annotated[str, Field(strict=True), AfterValidator(_variable)]
"The name of an environment variable."
VariableText = Annotated[str, Field(strict=True), AfterValidator(_no_zero_byte)]
"The value of an environment variable."


class ApplicationTable(Table):
    """How the application is started and stopped. Without this table, it runs by itself and is only checked."""

    start: Text = Field(examples=["bin/start_both"])
    """Script that starts the application, relative to this file. It must end when the application has started. Its
    arguments are the current state, the next state and the action."""
    stop: Text = Field(examples=["bin/stop_both"])
    """Script that stops the application. If it fails or times out, it is called again with `force` as its first
    argument."""
    prestart: Text | None = Field(default=None, examples=["bin/prestart"])
    "Script that runs before the `pre` checks begin, usually to clean up."
    poststop: Text | None = Field(default=None, examples=["bin/poststop"])
    "Script that runs after the application and the `pre` checks have stopped."
    transition: Text | None = Field(default=None, examples=["bin/transition"])
    "Script that is called at each change of state; nothing waits for it to end."
    directory: Text | None = Field(default=None, examples=["/srv/apache"])
    "Working directory of the scripts, relative to this file. Default: the directory of this file."
    environment: Mapping[Variable, VariableText] = Field(default={}, examples=[{"SERVICES": "apache2"}])
    "Environment variables for the scripts. They override those that every script gets."
    start_timeout: Annotated[Seconds, AfterValidator(between("100ms", "1d"))] = 60.0
    """Time limit for the start script, and for the checks to pass once after it; until then, a check that does not pass
    is not a failure."""
    stop_timeout: Annotated[Seconds, AfterValidator(between("100ms", "1d"))] = 300.0
    "Time limit for the stop script. When it expires, the script is called again with `force`."
    force_timeout: Annotated[Seconds, AfterValidator(between("100ms", "1d"))] = 300.0
    "Time limit for the stop script with `force`. When it expires, the processes of the application are killed."
    max_restarts: Annotated[int, Field(strict=True, ge=0, le=1000)] = 3
    "Number of restarts after failures within `restart_window`. The next failure stops the application."
    restart_window: Annotated[Seconds, AfterValidator(between("0s", "365d"))] = 86400.0
    "How long a restart counts. 0s: restarts are not counted and never stop the application."
    drain: Annotated[Seconds, AfterValidator(between("0s", "1h"))] | None = Field(default=None, examples=["10s"])
    """How long connections may take to finish before the stop script runs. Default: [health] lame_duck, but 2s if the
    application's own check has failed."""
    safekit: bool = Field(default=False, strict=True)
    """The scripts come from a SafeKit module: they get its environment and a `safekit` command, and each stop is
    followed by a stop with `force`."""
    log_kb: Annotated[int, Field(strict=True, ge=16, le=1_048_576)] = 2048
    "Maximum size of the log of one run of a script, in kilobytes. When it is reached, the oldest half is discarded."
    log_keep: Annotated[Seconds, AfterValidator(between("1m", "3650d"))] = 2592000.0
    "How long the log of a run is kept after the run has ended."

    @property
    def scripts(self) -> Mapping[str, str]:
        """The configured scripts, by key."""
        named = {"start": self.start, "stop": self.stop}
        return named | {key: text for key in _OPTIONAL if (text := getattr(self, key)) is not None}

    @model_validator(mode="after")
    def _have_two_scripts(self) -> Self:
        if self.start == self.stop:
            raise wrong("is the start script", "a different script, which stops what `start` starts", at="stop")
        return self
