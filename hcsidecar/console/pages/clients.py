"""Who serves a client: the node and why, as each node says it; and what the filters have done with packets."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.documents import FarmOverview, NodeAnswer, NodeAnswers
from hcsidecar.core.console.packet_words import ACTION_WORDS, DELIVERY_WORDS
from hcsidecar.core.console.queries import ClientQuery
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import read_json
from l2mode.core.documents import ClientExplanation, LayerTwoReport

_Text = Annotated[str, msgspec.Meta(max_length=64)]


class ClientPageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client about whom it is asked; nobody if the address is empty."""

    address: _Text = ""
    port: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{0,5}\Z")] = ""
    vip: _Text = ""


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the page."""
    query: ClientPageQuery = request.query
    overview: FarmOverview = await request.api("farm")
    reports: NodeAnswers[LayerTwoReport] = await request.api("shares")
    answers: list[NodeAnswer[ClientExplanation]] = []
    if query.address.strip() and overview.shares:
        answers = list(await asyncio.gather(*(_ask(request, node.name, query) for node in overview.nodes)))
    said = [answer.document.shares for answer in answers if answer.document is not None]
    return request.render(
        "clients.html",
        query=query,
        overview=overview,
        reports=reports.nodes,
        answers=answers,
        problems=_by_problem(answers),
        action_words=ACTION_WORDS,
        delivery_words=DELIVERY_WORDS,
        # Each node reckons for itself; while the farm changes they may differ for a moment.
        differ=len({tuple((share.share, share.owner) for share in shares) for shares in said}) > 1,
    )


def _by_problem(answers: Sequence[NodeAnswer[ClientExplanation]]) -> Mapping[str, Sequence[str]]:
    """Return the nodes that have each problem: what is wrong with a question, all say alike."""
    found: dict[str, list[str]] = {}
    for answer in answers:
        if answer.problem:
            found.setdefault(answer.problem, []).append(answer.node)
    return found


async def _ask(request: PageRequest, node: str, query: ClientPageQuery) -> NodeAnswer[ClientExplanation]:
    try:
        wanted = ClientQuery(
            address=query.address.strip(),
            port=int(query.port) if query.port else None,
            vip=query.vip.strip() or None,
            node=node,
        )
        return NodeAnswer(node=node, answers=True, document=await request.api("explain", query=wanted))
    except NoAnswerError as error:
        return NodeAnswer(node=node, answers=False, problem=str(error))
    except ApiError as error:
        return NodeAnswer(node=node, answers=True, problem=read_json(error.reply.body, Refusal).reason)


PAGES: Final = (
    Page(
        name="clients_page",
        method="GET",
        path="/clients",
        role=AccessRole.MONITOR,
        serve=show,
        query=ClientPageQuery,
    ),
)
