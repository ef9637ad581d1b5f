"""The cookie that holds a person's session."""

from aiohttp import web

from hcsidecar.core.access.credentials import SESSION_LIFE
from hcsidecar.core.console.openapi import COOKIE


def set_session(response: web.StreamResponse, session: str, *, secure: bool) -> None:
    """Give the browser a session; an empty one takes it away."""
    if session:
        response.set_cookie(
            COOKIE, session, path="/", max_age=SESSION_LIFE, secure=secure, httponly=True, samesite="Strict"
        )
    else:
        response.del_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="Strict")
