#!/usr/bin/env python3
"""VMs that go to standby when they are idle, and wake when they are wanted."""
import concurrent.futures
import os
import socket
import subprocess
import time

import harness
from harness import expect, expect_equal, wait_until


def events(home, name, kind):
    return [event for event in home.json("events", "--no-follow") if event["name"] == name and event["type"] == kind]


def await_sleep(home, name="w"):
    keys = ("state", "idle", "qemu_pid", "keeper_pid")
    wait_until(lambda: [home.vm(name)[key] for key in keys] == ["standby", True, None, None], f"{name} to go to sleep")


def ask(port):
    """What a web server in the guest says."""
    with socket.create_connection(("127.0.0.1", port), timeout=harness.BOUND) as client:
        client.settimeout(harness.BOUND)
        client.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
        answer = b""
        while part := client.recv(4096):
            answer += part
        return answer


def check_answers(port, count):
    """All at once; none may be lost."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for answer in pool.map(ask, [port] * count):
            expect(answer.endswith(b"\r\n\r\nworld\n"), f"the answer is {answer!r}")


def check_awake(home, command):
    """A session in which that runs keeps it awake; it is looked at while the session goes on."""
    session = home.start("exec", "-i", "w", "--", "sh", "-c", f"echo begun; {command}; echo done; read end", stdin=subprocess.PIPE)
    expect_equal(session.stdout.readline(), b"begun\n")
    slept = len(events(home, "w", "vm.standby"))
    expect_equal(session.stdout.readline(), b"done\n")
    expect_equal(len(events(home, "w", "vm.standby")), slept, "how often it slept while it was in use")
    session.communicate(b"\n", timeout=harness.BOUND)
    expect_equal(session.returncode, 0)


def start_web(home, *options, network="n"):
    home.ramet("run", "-d", "--name", "w", "--network", network, "-p", "0:80", *options, "busybox")
    home.ramet("exec", "w", "sh", "-c", "mkdir /www && echo world >/www/hello && httpd -p 80 -h /www")
    return home.vm("w")["forwards"][0]["host_port"]


def test_clients(home):
    """exec, cp and proxy wake it; a session that goes on keeps it awake, and so does work."""
    home.ramet("run", "-d", "--name", "w", "--idle-standby", "4s", "busybox")
    await_sleep(home)
    expect_equal(home.ramet("exec", "w", "hostname").out, "w\n")
    expect_equal(events(home, "w", "vm.waking")[-1]["detail"], {"by": "client"})
    check_awake(home, "sleep 10")
    check_awake(home, "end=$(($(date +%s) + 9)); while [ $(date +%s) -lt $end ]; do :; done")
    await_sleep(home)
    home.ramet("cp", "w:/etc/passwd", os.path.join(home.folder, "passwd"))
    await_sleep(home)
    # several at once wake it once; none of them leaves before all are there
    count = len(events(home, "w", "vm.waking"))
    clients = [home.start("exec", "-i", "w", "--", "sh", "-c", "echo here; read end", stdin=subprocess.PIPE) for _ in range(4)]
    expect_equal([client.stdout.readline() for client in clients], [b"here\n"] * 4)
    for client in clients:
        client.communicate(b"\n", timeout=harness.BOUND)
    expect_equal(len(events(home, "w", "vm.waking")), count + 1, "how often it woke")
    # what somebody put into standby stays there
    home.ramet("update", "w", "--idle-standby", "0")
    home.ramet("standby", "w")
    expect_equal(home.vm("w")["idle"], False)
    home.ramet("exec", "w", "true", status=125)
    home.ramet("rm", "-f", "w")
    home.check_no_leftovers()


def test_connections(home):
    home.ramet("network", "create", "n", "--backend", "switch")
    check_connections(home, "n")
    home.ramet("network", "rm", "n")
    home.check_no_leftovers()


def test_connections_on_user(home):
    check_connections(home, "user")
    home.check_no_leftovers()


def check_connections(home, network):
    """The first connection wakes it, and none is lost: also over the daemon's end."""
    port = start_web(home, "--idle-standby", "2s", network=network)
    check_answers(port, 2)
    await_sleep(home)
    check_answers(port, 8)
    expect_equal(events(home, "w", "vm.waking")[-1]["detail"], {"by": "connection"})
    await_sleep(home)
    home.kill_daemon()
    home.ramet("ps")
    wait_until(lambda: is_open(port), "the next daemon to listen")
    check_answers(port, 2)
    # it sleeps for a port that is led to it later, too
    home.ramet("port", "rm", "w", str(port))
    expect(not leads_here(port), "a port that leads nowhere is open")
    home.ramet("port", "add", "w", f"{port}:80")
    await_sleep(home)
    check_answers(port, 1)
    await_sleep(home)
    # and a port comes and goes while it sleeps
    other = home.json("port", "add", "w", "0:80")["forwards"][1]["host_port"]
    expect_equal(home.vm("w")["state"], "standby", "state after a change of its ports")
    check_answers(other, 1)
    await_sleep(home)
    home.ramet("port", "rm", "w", str(other))
    expect(not leads_here(other), "a port that was removed is open")
    expect_equal(home.vm("w")["state"], "standby", "state after a port went")
    home.ramet("stop", "w")
    expect(not leads_here(port), "the port of a VM that was stopped is open")
    home.ramet("rm", "w")


def leads_here(port):
    """Another program may have been given a port that is free again."""
    try:
        return ask(port).endswith(b"world\n")
    except OSError:
        return False


def is_open(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def figures(home):
    """Not a test: what waking costs beside a fork, of the same VM in the same run."""
    home.ramet("network", "create", "n", "--backend", "switch")
    port = start_web(home, "--idle-standby", "2s")
    forks, wakes, execs = [], [], []
    for _ in range(5):
        check_answers(port, 1)
        clone = home.json("fork", "w", "--network", "none")
        forks.append(sum(stage["duration_us"] for stage in clone["stages"]) / 1000)
        home.ramet("rm", "-f", clone["name"])
        for times, use in ((wakes, lambda: ask(port)), (execs, lambda: home.ramet("exec", "w", "true"))):
            await_sleep(home)
            began = time.monotonic()
            use()
            times.append((time.monotonic() - began) * 1000)
    print(f"fork {sorted(forks)[2]:.0f} ms, connection {sorted(wakes)[2]:.0f} ms, exec {sorted(execs)[2]:.0f} ms")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
