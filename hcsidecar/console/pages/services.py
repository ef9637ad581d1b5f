"""What all pages share while the console runs."""

from dataclasses import dataclass

from hcsidecar.console.details import DetailObserver
from hcsidecar.console.doorkeeper import Doorkeeper
from hcsidecar.console.handlers import Handlers
from hcsidecar.console.hub import Hub
from hcsidecar.console.observer import FarmObserver
from hcsidecar.console.pages.rendering import Rendering
from hcsidecar.console.pages.static_files import StaticFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the console that pages use."""

    handlers: Handlers
    doorkeeper: Doorkeeper
    observer: FarmObserver
    details: DetailObserver
    hub: Hub
    rendering: Rendering
    static: StaticFiles
    secure: bool
    "It is served over TLS."
