"""What a change of each key of the farm file does to a running farm, as one table.

The plan of a change, config/farm.toml and the manual are made from it. The table says what the key's change takes by
itself; `plan.py` says what it means for the nodes of one farm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ChangeEffect(StrEnum):
    """How much a change disturbs, from nothing to what cannot be done while the farm runs."""

    LIVE = "live"
    "Nothing is disturbed."
    MOVES_CLIENTS = "moves clients"
    "Shares move between nodes; no connection is broken."
    RESTARTS_APPLICATION = "restarts application"
    "On each node, one after the other, with its drain."
    RESTARTS_DAEMON = "restarts daemon"
    "On each node, one after the other, with its drain."
    MEMBERSHIP = "membership"
    "A node joins or leaves."
    REFUSED = "refused"
    "The farm could not stay one."

    @property
    def severity(self) -> int:
        """The place in this order, from 0."""
        return _ORDER.index(self)


_ORDER: Final = tuple(ChangeEffect)


class Touched(StrEnum):
    """Which nodes a change of a key touches."""

    ALL = "all nodes"
    NAMED = "the node named"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEffect:
    """What a change of one key does, to whom, and what an operator should know of it."""

    effect: ChangeEffect
    touches: Touched = Touched.ALL
    note: str = ""
    "When it counts or what to mind; of a refused key why, and what to do instead. No full stop at its end."


def effect_of(key: str) -> KeyEffect:
    """Return what a change of a key does; `key` is a path as in KEY_EFFECTS.

    A key that only another package's kind of target knows has the effect of its table.
    """
    return KEY_EFFECTS.get(key) or KEY_EFFECTS[key.partition(".")[0]]


def effect_mark(key: str) -> str:
    """Return the effect for config/farm.toml: nothing where nothing is disturbed."""
    effect = effect_of(key).effect
    return "" if effect is ChangeEffect.LIVE else effect.value


def _live(note: str = "", touches: Touched = Touched.ALL) -> KeyEffect:
    return KeyEffect(effect=ChangeEffect.LIVE, note=note, touches=touches)


def _moves_clients(note: str = "") -> KeyEffect:
    return KeyEffect(effect=ChangeEffect.MOVES_CLIENTS, note=note)


def _restarts_daemon(note: str = "", touches: Touched = Touched.ALL) -> KeyEffect:
    return KeyEffect(effect=ChangeEffect.RESTARTS_DAEMON, note=note, touches=touches)


def _membership(note: str) -> KeyEffect:
    return KeyEffect(effect=ChangeEffect.MEMBERSHIP, note=note, touches=Touched.NAMED)


_STOP_ALL: Final = "stop all nodes, put the file on each, and start each once with `hcsidecar run --take-file`"


def _refused(why: str, instead: str = _STOP_ALL) -> KeyEffect:
    return KeyEffect(effect=ChangeEffect.REFUSED, note=f"{why}; {instead}")


_TIMING = _restarts_daemon("nodes with different timings share a farm meanwhile")
_CERTIFICATE = _restarts_daemon("other content of the same files is taken on SIGHUP, without a restart")
_NEXT_RUN = _live("used at the next run of the script")
_CHECK = _live("the check begins anew, in `init`; a check that is new and fails acts like any other")
_TARGET = _live()
_NOTIFY = _live()
_SECRET = _live("each server has the file for itself: it does not travel with the settings")
_ADDRESS = _membership(
    "the others hear it at its new address only: it leaves and joins, one node with each change;"
    " a node that keeps an address on one of its networks only restarts its daemon"
)
_OTHER_VIPS = "nodes that differ in [l2] take no shares together"

KEY_EFFECTS: Final[Mapping[str, KeyEffect]] = {
    "farm.name": _refused("nodes hear only nodes of a farm of the same name"),
    "farm.key_file": _refused(
        "a node with other keys hears nobody", "keep the file's name, and change what is in it with `hcsidecar key`"
    ),
    "farm.state_dir": _refused(
        "the daemon would forget the operator's last word, the runs of its scripts and its own former boots",
        "stop all nodes, move the directory on each, and start each once with `hcsidecar run --take-file`",
    ),
    "farm.partition": _live("each node decides by itself what to do when it loses sight of others"),
    "farm.keep_ready": _live(),
    "farm.last_stays": _live(),
    "node": _membership("a node that is alive drains before it leaves"),
    "node.name": _membership("the node of the former name leaves, that of the new name joins"),
    "node.address": _ADDRESS,
    "node.addresses": _ADDRESS,
    "node.power": _moves_clients("towards the nodes with more power than before"),
    "node.listen": _restarts_daemon(touches=Touched.NAMED),
    "heartbeat.port": _refused("a node that listens on another port is not heard"),
    "heartbeat.preset": _TIMING,
    "heartbeat.pulse": _TIMING,
    "heartbeat.lost_after": _TIMING,
    "heartbeat.realtime": _restarts_daemon(),
    "web.listen": _restarts_daemon("not on nodes that have a `listen` of their own"),
    "web.tls": _restarts_daemon(),
    "web.tls.cert": _CERTIFICATE,
    "web.tls.key": _CERTIFICATE,
    "health.path": _live("balancers that ask the former path get 404 from then on"),
    "health.listen": _restarts_daemon(),
    "health.tls": _restarts_daemon(),
    "health.tls.cert": _CERTIFICATE,
    "health.tls.key": _CERTIFICATE,
    "health.agent_check": _restarts_daemon(),
    "health.lame_duck": _live("used by the next drain"),
    "health.prober_fall": _live("used by the next drain"),
    "log.keep": _live(),
    "log.most": _live(),
    "l2": _refused("nodes with and without virtual IPs take no shares together"),
    "l2.interface": _restarts_daemon(),
    "l2.delivery": _refused(_OTHER_VIPS),
    "l2.filter": _restarts_daemon(),
    "l2.unmatched": _live(),
    "l2.vip": _moves_clients(),
    "l2.vip.address": _moves_clients(),
    "l2.share": _moves_clients(),
    "l2.share.name": _moves_clients(),
    "l2.share.protocol": _moves_clients(),
    "l2.share.ports": _moves_clients(),
    "l2.share.vip": _moves_clients(),
    "l2.share.by": _moves_clients(),
    "l2.share.power": _moves_clients("towards the nodes with more power than before"),
    "application": _restarts_daemon("who starts and stops the application changes"),
    "application.start": _NEXT_RUN,
    "application.stop": _NEXT_RUN,
    "application.prestart": _NEXT_RUN,
    "application.poststop": _NEXT_RUN,
    "application.transition": _NEXT_RUN,
    "application.directory": _NEXT_RUN,
    "application.environment": _NEXT_RUN,
    "application.start_timeout": _NEXT_RUN,
    "application.stop_timeout": _NEXT_RUN,
    "application.force_timeout": _NEXT_RUN,
    "application.max_restarts": _live("restarts of before count on"),
    "application.restart_window": _live("restarts of before count on"),
    "application.drain": _live("used by the next drain"),
    "application.safekit": KeyEffect(
        effect=ChangeEffect.RESTARTS_APPLICATION, note="it is stopped as it was started, and then started the other way"
    ),
    "application.log_kb": _NEXT_RUN,
    "application.log_keep": _live(),
    "check": _CHECK,
    "check.type": _CHECK,
    "check.name": _CHECK,
    "check.when": _CHECK,
    "check.action": _live("counts from the next failure on"),
    "check.interval": _live(),
    "check.pending_interval": _live(),
    "check.timeout": _live(),
    "check.rise": _live(),
    "check.fall": _live(),
    "check.address": _CHECK,
    "check.port": _CHECK,
    "check.method": _CHECK,
    "check.path": _CHECK,
    "check.host": _CHECK,
    "check.tls": _CHECK,
    "check.status": _CHECK,
    "check.body": _CHECK,
    "check.pattern": _CHECK,
    "check.interface": _CHECK,
    "check.process": _CHECK,
    "check.command_line": _CHECK,
    "check.unit": _CHECK,
    "check.at_least": _CHECK,
    "check.at_most": _CHECK,
    "check.command": _CHECK,
    "target": _TARGET,
    "target.type": _TARGET,
    "target.name": _TARGET,
    "target.policy": _TARGET,
    "target.poll": _TARGET,
    "target.hold_down": _TARGET,
    "target.group": _TARGET,
    "target.target": _TARGET,
    "target.id": _TARGET,
    "target.port": _TARGET,
    "target.availability_zone": _TARGET,
    "target.region": _TARGET,
    "target.endpoint_url": _TARGET,
    "target.proxy": _TARGET,
    "target.balancer": _TARGET,
    "target.nodes": _live(touches=Touched.NAMED),
    "target.address": _TARGET,
    "target.socket": _TARGET,
    "target.backend": _TARGET,
    "target.servers": _TARGET,
    "target.server": _TARGET,
    "target.options": _TARGET,
    "target.command": _TARGET,
    "target.timeout": _TARGET,
    "notify": _NOTIFY,
    "notify.type": _NOTIFY,
    "notify.name": _NOTIFY,
    "notify.events": _NOTIFY,
    "notify.states": _NOTIFY,
    "notify.group": _NOTIFY,
    "notify.timeout": _NOTIFY,
    "notify.ca_file": _SECRET,
    "notify.url": _NOTIFY,
    "notify.url_file": _SECRET,
    "notify.token_file": _SECRET,
    "notify.header": _NOTIFY,
    "notify.template": _NOTIFY,
    "notify.server": _NOTIFY,
    "notify.tls": _NOTIFY,
    "notify.login_file": _SECRET,
    "notify.sender": _NOTIFY,
    "notify.to": _NOTIFY,
}
"""By key, as `table.key`. A table that may be left out, or stands several times, is a key as well: its change is that
the whole table is new or gone."""
