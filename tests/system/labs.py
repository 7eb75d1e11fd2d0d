#!/usr/bin/env python3
"""Labs: VMs and the networks between them as one thing, all of it or nothing."""
import os
import re
import signal
import sqlite3
import subprocess
import time

import harness
from harness import expect, expect_equal, expect_match, is_alive, wait_until

THREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/three.yaml")

PAIR = """
networks:
  lan: {subnet: 10.204.0.0/24, uplink: false}
vms:
  a: {image: busybox, networks: ["lan,ip=10.204.0.10"], env: {WORD: ONE}, run: "echo $WORD says a"}
  b: {image: busybox, networks: [lan], ready: "ping -c 1 -w 5 a"}
"""


def write(home, text, name="lab.yaml"):
    path = os.path.join(home.folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def up(home, text, name="lab", status=0, **how):
    return home.ramet("lab", "up", "--name", name, write(home, text), status=status, **how)


def rows(home):
    """What the store has of labs, VMs, networks and leases, but for what is the daemon's own."""
    with sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True) as store:
        return [store.execute(f"SELECT count(*) FROM {table} {condition}").fetchone()[0] for table, condition in
                (("labs", ""), ("vms", "WHERE lab IS NOT NULL"), ("networks", "WHERE id <> 'user'"), ("leases", ""))]


def switches(home):
    """The ids of the home's switches."""
    return [pid for pid in harness.processes_of(home.path) if harness.is_switch(pid) and not harness.is_user_switch(pid)]


def await_logs(home, lab, pattern):
    """What a guest prints may come to the log after its lab is ready."""
    wait_until(lambda: re.search(pattern, home.ramet("lab", "logs", lab).out), f"{pattern} in the logs of {lab}")


def check_nothing_left(home):
    expect_equal(home.json("lab", "ls"), [], "labs")
    expect_equal(rows(home), [0, 0, 0, 0], "rows")
    expect_equal(switches(home), [], "switches")
    expect_equal(harness.network_files(home), [], "files of networks")
    home.check_no_leftovers()


