"""The changes that layer-2 mode makes in the kernel, each with all that is needed to undo it.

They are the lines of the record.
"""

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="what"):
    """One change that was made, or was about to be made."""

    @property
    def place(self) -> tuple[object, ...]:
        """What is changed, without its former value: no two changes of one record have the same place."""
        return (type(self).__name__, *msgspec.structs.astuple(self))


class AddressAdded(Change, frozen=True, kw_only=True, tag="address"):
    """An address that was not there before."""

    interface: str
    address: str
    prefix_length: int


class SettingChanged(Change, frozen=True, kw_only=True, tag="setting"):
    """A setting of an interface below /proc/sys/net/ipv4/conf."""

    interface: str
    name: str
    former: int
    value: int

    @property
    def place(self) -> tuple[object, ...]:
        """The setting without its values: the first former value counts, however often the setting is changed."""
        return (type(self).__name__, self.interface, self.name)


class ClassifierAdded(Change, frozen=True, kw_only=True, tag="clsact"):
    """A clsact qdisc, to which filters are attached, that was not there before."""

    interface: str


class FilterAttached(Change, frozen=True, kw_only=True, tag="tc"):
    """A program at tc ingress, identified by its name."""

    interface: str
    name: str


class XdpAttached(Change, frozen=True, kw_only=True, tag="xdp"):
    """An XDP program, identified by the id that the kernel gave it, which no other program ever has."""

    interface: str
    generic: bool
    program_id: int


class QueueRulesAdded(Change, frozen=True, kw_only=True, tag="queue rules"):
    """Rules in the raw table of iptables or ip6tables, identified by their comment."""

    tool: str
    comment: str


class RawTableAdded(Change, frozen=True, kw_only=True, tag="raw table"):
    """The raw table of nft, family ip or ip6, which iptables has created for a first rule."""

    family: str


class IngressTableAdded(Change, frozen=True, kw_only=True, tag="ingress table"):
    """A table of nft's netdev family, identified by its name."""

    name: str


AnyChange = (
    AddressAdded
    | SettingChanged
    | ClassifierAdded
    | FilterAttached
    | XdpAttached
    | QueueRulesAdded
    | RawTableAdded
    | IngressTableAdded
)
