"""The table of all pages."""

from typing import Final

from hcsidecar.console.pages import farm, signing_in
from hcsidecar.console.pages.page import Page

PAGES: Final[tuple[Page, ...]] = (*farm.PAGES, *signing_in.PAGES)
