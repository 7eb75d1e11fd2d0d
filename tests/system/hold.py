#!/usr/bin/env python3
"""No program of a guest runs in a clone before it is itself: a program in the guest that never pauses looks at host name,
clock and random numbers (watcher.c), and its last look under the source's name is the same, to the bit, in all clones
of one snapshot. Every way to a clone, one and two CPUs, beside load."""
import collections
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time

import harness
from harness import expect, expect_equal

WATCHER = os.path.join(harness.BUILD, "tests", "system", "watcher")
DRAWER = os.path.join(harness.BUILD, "tests", "system", "drawer")
SLACK = 0.1  # seconds that a guest's clock may be off when it wakes

Look = collections.namedtuple("Look", "what number seconds random name")


@contextlib.contextmanager
def load():
    """Keeps all of the host's processors busy, with work that gives way to other tests where the kernel can do that."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(os.cpu_count())]
    for burner in burners:
        os.setpriority(os.PRIO_PROCESS, burner.pid, 10)
        with contextlib.suppress(OSError), open(f"/proc/{burner.pid}/autogroup", "w", encoding="utf-8") as file:
            file.write("10")
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def watch(home, cpus, name="s", image="busybox"):
    home.ramet("run", "-d", "--name", name, "--cpus", str(cpus), image, timeout=600)
    home.ramet("cp", WATCHER, f"{name}:/dev/shm/watcher")
    for cpu in range(cpus):
        home.ramet("exec", name, "--", "sh", "-c", f"/dev/shm/watcher {cpu} /dev/shm/{cpu} </dev/null >/dev/null 2>&1 &")
        harness.wait_until(lambda cpu=cpu: looks(home, name, cpu), "the watcher's first look")


def looks(home, name, cpu):
    out = home.ramet("exec", name, "--", "sh", "-c", f"cat /dev/shm/{cpu} 2>/dev/null; true").out
    found = []
    for line in out.splitlines():
        what, number, nanoseconds, random, who = line.split()
        found.append(Look(what, int(number), int(nanoseconds) / 1e9, random, who))
    return found


def change(home, name, cpu, source):
    """The last look as the source, and the first as this one. It may not have had the CPU yet."""
    def find():
        found = looks(home, name, cpu)
        for last, first in zip(found, found[1:]):
            if last.what == "last" and last.name == source and first.name != source:
                return last, first
        return None
    return harness.wait_until(find, f"the watcher of {name} to see another name than {source}")


def check_clones(home, names, source, cpus, since, final=True):
    """since: when they were asked for. final: what they are called now is what they were called first."""
    for name in names:
        expect_equal(home.vm(name)["held"], True, f"held of {name}")
    for cpu in range(cpus):
        seen = [change(home, name, cpu, source) for name in names]
        expect_equal(len({last for last, _ in seen}), 1, f"last looks as {source} on CPU {cpu}: {seen}")
        expect_equal(len({first.random for _, first in seen}), len(names), f"first random numbers: {seen}")
        for name, (_, first) in zip(names, seen):
            if final:
                expect_equal(first.name, name, "the first name")
            expect(since - SLACK <= first.seconds <= time.time() + SLACK,
                   f"the first look of {name} was at {first.seconds}, it was asked for at {since}")


def fork(home, source, name, count=2):
    home.ramet("fork", source, "-n", str(count), "--name", name, timeout=600)
    return [f"{name}-{i + 1}" for i in range(count)]


def look_after(home, name, cpu, last):
    """The first look after that one, or after the next, which it may have begun before it was saved."""
    found = looks(home, name, cpu)
    return next((after for before, after in zip(found, found[1:])
                 if before.what == "last" and before.number in (last.number, last.number + 1)), None)


def check_resumed(home, name, cpus, others, since):
    """It wakes as itself, so the jump of its clock tells. `others` were forked of the same state."""
    expect_equal(home.vm(name)["held"], True, f"held of {name}")
    for cpu in range(cpus):
        last, _ = change(home, others[0], cpu, name)
        after = harness.wait_until(lambda cpu=cpu, last=last: look_after(home, name, cpu, last),
                                   f"a jump of {name}'s clock right after {last}")
        expect(after.seconds >= since - SLACK, f"{after} after it was resumed at {since}")


def check_paused(home, cpus):
    """A second fork finds it as the first one left it; then it goes on."""
    home.ramet("pause", "s")
    since = time.time()
    names = fork(home, "s", "p") + fork(home, "s", "q")
    check_clones(home, names, "s", cpus, since)
    expect_equal(home.vm("s")["state"], "paused", "the source's state")
    home.ramet("unpause", "s")
    expect_equal(home.ramet("exec", "s", "hostname").out, "s\n")
    home.ramet("exec", "s", "--", "sh", "-c", "echo written >/root/after && sync")
    home.ramet("rm", "-f", *names)


def check_standby(home, cpus, paused):
    if paused:
        home.ramet("pause", "s")
    home.ramet("standby", "s")
    since = time.time()
    names = fork(home, "s", "b")
    check_clones(home, names, "s", cpus, since)
    since = time.time()
    home.ramet("resume", "s")
    check_resumed(home, "s", cpus, names, since)
    home.ramet("rm", "-f", *names)


def fill_pool(home):
    """Not beside load, not even that of watchers: its clones give way to whoever is busy."""
    home.ramet("pause", "s")
    home.ramet("pool", "set", "--wait", "snap", "2", timeout=600)
    home.ramet("unpause", "s")


def claim(home, name):
    home.ramet("fork", "snap", "--name", name)
    expect_equal(home.vm(name)["boot"], "claimed")
    return name


def check_claims(home, cpus):
    """Claimed ones had a name before, so what they were called first is not asked."""
    home.ramet("snapshot", "create", "s", "snap")
    since = time.time()
    fill_pool(home)
    with load():
        claimed = [claim(home, "c1"), claim(home, "c2")]
        asked = time.time()
        names = fork(home, "snap", "t")
        check_clones(home, names, "s", cpus, asked)
        check_clones(home, [*names, *claimed], "s", cpus, since, final=False)
        for name in claimed:
            expect_equal(looks(home, name, 0)[-1].name, name, "the last name that was seen")
        asked = time.time()
        check_clones(home, fork(home, "t-1", "ff"), "t-1", cpus, asked)
    home.ramet("pool", "set", "snap", "0", timeout=600)
    home.ramet("rm", "-f", *names, *claimed, "ff-1", "ff-2")


def check_all(home, cpus):
    watch(home, cpus)
    with load():
        since = time.time()
        names = fork(home, "s", "r")
        check_clones(home, names, "s", cpus, since)
        home.ramet("rm", "-f", *names)
        check_paused(home, cpus)
        check_standby(home, cpus, paused=False)
        check_standby(home, cpus, paused=True)
    check_claims(home, cpus)
    expect_equal(home.ramet("exec", "s", "cat", "/root/after").out, "written\n")
    home.ramet("rm", "-f", "s")
    home.ramet("snapshot", "rm", "snap")
    home.check_no_leftovers()


def test_one_cpu(home):
    check_all(home, 1)


def test_two_cpus(home):
    check_all(home, 2)


def test_refused_where_a_program_keeps_a_cpu(home):
    """A program of the guest's that has the highest priority and never sleeps does not make room: there is no snapshot
    to fork then, and the guest goes on."""
    home.ramet("run", "-d", "--name", "s", "--cpus", "2", "busybox")
    home.ramet("cp", WATCHER, "s:/dev/shm/watcher")
    home.ramet("exec", "s", "--", "sh", "-c", "/dev/shm/watcher spin 1 </dev/null >/dev/null 2>&1 &")
    failed = home.ramet("fork", "s", status=1)
    expect("before they are themselves" in failed.err and "priority" in failed.err, failed.err)
    home.ramet("exec", "s", "killall", "watcher")
    home.ramet("fork", "s", "--name", "f")
    expect_equal(home.vm("f")["held"], True)
    home.ramet("rm", "-f", "s", "f")
    home.check_no_leftovers()


WRITER = "mkdir -p /var/w; cd /var/w; i=0; while :; do head -c 20000 /dev/urandom >f$((i % 64)); md5sum f* >sums; i=$((i + 1)); done"


def test_the_agent_is_there_after_the_thaw(home):
    """The disk that it thaws may answer by a CPU that it just held, for 20 s at most."""
    home.ramet("run", "-d", "--name", "busy", "--cpus", "2", "busybox", timeout=600)
    home.ramet("exec", "-d", "busy", "--", "sh", "-c", WRITER)
    for i in range(12):
        home.ramet("snapshot", "create", "busy", f"of-busy-{i}")
        home.ramet("exec", "busy", "--", "true", timeout=15)
        home.ramet("snapshot", "rm", f"of-busy-{i}")
    home.ramet("rm", "-f", "busy")


# Each is stopped in the middle of something again and again, with a lock that a clone needs to become itself.
LOCK_HOLDERS = {
    "network": "while :; do ip link set lo down; ip link set lo up; done",
    "connection": "(nc -l -p 7000 </dev/zero >/dev/null & sleep 1; exec nc 10.0.2.15 7000 </dev/zero >/dev/null)",
}


def test_guest_holds_locks(home):
    for cpus in ("1", "2"):
        for what, command in LOCK_HOLDERS.items():
            home.ramet("run", "-d", "--name", "s", "--cpus", cpus, "busybox", timeout=600)
            home.ramet("exec", "-d", "s", "--", "sh", "-c", command)
            for i in range(4):
                home.ramet("fork", "s", "--name", "f", "--network", "none")
                expect_equal(home.vm("f")["boot"], "forked", f"boot ({what}, {cpus} CPUs)")
                home.ramet("rm", "-f", "f")
            home.ramet("rm", "-f", "s")
    home.check_no_leftovers()


def test_what_the_guest_froze_stays_frozen(home):
    home.ramet("run", "-d", "--name", "s", "busybox")
    home.ramet("exec", "s", "--", "sh", "-c", "fsfreeze --freeze /")
    home.ramet("fork", "s", "--name", "f")
    for name in ("s", "f"):
        home.ramet("exec", name, "--", "sh", "-c", "echo 1 >/root/written & sleep 1; kill -0 $!")
        home.ramet("exec", name, "--", "sh", "-c", "fsfreeze --unfreeze / && until cat /root/written; do sleep 0.1; done")
    home.ramet("rm", "-f", "s", "f")
    home.check_no_leftovers()


def start_drawer(home, name):
    """With the host's libraries and their loader, since the image has none."""
    folder = os.path.join(home.folder, "lib")
    os.mkdir(folder)
    shutil.copy(DRAWER, folder)
    for path in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", DRAWER], capture_output=True, text=True, check=True).stdout):
        shutil.copy(path, folder)
    home.ramet("cp", folder, f"{name}:/dev/shm")
    home.ramet("exec", name, "--", "sh", "-c",
               "cd /dev/shm/lib && ./ld-*.so.* --library-path . ./drawer /dev/shm </dev/null >/dev/null 2>&1 &")
    return draw(home, name, 1)


