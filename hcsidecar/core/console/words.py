"""Words that documents have and pages show in the visitor's language."""

from typing import Final

from hcsidecar.core.console.translatable import text as _

WORDS: Final = (
    # Levels of events, and how a check of the machine ended.
    *(_("debug"), _("info"), _("warning"), _("error"), _("ok"), _("problem")),
    # Roles of users.
    *(_("monitor"), _("control"), _("admin")),
    # Results of checks.
    *(_("up"), _("down"), _("init")),
    # Why somebody is not let in.
    _("name or password is wrong"),
)
