"""Imports aiohttp and pydantic without what the daemon never uses. Must be imported before anything that imports them.

When it is imported, aiohttp loads the certificates of all authorities, for clients without a TLS context. All of our
clients have one, and kinds of targets from other packages run in the helper process, which does not use this module.
aiohttp also reads the system's table of media types, for serving files, and loads a C++ library for a list. Together
that would take 3 to 4 MiB in a process that runs for years, and 40 ms of its start.

Both also import modules of the standard library and of their own, of which the daemon needs a name or nothing: 4 to
5 MiB more. While they are imported, stand-ins take the place of these modules. Whoever imports one later gets the
module itself. The console uses this module as well, and nothing of what is left out.
"""

import importlib
import mimetypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

_TIME_ZONES: Final = "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables within the block only, because the programs and the TLS of checks must not see them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _StandIn(ModuleType):
    """Has some names of a module; it takes all others from the module itself, which is loaded for that."""

    def __init__(self, name: str, **names: object) -> None:
        super().__init__(name)
        vars(self).update(names)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks for such names
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _stand_ins(*stand_ins: _StandIn) -> Iterator[None]:
    """Within the block, let imports of modules that are not loaded yet find their stand-ins."""
    mine = [module for module in stand_ins if module.__name__ not in sys.modules]
    sys.modules.update({module.__name__: module for module in mine})
    try:
        yield
    finally:
        for module in mine:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]


class _HeaderRegistry:
    """The header registry of the package email, which is loaded with the first header that is parsed."""

    def __call__(self, name: str, value: str) -> object:
        from email.headerregistry import HeaderRegistry  # noqa: PLC0415 - this is what the class is for

        return HeaderRegistry()(name, value)


mimetypes.knownfiles.clear()
with (
    # The first variable is OpenSSL's, the second that of the package with the list. The third is Python's, with the
    # usual places of time zones: to find them out, it would load how it was built.
    _environment(SSL_CERT_FILE=os.devnull, FROZENLIST_NO_EXTENSIONS="1", PYTHONTZPATH=_TIME_ZONES),
    _stand_ins(
        # For web sockets, of which the daemon has none.
        _StandIn("aiohttp._websocket.reader_c", WebSocketDataQueue=object, WebSocketReader=object),
        # What a program of aiohttp's own would read its command line with.
        _StandIn("argparse", ArgumentParser=object),
        # What would check attributes, which no class of aiohttp does.
        _StandIn("attr.validators"),
        # For archives, which the module shutil only asks for.
        _StandIn("bz2"),
        _StandIn("lzma"),
        # For names of hosts that are not in ASCII.
        _StandIn("idna"),
        # For programs whose output is read in the language of the machine.
        _StandIn("locale"),
        # What cookies in a file would be read with.
        _StandIn("pickle", Unpickler=object, _Unpickler=object),
        # The parser of structured headers, for one that comes from the server of a check or a target.
        _StandIn("email.headerregistry", HeaderRegistry=_HeaderRegistry),
        # The names of 2,231 characters in HTML, for reading it; the daemon only writes some.
        _StandIn("html.entities", html5={}),
        # Distributions that extend pydantic: those of this machine's Python have no business in the daemon.
        _StandIn("importlib.metadata", entry_points=lambda **_: (), distributions=lambda: ()),
        # The proxies in the environment, which no client of the daemon asks for.
        _StandIn("urllib.request", getproxies=dict, proxy_bypass=lambda _host: False),
    ),
):
    # What follows finds all of them loaded.
    import zoneinfo  # noqa: F401

    import aiohttp.web  # noqa: F401
    import pydantic.fields
    import pydantic.main
    import pydantic.plugin._loader  # noqa: F401