def draw(home, name, number):
    """Random bytes, and how many changes of the generation the program has seen."""
    home.ramet("exec", name, "touch", f"/dev/shm/go-{number}")
    out = harness.wait_until(
        lambda: home.ramet("exec", name, "--", "sh", "-c", f"cat /dev/shm/out-{number} 2>/dev/null; true").out,
        f"random bytes of the program in {name}")
    return out.split()[0], int(out.split()[1])


def test_programs_that_ran_already(home):
    """OpenSSL in a program that has drawn from it draws other numbers in each clone, in a clone of a clone, and in the
    source; and a program that watches the generation is told of each clone, and in the source of nothing."""
    home.ramet("run", "-d", "--name", "s", "busybox")
    generations = {"s": home.ramet("exec", "s", "cat", "/run/ramet/generation").out}
    drawn = {"s": start_drawer(home, "s")}
    names = fork(home, "s", "a")
    for name in names:
        generations[name] = home.ramet("exec", name, "cat", "/run/ramet/generation").out
        drawn[name] = draw(home, name, 2)
    for name in fork(home, names[0], "aa"):
        drawn[name] = draw(home, name, 3)
    home.ramet("standby", "s")
    home.ramet("resume", "s")
    generations["resumed"] = home.ramet("exec", "s", "cat", "/run/ramet/generation").out
    drawn["resumed"] = draw(home, "s", 2)
    expect_equal(len({bytes_ for bytes_, _ in drawn.values()}), len(drawn), f"numbers that differ: {drawn}")
    expect_equal({name: changes for name, (_, changes) in drawn.items()},
                 {"s": 0, "a-1": 1, "a-2": 1, "aa-1": 2, "aa-2": 2, "resumed": 1}, "changes that were seen")
    expect_equal(len(set(generations.values())), len(generations), f"generations that differ: {generations}")
    for text in generations.values():
        harness.expect_match(text, r"^[0-9a-f]{32}\n$", "the generation")
    home.ramet("rm", "-f", "s", *names, "aa-1", "aa-2")
    home.check_no_leftovers()


