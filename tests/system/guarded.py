#!/usr/bin/env python3
"""A test that is killed leaves no process, no folder and no mount."""
import os
import signal
import subprocess
import sys

import guard
import harness
from harness import expect, wait_until

KILLED = """import os, subprocess, sys, guard, harness
guard.start()
home = harness.Home(harness.BOOTED)
home.ramet("run", "-d", "--name", "a", "busybox")
if os.geteuid() == 0:
    os.mkdir(home.folder + "/place")
    subprocess.run(["mount", "-t", "tmpfs", "none", home.folder + "/place"], check=False)
print(home.folder, flush=True)
sys.stdin.read()
"""


def test_killed(_):
    env = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
    test = subprocess.Popen([sys.executable, "-c", KILLED], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            start_new_session=True)
    folder = test.stdout.readline().strip()
    expect(len(guard.processes_below(folder)) > 2, "a daemon, a keeper and a QEMU")
    os.killpg(test.pid, signal.SIGKILL)  # as meson ends a test
    test.communicate()
    wait_until(lambda: not guard.processes_below(folder) and not os.path.exists(folder), f"the end of what belongs to {folder}")


if __name__ == "__main__":
    harness.main(None)
