"""The certificate of the farm's authority, for whoever is to trust it: open to everybody, as it is public."""

from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest

PATH: Final = "/ca.pem"
_KIND: Final = "application/x-x509-ca-cert"
"By which browsers and phones offer to trust it."


async def authority(request: PageRequest) -> web.StreamResponse:
    """Return the certificate of the farm's authority, as PEM."""
    terms = await request.services.authority.latest()
    if not terms.authority:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE if terms.soon else HTTPStatus.NOT_FOUND, terms.problem)
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{terms.farm}-ca.pem"'}
    return web.Response(body=terms.authority.encode(), content_type=_KIND, headers=headers)


PAGES: Final = (Page(name="authority", method="GET", path=PATH, role=None, serve=authority),)