def test_ssh_keys(home):
    """A clone of an image with host keys has a new one, made by the host, and none of its source's: no program of the
    guest is needed for it."""
    home.ramet("run", "-d", "--name", "s", "busybox")
    home.ramet("exec", "s", "--", "sh", "-c", "mkdir -p /etc/ssh && cd /etc/ssh && "
               "for t in rsa ed25519; do echo old >ssh_host_${t}_key; echo old >ssh_host_${t}_key.pub; done")
    found = set()
    for name in fork(home, "s", "k"):
        listed = home.ramet("exec", name, "--", "sh", "-c", "cd /etc/ssh && stat -c '%a %n' ssh_host_* && cat *.pub").out
        expect_equal(listed.splitlines()[:-1], ["600 ssh_host_ed25519_key", "644 ssh_host_ed25519_key.pub"], "host keys")
        harness.expect_match(listed.splitlines()[-1], rf"^ssh-ed25519 \S+ root@{name}$", "the public key")
        found.add(listed.splitlines()[-1])
        if shutil.which("ssh-keygen"):
            path = os.path.join(home.folder, name)
            home.ramet("cp", f"{name}:/etc/ssh/ssh_host_ed25519_key", path)
            read = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout
            expect_equal(read.strip(), listed.splitlines()[-1], "what ssh-keygen makes of the private key")
    expect_equal(len(found), 2, "different keys")
    home.ramet("rm", "-f", "s", "k-1", "k-2")
    home.check_no_leftovers()


