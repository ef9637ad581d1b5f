"""The table of all pages, and those that each page leads to."""

from typing import Final

from hcsidecar.console.pages import (
    actions,
    authority,
    clients,
    events,
    farm,
    settings,
    settings_editor,
    settings_form,
    settings_safekit,
    settings_setup,
    signing_in,
    support,
)
from hcsidecar.console.pages.page import Page
from hcsidecar.core.console.translatable import text as _

PAGES: Final[tuple[Page, ...]] = (
    *farm.PAGES,
    *actions.PAGES,
    *events.PAGES,
    *clients.PAGES,
    *settings.PAGES,
    *settings_editor.PAGES,
    *settings_form.PAGES,
    *settings_safekit.PAGES,
    *settings_setup.PAGES,
    *support.PAGES,
    *signing_in.PAGES,
    *authority.PAGES,
)

NAVIGATION: Final = (
    ("/", _("Farm")),
    ("/events", _("Events")),
    ("/clients", _("Clients")),
    ("/settings", _("Settings")),
    ("/support", _("Support")),
)
"Path and word of each page that one can go to from everywhere."
