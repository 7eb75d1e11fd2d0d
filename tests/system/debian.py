#!/usr/bin/env python3
"""Debian with systemd: the agent comes through /run, the system gets to `running`, stop keeps what was written, the
base stays as it was, and a disk grows and shrinks with what is in it."""
import contextlib
import fcntl
import hashlib
import os
import pty
import shutil
import subprocess
import threading

import harness
import resets
from harness import expect, expect_equal, expect_match

IMAGE = "deb"
PACKAGES = "redis-server,openssh-server"  # of all tests with a Debian: making one takes a minute
WRITTEN = 200 << 20


DEBIAN = harness.TEMPLATE + "-deb"


def build_image(home):
    """In a home of its own, so that it is built once for each build folder, by whichever test needs it first, and
    nobody who copies the template sees it half built; its boot cache has it, as that of the template does busybox."""
    with open(DEBIAN + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(DEBIAN):
            harness.copy_home(harness.TEMPLATE, DEBIAN)
        build_once(home, {"RAMET_HOME": DEBIAN})
    home.ramet("daemon", "stop", status=None)
    shutil.rmtree(home.path)
    harness.copy_home(DEBIAN, home.path)


def build_once(home, env):
    built = home.ramet("image", "inspect", IMAGE, status=None, env=env)
    if built.status != 0:
        if not shutil.which("mmdebstrap"):
            raise harness.Skip("mmdebstrap is missing")
        with linking(os.path.join(DEBIAN, "kernels"), os.path.join(home.path, "links")):
            built = home.ramet("image", "build", IMAGE, "--from", "debian", "--include", PACKAGES, status=None,
                               timeout=900, env=env)
        if built.status == 0:
            home.ramet("run", "--rm", IMAGE, "--", "true", timeout=900, env=env)
    home.ramet("daemon", "stop", status=None, env=env)
    if built.status != 0:
        if "resolve" in built.err or "fetch" in built.err:
            raise harness.Skip("Debian's mirror cannot be reached: " + built.err.strip().splitlines()[-1])
        raise harness.Failure(built.err)


@contextlib.contextmanager
def linking(source, target):
    """Every file below source gets another name now and then, as when a home is copied with links. tar takes that for a
    change of the file."""
    ended = threading.Event()

    def sweep():
        while not ended.wait(1):
            shutil.copytree(source, target, copy_function=lambda old, new, **_: os.link(old, new))
            shutil.rmtree(target)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else whole(file)


def whole(file):
    found = hashlib.sha256()
    while chunk := file.read(1 << 20):
        found.update(chunk)
    return found.hexdigest()


def inside(home, script, name="d1", **options):
    return home.ramet("exec", name, "--", "sh", "-c", script, **options).out


def check_services(home):
    state = home.ramet("exec", "d1", "--", "systemctl", "is-system-running", "--wait", status=None).out.strip()
    failed = inside(home, "systemctl list-units --failed --plain --no-legend")
    expect_equal((state, failed), ("running", ""), "state of the system and its failed units")
    expect_equal(inside(home, "redis-cli PING"), "PONG\n")
    expect_equal(inside(home, "modprobe overlay && grep -c ^overlay /proc/modules"), "1\n", "the module overlay")
    expect_equal(inside(home, "cat /proc/1/comm"), "systemd\n", "PID 1")
    expect_equal(inside(home, "systemctl is-active ramet-agent"), "active\n", "the agent's unit")


def check_identity(home, vm):
    out = inside(home, "hostname; cat /etc/hostname /etc/machine-id; ip -4 -o addr show eth0; ip route").splitlines()
    expect_equal(out[:2], ["d1", "d1"], "hostname")
    expect_match(out[2], r"^[0-9a-f]{32}$", "machine-id")
    expect(any(f"inet {vm['ip']}/" in line for line in out), f"{vm['ip']} is not on eth0: {out}")
    expect(any("default via" in line for line in out), f"no default route: {out}")
    bound = inside(home, "findmnt -n -o FSTYPE,OPTIONS /")
    expect_match(bound, r"^ext4 .*\bdiscard\b", "mount of the root disk")


def check_copies(home):
    source = os.path.join(home.folder, "source")
    os.makedirs(os.path.join(source, "sub"))
    with open(os.path.join(source, "sub", "file"), "wb") as file:
        file.write(os.urandom(300000))
    home.ramet("cp", source, "d1:/srv")
    home.ramet("cp", "d1:/srv/source", os.path.join(home.folder, "back"))
    subprocess.run(["diff", "-r", source, os.path.join(home.folder, "back")], check=True)


def check_terminal(home):
    master, slave = pty.openpty()
    shell = subprocess.Popen([harness.RAMET, "shell", "d1"], stdin=slave, stdout=slave, stderr=slave, env=home.env,
                             start_new_session=True)
    os.close(slave)
    os.write(master, b"echo on-$(tty)-$((40+2)); exit 5\n")
    out = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while chunk := os.read(master, 4096):
            out += chunk
    expect_equal(shell.wait(harness.BOUND), 5, f"exit status of the shell ({out!r})")
    expect_match(out.decode(errors="replace"), r"on-/dev/pts/\d+-42", "the shell's output")
    os.close(master)


def allocated(path):
    return os.stat(path).st_blocks * 512


def check_disk_shrinks(home, vm):
    path = vm["disk"]["path"]
    inside(home, f"head -c {WRITTEN} /dev/urandom >/var/big && sync")
    full = allocated(path)
    expect(full >= WRITTEN, f"{full} bytes allocated after {WRITTEN} were written")
    inside(home, "rm /var/big && sync && fstrim /")
    empty = allocated(path)
    expect(empty < full - WRITTEN * 9 // 10, f"{empty} bytes allocated after the file of {WRITTEN} went, {full} before")


def await_next_agent(home):
    harness.wait_until(lambda: home.ramet("exec", "d1", "--", "true", status=None).status == 0, "the next agent's answer")


def check_agent_killed_while_frozen(home):
    """The next agent thaws what the one before it froze and had noted, and nothing else: here /run/ramet/frozen says that
    the agent froze the root. (One shell: nothing can be loaded from the disk after.)"""
    home.ramet("exec", "d1", "--", "sh", "-c",
               "agent=$(systemctl show -p MainPID --value ramet-agent); set -- $(stat -c '%Hd %Ld' /); "
               "printf $(printf '\\\\%03o\\\\0\\\\0\\\\0\\\\%03o\\\\0\\\\0\\\\0' $1 $2) | "
               "dd of=/run/ramet/frozen conv=notrunc status=none; fsfreeze -f /; kill -9 $agent", status=None)
    await_next_agent(home)
    expect_equal(inside(home, "touch /root/thawed && systemctl show -p NRestarts --value ramet-agent"), "1\n",
                 "restarts of the agent")
    inside(home, "rm /root/thawed")
    out = home.ramet("fork", "d1", "--name", "after", "--", "sh", "-c", "hostname; ip -4 addr show eth0").out
    expect(out.startswith("after\n") and "inet " in out, f"a clone of a VM whose agent was started anew: {out}")
    home.ramet("rm", "-f", "after")
    # as if it were killed amid a fork, which had lifted the limit on real-time programs and noted what it was
    limit = inside(home, "cat /proc/sys/kernel/sched_rt_runtime_us")
    home.ramet("exec", "d1", "--", "sh", "-c",
               f"agent=$(systemctl show -p MainPID --value ramet-agent); echo {limit.strip()} | "
               "dd of=/run/ramet/rt-limit conv=notrunc status=none; echo -1 >/proc/sys/kernel/sched_rt_runtime_us; "
               "kill -9 $agent", status=None)
    await_next_agent(home)
    expect_equal(inside(home, "cat /proc/sys/kernel/sched_rt_runtime_us"), limit, "the limit after the agent was killed")


EAT = "exec tail /dev/zero"  # which keeps it all, waiting for a newline


def check_out_of_memory(home):
    """The command that the kernel ends has its status; other sessions and the agent do not notice."""
    bystander = home.start("exec", "-i", "d1", "--", "cat", stdin=subprocess.PIPE)
    expect_equal(home.ramet("exec", "d1", "--", "sh", "-c", EAT, status=None).status, 137,
                 "status of the command that took all memory")
    out, _ = bystander.communicate(b"still here", timeout=harness.BOUND)
    expect_equal((out, bystander.returncode), (b"still here", 0), "the other session")
    expect_equal(inside(home, "cat /proc/self/oom_score_adj"), "0\n", "a command's oom_score_adj")
    expect_equal(inside(home, "systemctl is-active ramet-agent; systemctl show -p NRestarts --value ramet-agent"),
                 "active\n0\n", "the agent's unit after a command was out of memory")


def check_systemd_leaves_sessions(home):
    """What systemd does to units, or is told to do, ends neither the agent nor what runs by it."""
    session = home.start("exec", "-i", "d1", "--", "cat", stdin=subprocess.PIPE)
    for command in ("daemon-reload", "daemon-reexec", "isolate emergency.target", "isolate rescue.target",
                    "isolate multi-user.target"):
        home.ramet("exec", "d1", "--", "sh", "-c", f"systemctl --no-block {command}; systemctl is-system-running --wait",
                   status=None)
        expect_equal(inside(home, "echo up"), "up\n", f"a command after systemctl {command}")
    expect(home.ramet("exec", "d1", "--", "systemctl", "stop", "ramet-agent", status=None).status not in (0, 125),
           "systemctl stop of the agent's unit is not refused")
    out, _ = session.communicate(b"through all", timeout=harness.BOUND)
    expect_equal((out, session.returncode), (b"through all", 0), "a session that was there before")


def check_stop(home):
    inside(home, "redis-cli SET kept yes; for i in $(seq 500); do echo $i >/root/$i; done; echo here >/root/last")
    home.ramet("stop", "d1")
    expect_equal(home.vm("d1")["state"], "stopped")
    home.ramet("start", "d1")
    expect_equal(inside(home, "ls /root | wc -l; cat /root/500 /root/last"), "501\n500\nhere\n", "files after a stop")
    home.ramet("exec", "d1", "--", "systemctl", "is-system-running", "--wait", status=None)
    expect_equal(inside(home, "redis-cli GET kept"), "yes\n", "what redis saved when it was stopped")
    out = inside(home, "dmesg | grep -i -e 'EXT4-fs.*recover' -e 'orphan' || true")
    expect_equal(out, "", "recovery at the mount after an orderly stop")


def check_reset_of_a_clone(home):
    """systemd's own reboot of a clone: it comes back by itself, cold, as itself and with what it had written."""
    home.ramet("fork", "d1", "--name", "r1")
    inside(home, "echo kept >/root/reset", "r1")
    since = resets.last_event(home)
    home.ramet("exec", "r1", "systemctl", "reboot")
    ended = harness.wait_until(lambda: resets.end_of(home, "r1", since), "the end of r1 after systemctl reboot")
    expect_equal(ended, "reboot", "how r1 ended")
    resets.check_restart(home, "r1")
    state = home.ramet("exec", "r1", "--", "systemctl", "is-system-running", "--wait", status=None).out
    expect_equal(state, "running\n", "state of the system after its reset")
    expect_equal(inside(home, "cat /root/reset", "r1"), "kept\n", "the clone's own file after its reset")
    home.ramet("rm", "-f", "r1")


def check_power_off(home):
    """The guest's own poweroff says nothing alarming: logind is not started with the system, but when it is asked."""
    expect_equal(inside(home, "hostname -f"), "d1\n", "the guest's full name")
    expect_equal(inside(home, "systemctl show -p ActiveState --value systemd-logind"), "inactive\n", "logind after the start")
    result = home.ramet("exec", "d1", "poweroff")
    expect_equal((result.out, result.err), ("", ""), "what poweroff says")
    home.ramet("wait", "d1")


def test_debian(home):
    build_image(home)
    image = home.json("image", "inspect", IMAGE)
    before = digest(image["path"])
    vm = home.ramet("run", "-d", "--json", "--name", "d1", "--disk", "6G", IMAGE, timeout=600).json()
    size = int(inside(home, "df -B1 --output=size / | tail -1"))
    expect(size > 5.5 * (1 << 30), f"the file system has {size} bytes on a disk of 6 GiB")
    check_services(home)
    check_identity(home, vm)
    check_copies(home)
    check_terminal(home)
    check_disk_shrinks(home, vm)
    check_out_of_memory(home)
    check_systemd_leaves_sessions(home)
    check_reset_of_a_clone(home)
    check_agent_killed_while_frozen(home)
    check_stop(home)
    check_power_off(home)
    home.ramet("rm", "-f", "d1")
    expect_equal(digest(image["path"]), before, "the base's SHA-256")
    expect_equal(image["digest"], harness.tree_digest(image["path"]), "the base's name")
    home.check_no_leftovers()


def make_repository(folder):
    """A repository of one package, as apt takes it from a folder."""
    package = os.path.join(folder, "package")
    for name, text in (("DEBIAN/control", "Package: ramet-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
                                          "Description: a word\n"),
                       ("usr/share/ramet-hello/word", "hello\n")):
        path = os.path.join(package, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    repository = os.path.join(folder, "repository")
    os.makedirs(repository)
    deb = os.path.join(repository, "ramet-hello_1.0_all.deb")
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", package, deb], check=True, capture_output=True)
    with open(deb, "rb") as file:
        data = file.read()
    with open(os.path.join(package, "DEBIAN/control"), encoding="utf-8") as file:
        control = file.read()
    with open(os.path.join(repository, "Packages"), "w", encoding="utf-8") as file:
        file.write(f"{control}Filename: ./ramet-hello_1.0_all.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")


def test_recipe(home):
    """A package from a repository that a step brought, and a service of it beside systemd, found running by the image's VMs."""
    build_image(home)
    make_repository(home.folder)
    recipe = os.path.join(home.folder, "recipe.yaml")
    with open(recipe, "w", encoding="utf-8") as file:
        file.write(f"""base: {IMAGE}
network: none
steps:
  - copy: repository
    to: /srv/
  - run: |
      rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
      echo 'deb [trusted=yes] file:/srv/repository ./' > /etc/apt/sources.list
  - packages: [ramet-hello]
entrypoint: [redis-server, --port, "7000"]
snapshot-after: redis-cli -p 7000 ping
""")
    image = home.json("image", "build", "hello", "-f", recipe, timeout=900)
    expect_equal([step["cached"] for step in image["steps"]], [False, False, False])
    expect_equal(home.ramet("run", "-d", "--name", "a", "hello", timeout=900).out, "a\n")
    expect_equal(home.vm("a")["boot"], "forked")
    expect_equal(home.ramet("exec", "a", "--", "cat", "/usr/share/ramet-hello/word").out, "hello\n")
    expect_equal(home.ramet("exec", "a", "--", "redis-cli", "-p", "7000", "ping").out, "PONG\n")
    expect_match(home.ramet("exec", "a", "--", "cat", "/proc/1/comm").out, "systemd")


if __name__ == "__main__":
    harness.main()