def test_wait_for(home):
    """Ready, and then a command that has to succeed: run, create with start, fork; a bound, with what was said last."""
    script = "[ -e /run/there ] || { touch /run/there; echo not yet; exit 3; }"
    home.ramet("run", "-d", "--name", "w", "--wait-for", script, "busybox")
    home.ramet("exec", "w", "ls", "/run/there")
    failed = home.ramet("fork", "w", "--name", "f", "--wait-for", "echo no luck; exit 3", "--wait-timeout", "8", status=5)
    expect("no luck" in failed.err and "exit status 3" in failed.err and "f runs" in failed.err, failed.err)
    expect_equal(home.vm("f")["state"], "running", "what was waited for in vain runs on")
    failed = home.ramet("fork", "w", "--name", "g", "--wait-for", "echo on; sleep 1000", "--wait-timeout", "8", status=5)
    expect("did not end within 8 s" in failed.err and "on" in failed.err, failed.err)
    home.ramet("run", "--rm", "--wait-for", "exit 1", "--wait-timeout", "1", "--name", "r", "busybox", "--", "true",
               status=125)
    home.ramet("inspect", "r", status=3)
    home.ramet("create", "--name", "c", "--wait-for", script, "busybox")
    home.ramet("start", "c")
    home.ramet("exec", "c", "ls", "/run/there")
    home.ramet("rm", "-f", "w", "f", "g", "c")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main(harness.BOOTED)
