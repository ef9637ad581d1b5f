"""Runs in a container: connects to addresses all the time, and tells of each connection when it began and who answered.

Usage: prober.py SECONDS INTERVAL LIMIT ADDRESS:PORT... A first line `begun`, then at the end one line of JSON for each
connection: when it began (the monotonic clock of the machine, which its containers share), the target, the seconds
that it took, and who answered within LIMIT seconds, or null.
"""

import asyncio
import json
import sys
import time


async def ask(target, limit):
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit):
            by = await answer_of(target)
    except OSError:  # TimeoutError among them
        by = None
    return began, target, time.monotonic() - began, by


async def answer_of(target):
    reader, writer = await asyncio.open_connection(*target.split(":"))
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return body.decode().strip() if head.split()[1:2] == [b"200"] else None


async def main():
    seconds, interval, limit = map(float, sys.argv[1:4])
    asked = []
    begin = time.monotonic()
    print("begun", flush=True)  # noqa: T201
    # What is due by the clock, so that a busy machine makes fewer connections and not a longer test.
    while time.monotonic() < begin + seconds:
        asked += [asyncio.create_task(ask(target, limit)) for target in sys.argv[4:]]
        await asyncio.sleep(interval)
    for task in asked:
        print(json.dumps(await task))  # noqa: T201


asyncio.run(main())
