"""The Farm page: who serves whom now, and what has just happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.parts import LiveQuery, PagePart, event_places, follow, id_after, written
from hcsidecar.console.pages.rendering import Localized
from hcsidecar.console.pages.services import Services
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.action_effects import possible_actions
from hcsidecar.core.console.documents import FarmEvents, FarmOverview, NodeOverview, RollingReport, RollingReports
from hcsidecar.core.console.farm_view import farm_state, state_of
from hcsidecar.core.console.node_details import NodeDetails
from hcsidecar.core.console.queries import FarmEventsQuery
from hcsidecar.core.console.share_strips import SHOWN, shares_now
from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level

_EVENTS: Final = 20
"Events on the page, the newest of all nodes."


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the page."""
    overview: FarmOverview = await request.api("farm")
    details = await request.services.details.look()
    places = await event_places(request)
    found: FarmEvents = await request.api("events", query=FarmEventsQuery(level=Level.INFO, last=_EVENTS))
    events = found.events[::-1]
    return request.render(
        "farm.html",
        overview=overview,
        state=farm_state(overview),
        state_of=state_of,
        details={node.name: details.get(node.name, NodeDetails(node=node.name)) for node in overview.nodes},
        shares=shares_now(overview, details),
        shown=SHOWN,
        events=events,
        after=id_after(places, events),
        reports=_shown(await request.api("rolling")),
        role=request.visitor.actor.identity.role,
        possible_actions=possible_actions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmParts:
    """The parts of the Farm page, for visitors of one language and role."""

    localized: Localized
    role: AccessRole
    services: Services
    has_details: bool = True

    @property
    def key(self) -> str:
        """Name the form."""
        return f"farm {self.localized.language} {self.role}"

    def write(self, _kind: str, document: object) -> Sequence[tuple[str, bytes]]:
        """Return the messages for a piece of news."""
        return written(self._parts(document))

    def _parts(self, document: object) -> Sequence[PagePart]:
        match document:
            case FarmOverview():
                return (self._headline(), ("nodes", self._render("nodes", overview=document)))
            case NodeOverview():
                return (self._headline(), self._card(document), *self._shares())
            case NodeDetails():
                overview = self.services.observer.latest()
                nodes = () if overview is None else overview.nodes
                cards = (self._card(node) for node in nodes if node.name == document.node)
                return (*cards, *self._shares())
            case RollingReport():
                return (("rolling", self._render("rolling", reports=(document,))),)
            case Entry() if document.level is not Level.DEBUG:
                return (("events", self._render("event", entry=document)),)
            case _:
                return ()

    def _headline(self) -> PagePart:
        overview = self.services.observer.latest()
        assert overview is not None  # noqa: S101 - there is news of it
        return "headline", self._render("headline", overview=overview)

    def _shares(self) -> Sequence[PagePart]:
        """Return the strips of buckets; nothing while nobody tells of them, so that the former ones stay."""
        overview = self.services.observer.latest()
        shares = None if overview is None else shares_now(overview, self.services.details.known)
        if overview is None or shares is None:
            return ()
        return (("shares", self._render("shares", overview=overview, shares=shares, shown=SHOWN)),)

    def _card(self, node: NodeOverview) -> PagePart:
        return f"card-{node.name}", self._render("card", node=node)

    def _render(self, part: str, **context: object) -> str:
        details = {name: self.services.details.of(name) for name in self.services.observer.knowledge.nodes}
        return self.localized.render(
            "farm_part.html",
            part=part,
            role=self.role,
            details=details,
            farm_state=farm_state,
            state_of=state_of,
            possible_actions=possible_actions,
            **context,
        )


async def live(request: PageRequest) -> web.StreamResponse:
    """Keep the page up to date."""
    form = FarmParts(localized=request.localized, role=request.visitor.actor.identity.role, services=request.services)
    return await follow(request, form, request.query.after)


async def card(request: PageRequest) -> web.StreamResponse:
    """Show the card of one node alone."""
    overview: FarmOverview = await request.api("farm")
    node = next((each for each in overview.nodes if each.name == request.parameters["node"]), None)
    if node is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no node {request.parameters['node']!r} in the farm")
    details = await request.services.details.look()
    return request.render(
        "farm_part.html",
        part="card",
        node=node,
        details={node.name: details.get(node.name, NodeDetails(node=node.name))},
        role=request.visitor.actor.identity.role,
        farm_state=farm_state,
        state_of=state_of,
        possible_actions=possible_actions,
    )


async def level(request: PageRequest) -> web.StreamResponse:
    """Say in one line how well the farm is, for the head of every other page."""
    return request.render("farm_level.html", state=farm_state(await request.api("farm")))


def _shown(reports: RollingReports) -> Sequence[RollingReport]:
    """Return the rolling command that is in progress, if there is one."""
    return [report for report in reports.rolling if report.state == "running"]


PAGES: Final = (
    Page(name="farm", method="GET", path="/", role=AccessRole.MONITOR, serve=show),
    Page(name="farm_live", method="GET", path="/live/farm", role=AccessRole.MONITOR, serve=live, query=LiveQuery),
    Page(name="farm_level", method="GET", path="/farm/level", role=AccessRole.MONITOR, serve=level),
    Page(name="farm_card", method="GET", path="/farm/{node}/card", role=AccessRole.MONITOR, serve=card),
)
