import pytest

from hcsidecar.core.application.icmp import checksum, echo_request, is_reply

TOKEN = bytes(range(16))


def reply_to(request, ipv6):
    return bytes([129 if ipv6 else 0]) + request[1:]


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_reply_with_the_token_is_the_answer(ipv6):
    request = echo_request(ipv6=ipv6, token=TOKEN)
    assert is_reply(reply_to(request, ipv6), ipv6=ipv6, token=TOKEN)
    assert not is_reply(request, ipv6=ipv6, token=TOKEN)
    assert not is_reply(reply_to(request, ipv6), ipv6=ipv6, token=bytes(16))
    assert not is_reply(reply_to(request, not ipv6), ipv6=ipv6, token=TOKEN)


def test_a_raw_socket_gives_the_ipv4_header_too():
    answer = reply_to(echo_request(ipv6=False, token=TOKEN), ipv6=False)
    assert is_reply(b"\x45" + bytes(19) + answer, ipv6=False, token=TOKEN)
    assert is_reply(b"\x46" + bytes(23) + answer, ipv6=False, token=TOKEN)


@pytest.mark.parametrize("ipv6", [False, True])
def test_what_is_too_short_is_no_answer(ipv6):
    answer = reply_to(echo_request(ipv6=ipv6, token=TOKEN), ipv6)
    for length in range(len(answer)):
        assert not is_reply(answer[:length], ipv6=ipv6, token=TOKEN)
    assert not is_reply(b"\x4f", ipv6=ipv6, token=TOKEN)


def test_the_checksum_of_a_request_with_its_checksum_is_zero():
    assert checksum(echo_request(ipv6=False, token=TOKEN)) == 0
    # RFC 1071, section 3, its complement.
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert checksum(b"\x01") == 0xFEFF
