"""The application of the farm file: the scripts that start and stop it, and how much they may cost."""

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
    """The application: how it is started and stopped. Without this table it runs by itself and is only checked."""

    start: Text = Field(examples=["bin/start_both"])
    "Script that starts it, relative to this file, and ends when it is started. Arguments: current state, next, action."
    stop: Text = Field(examples=["bin/stop_both"])
    "Script that stops it. Called again, with `force` as the first argument, when it fails or runs out of time."
    prestart: Text | None = Field(default=None, examples=["bin/prestart"])
    "Script that runs before the `pre` checks begin: cleans up, as a rule."
    poststop: Text | None = Field(default=None, examples=["bin/poststop"])
    "Script that runs when all has stopped, and the `pre` checks too."
    transition: Text | None = Field(default=None, examples=["bin/transition"])
    "Script that is told of each change of state; nobody waits for it."
    directory: Text | None = Field(default=None, examples=["/srv/apache"])
    "Working directory of the scripts, relative to this file; the directory of this file unless set."
    environment: Mapping[Variable, VariableText] = Field(default={}, examples=[{"SERVICES": "apache2"}])
    "Environment variables for the scripts, over those that they get anyway."
    start_timeout: Annotated[Seconds, AfterValidator(between("100ms", "1d"))] = 60.0
    "Limit of the start script, and until the checks have passed once: a failing one is no failure before that."
    stop_timeout: Annotated[Seconds, AfterValidator(between("100ms", "1d"))] = 300.0
    "Limit of the stop script; then it is called with `force`."
    force_timeout: Annotated[Seconds, AfterValidator(between("100ms", "1d"))] = 300.0
    "Limit of the stop script with `force`; then the processes of the application are killed."
    max_restarts: Annotated[int, Field(strict=True, ge=0, le=1000)] = 3
    "Restarts after failures within `restart_window`; the next failure stops the module."
    restart_window: Annotated[Seconds, AfterValidator(between("0s", "365d"))] = 86400.0
    "For how long a restart counts; 0s: restarts are not counted, and never stop the module."
    drain: Annotated[Seconds, AfterValidator(between("0s", "1h"))] | None = Field(default=None, examples=["10s"])
    "How long connections may finish before the stop script; [health] lame_duck unless set; 2s if its own check fails."
    safekit: bool = Field(default=False, strict=True)
    "The scripts are a SafeKit module's: they get its environment, a `safekit` command, and a `force` after each stop."
    log_kb: Annotated[int, Field(strict=True, ge=16, le=1_048_576)] = 2048
    "Size of the log of one run of a script, in kilobytes; the oldest half is thrown away beyond that."
    log_keep: Annotated[Seconds, AfterValidator(between("1m", "3650d"))] = 2592000.0
    "For how long the log of a run is kept after its end."

    @property
    def scripts(self) -> Mapping[str, str]:
        """The scripts that there are, by their key."""
        named = {"start": self.start, "stop": self.stop}
        return named | {key: text for key in _OPTIONAL if (text := getattr(self, key)) is not None}

    @model_validator(mode="after")
    def _have_two_scripts(self) -> Self:
        if self.start == self.stop:
            raise wrong("is the start script", "another one, that stops what `start` has started", at="stop")
        return self
