"""What a network card does in place of the kernel (SIOCETHTOOL, linux/ethtool.h): a veth says that it does it all."""

import array
import fcntl
import socket
import struct

from lan.namespaces import inside

_SIOCETHTOOL = 0x8946
_SET_CHECKSUMS = 0x17
_SET_TCP_SEGMENTATION = 0x1F
_SET_SEGMENTATION = 0x24


def leave_all_to_the_kernel(namespace, interface):
    """Let an interface get whole frames only: no longer than its MTU, with their checksums."""
    with inside(namespace), socket.socket() as asking:
        for command in (_SET_TCP_SEGMENTATION, _SET_SEGMENTATION, _SET_CHECKSUMS):
            value = array.array("I", [command, 0])
            address, _ = value.buffer_info()
            fcntl.ioctl(asking, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), address))
