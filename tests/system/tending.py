#!/usr/bin/env python3
"""What happens to VMs by themselves: their time to live, and that they are started again."""
import datetime
import os
import signal

import harness
from harness import expect, expect_equal, expect_match, wait_until


def events(home, name, kind):
    return [event for event in home.json("events", "--no-follow") if event["name"] == name and event["type"] == kind]


def await_event(home, name, kind, count=1):
    return wait_until(lambda: len(events(home, name, kind)) >= count and events(home, name, kind)[-1],
                      f"{kind} of {name}, {count} times")


def is_gone(home, name):
    return name not in [vm["name"] for vm in home.json("ps", "-a")]


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_ttl(home):
    """Stopped, or gone with --rm, when the time is over, also when the daemon died meanwhile; and changed while it runs."""
    home.ramet("run", "-d", "--name", "long", "--ttl", "1d", "busybox")
    vm = home.vm("long")
    expect_equal(vm["ttl_ms"], 86400000, "ttl_ms")
    left = time_of(vm["expires_at"]) - datetime.datetime.now(datetime.timezone.utc).timestamp()
    expect(86000 < left <= 86400, f"{left} s are left")
    home.ramet("snapshot", "create", "long", "base")
    home.ramet("fork", "base", "--name", "brief", "--ttl", "1s")
    expired = await_event(home, "brief", "vm.expired")
    expect_equal(expired["detail"]["ttl_ms"], 1000, "what the event says")
    wait_until(lambda: home.vm("brief")["state"] == "stopped", "brief to be stopped")
    expect_equal(home.vm("brief")["expires_at"], None)
    expect_equal(home.vm("long")["state"], "running")

    # from now on; and with the daemon away at the time
    home.ramet("run", "-d", "--rm", "--name", "gone", "busybox")
    home.ramet("standby", "gone")
    home.ramet("update", "long", "--ttl", "0", "--restart", "always")
    home.ramet("update", "gone", "--ttl", "2s")
    home.kill_daemon()
    wait_until(lambda: is_gone(home, "gone"), "gone to be removed")
    await_event(home, "gone", "vm.expired")
    expect_equal([home.vm("long")[key] for key in ("state", "ttl_ms", "expires_at")], ["running", None, None])

    for wrong in (["--ttl", "5"], ["--ttl", "20y"], ["--ttl", "99999d"], ["--restart", "sometimes"], []):
        home.ramet("update", "long", *wrong, status=2)
    expect_match(home.ramet("run", "-d", "--rm", "--restart", "always", "busybox", status=2).err, "removed at its end")
    home.ramet("rm", "-f", "brief", "long")


def kill_qemu(home, name):
    os.kill(home.vm(name)["qemu_pid"], signal.SIGKILL)


def is_restarted(home, name, count):
    vm = home.vm(name)
    return vm["state"] == "running" and vm["restarts"] == count


def test_restart(home):
    """After a failure or a power off, not after stop; over the daemon's end; and not for ever."""
    for name, policy in (("fails", "on-failure:2"), ("always", "always"), ("never", "no")):
        home.ramet("run", "-d", "--name", name, "--restart", policy, "busybox")
    for name in ("fails", "always", "never"):
        kill_qemu(home, name)
    for name in ("fails", "always"):
        wait_until(lambda vm=name: is_restarted(home, vm, 1), f"{name} to be started again")
        expect_equal(home.ramet("exec", name, "hostname").out.strip(), name, "its name")
    expect_equal(events(home, "fails", "vm.restarting")[0]["detail"], {"policy": "on-failure:2", "attempt": 1})
    wait_until(lambda: home.vm("never")["state"] == "failed", "never to have failed")

    # the guest's own end
    home.ramet("exec", "always", "poweroff", status=None)
    wait_until(lambda: is_restarted(home, "always", 2), "always to be started again after its guest's end")

    # while the daemon is away
    pid = home.vm("fails")["qemu_pid"]
    daemon = home.daemon_pid()
    home.end_daemon(daemon)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_restarted(home, "fails", 2), "fails to be started again by the next daemon")
    home.ramet("fork", "fails", "--name", "calm", "--restart", "on-failure")
    home.ramet("exec", "calm", "poweroff", status=None)
    kill_qemu(home, "fails")  # that was the last time
    for name, state in (("fails", "failed"), ("calm", "stopped")):
        wait_until(lambda vm=name, end=state: home.vm(vm)["state"] == end, f"{name} to be {state}")
        expect_equal(home.vm(name)["restart_at"], None)

    # not after stop, also when a restart is on its way
    for _ in range(10):  # each wait is twice as long as the one before
        wait_until(lambda: home.vm("always")["state"] == "running", "always to run")
        kill_qemu(home, "always")
        if wait_until(lambda: [vm for vm in [home.vm("always")] if vm["state"] != "running"], "its end")[0]["restart_at"]:
            break
    home.ramet("stop", "always")
    expect_equal(home.vm("always")["restart_at"], None)
    expect(home.vm("always")["state"] in ("failed", "stopped"), "always was started again")
    home.ramet("rm", "-f", "fails", "always", "never", "calm")
    home.check_no_leftovers()


def scheduled(home):
    return [s["name"] for s in home.json("snapshot", "ls") if s["name"] and "-auto-" in s["name"]]


def fork_first(home):
    """The oldest scheduled snapshot, which has a clone now; None: it went before it had one."""
    for name in scheduled(home)[:1]:
        result = home.ramet("fork", name, "--name", "clone", status=None)
        expect(result.status in (0, 3, 4), result.err)
        return name if result.status == 0 else None
    return None


def test_schedule(home):
    """Taken again and again, the oldest removed unless something grows from it; not in a burst after a pause of the daemon."""
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("snapshot", "create", "a", "own")
    home.ramet("snapshot", "schedule", "a", "--every", "0s", status=2)
    home.ramet("snapshot", "schedule", "a", "--every", "2s", "--keep", "2")
    expect_match(home.ramet("snapshot", "schedule").out, r"^a  every 2s  keep 2  next 20")
    first = wait_until(lambda: fork_first(home), "a clone of the first snapshot")
    expect_match(first, r"^a-auto-\d{8}-\d{6}$")
    wait_until(lambda: first in scheduled(home) and len(scheduled(home)) >= 3, "others beside the one that is needed")
    seen = scheduled(home)[-1]
    wait_until(lambda: seen not in scheduled(home), "the oldest others to go")
    expect(first in scheduled(home), "what a clone grows from went")
    expect(len(scheduled(home)) <= 4, f"too many: {scheduled(home)}")
    home.ramet("snapshot", "schedule", "a", "--off")
    kept = scheduled(home)
    expect_equal([home.vm("a")[key] for key in ("snapshot_every_ms", "snapshot_at")], [None, None])
    expect_equal(home.ramet("snapshot", "schedule").out, "")
    expect("own" in [s["name"] for s in home.json("snapshot", "ls")], "a user's own snapshot went")
    for wrong in (["a"], ["a", "--every", "10ms"], ["a", "--every", "1h", "--off"], ["--every", "1h"], ["a", "--every", "1h", "--keep", "0"]):
        home.ramet("snapshot", "schedule", *wrong, status=2)
    home.ramet("rm", "-f", "a", "clone")
    home.ramet("snapshot", "rm", "own", *kept)


if __name__ == "__main__":
    harness.main(harness.BOOTED)
