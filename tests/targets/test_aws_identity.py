"""What the metadata service says this machine is: asked in version 2, directly, and patiently at the start."""

import asyncio
import socket

import pytest
from aws_here import Imds
from waiting import until

from hcsidecar.core.targets.registration import TargetError, Trouble
from hcsidecar.targets.aws_identity import Metadata


def asked(imds_or_url, *, patience=0.2, **environment):
    url = imds_or_url if isinstance(imds_or_url, str) else imds_or_url.url
    return Metadata({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url} | environment, patience=patience)


def run(story, **paths):
    async def play():
        async with Imds(**paths) as imds:
            await story(imds)

    asyncio.run(play())


async def failure(call):
    with pytest.raises(TargetError) as caught:
        await call
    return caught.value


def test_the_id_is_asked_for_with_a_token():
    async def story(imds):
        assert await asked(imds).find_id("instance") == "i-0123456789abcdef0"
        assert await asked(imds).find_id("ip") == "127.0.1.1"
        assert imds.requests == [
            ("PUT", "latest/api/token"),
            ("GET", "latest/meta-data/instance-id"),
            ("PUT", "latest/api/token"),
            ("GET", "latest/meta-data/local-ipv4"),
        ]

    run(story)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def story(imds):
        assert await asked(imds).find_id("ip") == "127.0.1.1"

    run(story)


def test_a_service_that_comes_up_late_is_waited_for():
    async def story(imds):
        imds.status = 503
        looking = asyncio.create_task(asked(imds, patience=60).find_id("ip"))
        await until(lambda: len(imds.requests) >= 2)
        imds.status = None
        assert await looking == "127.0.1.1"

    run(story)


def test_a_service_that_is_not_there_is_told_with_the_remedies():
    error = asyncio.run(failure(asked("http://127.0.0.1:1").find_id("ip")))
    assert error.trouble is Trouble.RETRY
    assert "http://127.0.0.1:1 cannot be asked" in error.text
    assert "hop limit" in error.text
    assert "nodes = { NAME = { id =" in error.text


def test_a_service_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = asyncio.run(failure(asked(url, patience=0.1).find_id("ip")))
    assert error.trouble is Trouble.RETRY
    assert "no answer within a second" in error.text


@pytest.mark.parametrize("status", [302, 401, 403, 404])
def test_a_service_that_is_switched_off_is_for_the_operator(status):
    async def story(imds):
        imds.status = status
        error = await failure(asked(imds).find_id("instance"))
        assert error.trouble is Trouble.CONFIG
        assert f"HTTP status {status}" in error.text
        assert len(imds.requests) == 1

    run(story)


@pytest.mark.parametrize("given", ["", "<html>Please log in</html>", "i-ABC", "300.1.1.1", "2001:db8::1", "x" * 5000])
def test_what_is_no_id_is_not_taken_for_one(given):
    async def story(imds):
        for target in ("ip", "instance"):
            assert (await failure(asked(imds).find_id(target))).trouble is Trouble.RETRY

    run(story, **{"instance-id": given, "local-ipv4": given})


def test_who_forbids_to_ask_is_obeyed():
    async def story(imds):
        error = await failure(asked(imds, AWS_EC2_METADATA_DISABLED="TRUE").find_id("ip"))
        assert error.trouble is Trouble.CONFIG
        assert imds.requests == []

    run(story)
