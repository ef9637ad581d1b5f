"""A network card as the kernel tells of it, for tests of what is decided about interfaces."""

from l2mode.core.interface import Interface

ETH0 = Interface(
    name="eth0",
    index=2,
    mac=bytes.fromhex("020000000001"),
    mtu=1500,
    up=True,
    loopback=False,
    ethernet=True,
    kind=None,
    driver="virtio_net",
)