def test_three(home):
    """Two networks with a router between them, which passes on what is not its own."""
    expect_equal(home.ramet("lab", "up", THREE).out, "three\n")
    lab = home.json("lab", "inspect", "three")
    expect_equal([vm["name"] for vm in lab["vms"]], ["client", "router", "server"], "VMs, in the order of the file")
    expect_equal([vm["vm"] for vm in lab["vms"]], ["three/client", "three/router", "three/server"], "their whole names")
    expect(all(vm["ready"] and vm["state"] == "running" for vm in lab["vms"]), f"all are ready: {lab}")
    expect_equal([network["name"] for network in lab["networks"]], ["inside", "outside"], "networks")
    expect_equal((lab["name"], lab["from"], lab["state"]), ("three", None, "ready"), "the lab")
    expect_equal(home.ramet("lab", "exec", "three", "client", "--", "wget", "-qO-", "http://server.test/").out, "hello\n")
    expect_equal(home.ramet("exec", "three/server", "hostname").out, "server\n")
    expect_equal(home.ramet("lab", "exec", "-e", "A=1", "-w", "/tmp", "three", "client", "sh", "-c", "echo $A; pwd; exit 7", status=7).out,
                 "1\n/tmp\n")
    expect_match(home.ramet("lab", "exec", "three", "client", "cat", "/etc/resolv.conf").out, r"search inside\.ramet")
    home.ramet("lab", "exec", "three", "router", "nslookup", "client.inside.ramet")
    port = home.vm("three/server")["forwards"][0]["host_port"]
    expect_equal(subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/"], capture_output=True, check=True, text=True).stdout, "hello\n")
    expect_match(home.ramet("lab", "ls").out, r"three +ready +3/3 +2 ")
    await_logs(home, "three", r"(?m)^server \| serving as server")
    await_logs(home, "three", r"(?m)^router \| passing on")
    expect_equal([log["name"] for log in home.json("lab", "logs", "three")], ["three/client", "three/router", "three/server"])
    home.ramet("cp", THREE, "three/client:/tmp/file")
    home.ramet("cp", "three/client:/tmp/file", os.path.join(home.folder, "back"))
    for verb in (["rm", "-f", "three/client"], ["network", "rm", "three/inside"], ["rename", "three/client", "x"]):
        expect_match(home.ramet(*verb, status=4).err, "part of lab three; a lab goes as a whole: ramet lab down three")
    expect_match(home.ramet("create", "--network", "three/inside", "busybox", status=4).err, "has its VMs only")
    home.ramet("stop", "three/client")
    expect_match(home.ramet("lab", "ls").out, r"three +ready +2/3 ")
    home.ramet("start", "three/client")
    expect_equal(home.ramet("lab", "down", "three").out, "three\n")
    home.ramet("lab", "down", "three", status=3)
    check_nothing_left(home)


def test_mistakes(home):
    """Each is told with its line, and nothing was made."""
    vm = "vms:\n  a:\n    image: busybox\n"
    for text, says in ((vm + "    memory: lots\n", r"lab\.yaml:4: memory: \"lots\" is no size"),
                       (vm + "    colour: red\n", r"lab\.yaml:4: .*colour"),
                       (vm + "    networks: [lan]\n", r"lab\.yaml:4: there is no network lan"),
                       (vm + "    ports: [8000]\n", r"lab\.yaml:4: "),
                       (vm + "    ports: [0:80, '8000:80', '8000:81']\n", r"lab\.yaml:4: .*leads elsewhere"),
                       (vm + "  a: {image: busybox}\n", r"lab\.yaml:4: the key a comes a second time"),
                       (vm + "  A: {image: busybox}\n", r"lab\.yaml:4: .*not a valid VM name"),
                       ("vms:\n  a: {image: [x]}\n", r"lab\.yaml:2: image is a list"),
                       ("vms:\n  a: {image: &x y}\n", r"lab\.yaml:2: "),
                       ("vms: {a: {}}\n", r"lab\.yaml:1: a has no image"),
                       ("vms: [\n", r"lab\.yaml:\d: "),
                       ("networks: {a: {subnet: 10.0.0.0}}\n" + vm, r"lab\.yaml:1: subnet"),
                       ("networks: {none: }\n" + vm, r"lab\.yaml:1: a network cannot be called none"),
                       ("", r"lab\.yaml: it is empty")):
        expect_match(up(home, text, status=2).err, says)
    expect_match(up(home, "vms:\n  a: {image: nosuch}\n", status=3).err, "nosuch")
    home.ramet("lab", "up", "/nosuch.yaml", status=None)
    expect_match(home.ramet("lab", "up", "-", stdin=PAIR, status=2).err, "choose one with --name")
    expect_match(up(home, PAIR, name="Lab", status=2).err, "not a valid name")
    expect_match(up(home, "networks: {lan: {subnet: 127.1.0.0/24}}\n" + vm, status=2).err, "network lan: .*loopback")
    check_nothing_left(home)


def test_all_or_nothing(home):
    """One VM that does not get ready undoes all; which one it was, and what it said, is told."""
    failed = up(home, PAIR + "  c: {image: busybox, ready: 'echo not yet; false', ready_timeout: 8}\n", status=5)
    expect_match(failed.err, "cannot bring up lab lab: VM c, ready: .*it said: not yet; give it longer with ready_timeout")
    check_nothing_left(home)
    failed = up(home, PAIR + "  c: {image: busybox, memory: 512G}\n", status=None)
    too_large = "524288 MiB of memory are more than this host has .*; ask for less memory"
    expect_match(failed.err, "VM c.*" + too_large)
    check_nothing_left(home)
    expect_match(home.ramet("run", "-m", "512G", "busybox", status=125).err, too_large)
    home.ramet("lab", "up", "--name", "lab", "-", stdin=PAIR)
    expect_match(up(home, PAIR, status=4).err, "there is a lab lab already")
    await_logs(home, "lab", r"(?m)^a \| ONE says a")
    home.ramet("lab", "down", "lab")
    check_nothing_left(home)


def test_two_at_once(home):
    """Two labs with the same addresses never meet, and each finds its own."""
    ups = [home.start("lab", "up", "--name", name, write(home, PAIR.replace("ONE", name), name)) for name in ("one", "two")]
    for process in ups:
        out, err = process.communicate(timeout=harness.BOUND)
        expect_equal(process.returncode, 0, f"{out} {err}")
    for name in ("one", "two"):
        expect_equal(home.vm(f"{name}/a")["ip"], "10.204.0.10", "the address")
        home.ramet("lab", "exec", name, "a", "--", "sh", "-c", f"mkdir /www; echo {name} > /www/index.html; httpd -h /www")
    for name in ("one", "two"):
        expect_equal(home.ramet("lab", "exec", name, "b", "--", "wget", "-qO-", "http://a/").out, f"{name}\n", "who answers")
    home.ramet("lab", "down", "one")
    expect_equal(home.ramet("lab", "exec", "two", "b", "--", "wget", "-qO-", "http://10.204.0.10/").out, "two\n", "after the other's end")
    home.ramet("lab", "down", "two")
    check_nothing_left(home)


def test_half_gone(home):
    """A lab goes whatever is left of it."""
    up(home, PAIR)
    vm = home.vm("lab/a")
    os.kill(vm["keeper_pid"], signal.SIGKILL)
    for pid in switches(home):
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: not is_alive(vm["qemu_pid"]), "the end of QEMU after its keeper")
    home.kill_daemon()
    home.ramet("lab", "down", "lab")
    check_nothing_left(home)


