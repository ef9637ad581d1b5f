"""What layer-2 mode changes in the kernel, each with all that is needed to change it back: the lines of the record."""

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="what"):
    """One thing that was changed, or was about to be."""

    @property
    def place(self) -> tuple[object, ...]:
        """What is changed, without what it was before: no two changes of one record have the same place."""
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
        """What was there first counts, however often it is changed."""
        return (type(self).__name__, self.interface, self.name)


class ClassifierAdded(Change, frozen=True, kw_only=True, tag="clsact"):
    """A clsact qdisc, which filters hang on, that was not there before."""

    interface: str


class FilterAttached(Change, frozen=True, kw_only=True, tag="tc"):
    """A program on tc ingress, known by its name."""

    interface: str
    name: str


class XdpAttached(Change, frozen=True, kw_only=True, tag="xdp"):
    """An XDP program, known by the number that the kernel gave it, which no other program ever has."""

    interface: str
    generic: bool
    program_id: int


class QueueRulesAdded(Change, frozen=True, kw_only=True, tag="queue rules"):
    """Rules in the table raw of iptables or ip6tables, known by their comment."""

    tool: str
    comment: str


class RawTableAdded(Change, frozen=True, kw_only=True, tag="raw table"):
    """The table raw of nft, of the family ip or ip6, which iptables has made for a first rule."""

    family: str


class IngressTableAdded(Change, frozen=True, kw_only=True, tag="ingress table"):
    """A table of nft's family netdev, known by its name."""

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
