"""Children of the program that a process was before are reaped by what it has become."""

import asyncio
import subprocess
import sys

from hcsidecar.system.inherited_children import InheritedChildren

BECOMES = """
import os, subprocess, sys
ended, lives = subprocess.Popen(["sleep", "0"]), subprocess.Popen(["sleep", "60"])
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], str(ended.pid), str(lives.pid)])
"""
IS = """
import asyncio, os, signal, sys
from hcsidecar.system.inherited_children import InheritedChildren

ended, lives = map(int, sys.argv[1:])

async def main():
    children = InheritedChildren()
    print(children.left == {ended, lives})
    own = await asyncio.create_subprocess_exec("true")
    task = asyncio.create_task(children.keep_reaping())
    while ended in children.left:
        await asyncio.sleep(0.01)
    print(children.left == {lives}, os.path.exists(f"/proc/{ended}"))
    os.kill(lives, signal.SIGKILL)
    await task
    print(os.path.exists(f"/proc/{lives}"), await own.wait())

asyncio.run(main())
"""


def test_a_process_reaps_the_children_of_the_program_that_it_was_and_no_others():
    done = subprocess.run([sys.executable, "-c", BECOMES, IS], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["True", "True False", "False 0"], done.stderr


def test_a_process_without_children_has_nothing_to_reap():
    children = InheritedChildren()
    children.left.clear()
    asyncio.run(children.keep_reaping())
    children.left.add(1)
    children.reap()
    assert children.left == set(), "it is no child of this process"