def test_follow(home):
    """The lines of all VMs, as they come, until the last VM ends."""
    up(home, PAIR.replace("echo $WORD says a", "while sleep 0.2; do echo $WORD goes on; done"))
    process = home.start("lab", "logs", "-f", "lab")
    line = process.stdout.readline().decode()
    expect_match(line, r"^a \| ONE goes on")
    home.ramet("lab", "down", "lab")
    process.communicate(timeout=harness.BOUND)
    check_nothing_left(home)


def test_interrupted(home):
    """A client that goes away takes with it what was made."""
    process = home.start("lab", "up", "--name", "lab", write(home, PAIR + "  c: {image: busybox, ready: 'false'}\n"))
    wait_until(lambda: rows(home)[1] == 3, "three VMs")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=harness.BOUND)
    wait_until(lambda: rows(home) == [0, 0, 0, 0], "the end of all")
    check_nothing_left(home)


def sweep(home, arguments, check):
    """Kills the daemon later each time, until the command got through."""
    delay = 0.0
    for _ in range(40):
        home.ramet("ps")
        process = home.start(*arguments)
        time.sleep(delay)  # the sweep itself: the moment of the kill
        finished = process.poll() is not None
        home.kill_daemon()
        process.communicate(timeout=harness.BOUND)
        check(finished)
        if finished:
            return
        delay = delay * 1.5 + 0.02
    raise harness.Failure("no command got through")


def test_daemon_killed_at_every_step_of_up(home):
    """What was half made is gone, and the name is free at once."""
    path = write(home, PAIR)

    def check(finished):
        if finished:
            expect_equal([lab["state"] for lab in home.json("lab", "ls")], ["ready"], "a lab that was made")
        for lab in home.json("lab", "ls"):  # the client may have been told of none
            home.ramet("lab", "down", lab["name"], status=None)
        wait_until(lambda: rows(home) == [0, 0, 0, 0], "the end of what was half made")
        check_nothing_left(home)
    sweep(home, ["lab", "up", "--name", "lab", path], check)
    home.ramet("lab", "up", "--name", "lab", path)
    home.ramet("lab", "down", "lab")


def test_daemon_killed_at_every_step_of_down(home):
    def check(finished):
        home.ramet("ps")
        wait_until(lambda: not any(rows(home)) or not finished and [lab["state"] for lab in home.json("lab", "ls")] == ["ready"],
                   "an end of it")
        if any(rows(home)):
            home.ramet("lab", "down", "lab")
        check_nothing_left(home)
        if not finished:
            up(home, PAIR)
    up(home, PAIR)
    sweep(home, ["lab", "down", "lab"], check)


if __name__ == "__main__":
    harness.main(harness.BOOTED)
