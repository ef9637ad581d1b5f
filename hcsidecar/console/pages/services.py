"""What all pages share while the console runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from hcsidecar.console.details import DetailObserver
from hcsidecar.console.doorkeeper import Doorkeeper
from hcsidecar.console.handlers import Handlers
from hcsidecar.console.hub import Hub
from hcsidecar.console.observer import FarmObserver
from hcsidecar.console.own_certificate import FarmAuthority
from hcsidecar.console.pages.rendering import Rendering
from hcsidecar.console.pages.static_files import StaticFiles
from hcsidecar.core.console.kept_drafts import KeptDrafts


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the console that pages use."""

    handlers: Handlers
    doorkeeper: Doorkeeper
    observer: FarmObserver
    details: DetailObserver
    hub: Hub
    drafts: KeptDrafts
    authority: FarmAuthority
    rendering: Rendering
    static: StaticFiles
    navigation: Sequence[tuple[str, str]]
    "Path and word of each page that one can go to from everywhere."
    secure: bool
    "It is served over TLS."
