#!/usr/bin/env python3
"""create, start, stop, restart, kill, rm, ps, wait, logs, stages, events: the states that a VM goes through."""
import datetime
import json
import os
import re
import subprocess
import threading
import time

import harness
from harness import expect, expect_equal, expect_match, is_alive, wait_until


def test_states_and_disk_survive_a_stop(home):
    home.ramet("create", "--name", "a", "busybox")
    expect_equal(home.vm("a")["state"], "created")
    home.ramet("start", "a")
    expect_equal(home.vm("a")["state"], "running")
    home.ramet("start", "a", status=4)
    home.ramet("exec", "a", "--", "sh", "-c", "echo kept >/root/file")
    pid = home.vm("a")["qemu_pid"]
    home.ramet("stop", "a")
    expect(not is_alive(pid), "QEMU lives after stop")
    expect_equal(home.vm("a")["state"], "stopped")
    expect_equal([vm["name"] for vm in home.json("ps")], [], "running VMs")
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["a"], "all VMs")
    mac = home.vm("a")["mac"]
    home.ramet("restart", "a", status=None)
    if home.vm("a")["state"] != "running":
        home.ramet("start", "a")
    expect_equal(home.ramet("exec", "a", "cat", "/root/file").out, "kept\n", "the file after a stop")
    expect_equal(home.vm("a")["mac"], mac, "MAC address after a stop")
    home.ramet("kill", "a")
    expect_equal(home.vm("a")["state"], "stopped")
    home.ramet("kill", "a", status=4)
    home.ramet("rm", "a")
    home.check_no_leftovers()


def test_refusals_say_what_to_do(home):
    """Each error object has a hint, and one for a VM's state names the verb that takes it out of it."""
    def refusal(*words, status=4):
        return home.json(*words, status=status)["error"]
    home.ramet("create", "--name", "a", "busybox")
    for verb in ("kill", "standby", "resume", "pause"):
        expect_match(refusal(verb, "a")["hint"], "ramet start a", f"hint of {verb} of one that was created")
    refused = home.ramet("exec", "--json", "a", "--", "true", status=125).json()
    expect_match(refused["error"]["hint"], "ramet start a", "hint of exec")
    home.ramet("start", "a")
    expect_match(refusal("start", "a")["hint"], "ramet restart a", "hint of a start of one that runs")
    expect_match(refusal("unpause", "a")["hint"], "ramet stop a", "hint of an unpause of one that runs")
    home.ramet("pause", "a")
    for verb in ("pause", "start"):
        expect_match(refusal(verb, "a")["hint"], "ramet unpause a", f"hint of {verb} of one that is paused")
    home.ramet("standby", "a")
    expect_match(refusal("standby", "a")["hint"], "ramet resume a", "hint of a standby of one in standby")
    expect_equal(refusal("update", "a", status=2)["hint"], "", "where nothing can be said")
    home.ramet("rm", "-f", "a")


def test_clock_after_a_pause(home):
    """The guest's clocks stand still in it; its wall clock is right again before the next command runs."""
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("pause", "a")
    time.sleep(5)  # that is what is tested: how late it would be
    home.ramet("unpause", "a")
    before = time.time()
    shown = home.ramet("exec", "a", "adjtimex").out
    after = time.time()
    seconds, microseconds = (int(re.search(rf"time\.{part}: +(\d+)", shown)[1]) for part in ("tv_sec", "tv_usec"))
    guest = seconds + microseconds / 1e6
    expect(before - 1 < guest < after + 1, f"its clock shows {guest:.3f} between {before:.3f} and {after:.3f}")
    home.ramet("rm", "-f", "a")


def test_clock_of_the_host_jumps(home):
    """As after the host slept: its guests' clocks stood still meanwhile, and are told what time it is. The host's clock is
    set to what it shows, which the kernel tells like any other jump."""
    def is_late():
        return time.time() - int(home.ramet("exec", "a", "date", "+%s").out) > 1000
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("exec", "a", "date", "-s", "@1700000000")
    expect(is_late(), "the guest's clock was not set")
    try:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
    except PermissionError:
        raise harness.Skip("may not set the clock") from None
    wait_until(lambda: not is_late(), "the guest to be told the time")
    home.ramet("rm", "-f", "a")


def test_power_off_from_inside(home):
    home.ramet("run", "-d", "--name", "b", "busybox")
    waiter = home.start("wait", "b")
    home.ramet("exec", "b", "--", "sh", "-c", "poweroff -f || reboot -f", status=None)
    waiter.communicate(timeout=harness.BOUND)
    expect_equal(home.vm("b")["state"], "stopped")
    home.ramet("rm", "b")


def test_logs_and_stages(home):
    home.ramet("run", "-d", "--name", "c", "busybox")
    home.ramet("exec", "c", "--", "sh", "-c", "echo marker-on-console >/dev/console")
    wait_until(lambda: "marker-on-console" in home.ramet("logs", "c").out, "the line in the console log")
    expect_equal(len(home.ramet("logs", "--tail", "1", "c").out.splitlines()), 1, "lines of --tail 1")
    follower = home.start("logs", "-f", "c")
    home.ramet("exec", "c", "--", "sh", "-c", "echo second-marker >/dev/console")
    for line in follower.stdout:
        if b"second-marker" in line:
            break
    home.ramet("rm", "-f", "c")
    follower.communicate(timeout=harness.BOUND)


def say(home, vm, text):
    """Has the guest print a line on its console; returns once it stands in the log."""
    home.ramet("exec", vm, "--", "sh", "-c", f"echo {text} >/dev/console")
    wait_until(lambda: text in home.ramet("logs", vm).out, f"{text} in the log of {vm}")


def now_after_the_last_mark():
    time.sleep(0.05)  # lines that come within 10 ms have one time
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def vm_file(home, vm, name):
    return os.path.join(home.path, "vms", home.vm(vm)["id"], name)


def test_logs_since(home):
    home.ramet("run", "-d", "--name", "e", "busybox")
    say(home, "e", "said-before")
    moment = now_after_the_last_mark()
    say(home, "e", "said-after")
    found = home.ramet("logs", "--since", moment, "e")
    expect("said-after" in found.out and "said-before" not in found.out, f"since {moment}: {found.out!r}")
    expect_equal(found.err, "", "notes where the times are known")
    expect("said-before" in home.ramet("logs", "--since", "10m", "e").out, "the whole log of ten minutes")
    expect_equal(home.ramet("logs", "--since", "2999-01-01T00:00:00Z", "e").out, "", "the log of the future")
    expect_equal(home.json("logs", "--since", moment, "e")["log"], found.out, "the same as JSON")
    for bad in ("yesterday", "10", "-1m", "2026-11-20"):
        message = home.ramet("logs", "--since", bad, "e", status=2).err
        expect("1h30m" in message and "RFC 3339" in message, f"--since {bad}: {message}")
    os.unlink(vm_file(home, "e", "console.times"))  # as an older version left it
    found = home.ramet("logs", "--since", moment, "e")
    expect("said-before" in found.out and "not noted" in found.err, f"a log without times: {found}")
    home.ramet("rm", "-f", "e")


def read_until(stream, wanted):
    """Reads lines until each of the wanted ones came."""
    missing = set(wanted)
    for line in stream:
        missing.discard(line.decode().rstrip())
        if not missing:
            return
    raise AssertionError(f"the end came before {missing}")


def test_logs_of_several(home):
    home.ramet("run", "-d", "--name", "log1", "busybox")
    home.ramet("fork", "-n", "1", "--name", "log2", "log1")
    say(home, "log1", "from-one")
    say(home, "log2", "from-two")
    for operands in (("log1", "log2"), ("log*",), ("log2", home.vm("log1")["id"])):
        lines = home.ramet("logs", *operands).out.splitlines()
        expect("log1 | from-one" in lines and "log2 | from-two" in lines, f"logs of {operands}: {lines}")
        expect(all(line.startswith(("log1 | ", "log2 | ")) for line in lines), f"lines without a name: {lines}")
    documents = home.json("logs", "log*")
    expect_equal(sorted(document["name"] for document in documents), ["log1", "log2"], "names in JSON")
    home.ramet("logs", "nosuch*", status=3)
    found = home.ramet("logs", "log1", "nosuch", status=3)
    expect("log1 | from-one" in found.out and "nosuch" in found.err, f"one of two is missing: {found}")
    follower = home.start("logs", "-f", "--since", now_after_the_last_mark(), "log1", "log2")
    say(home, "log1", "more-one")
    say(home, "log2", "more-two")
    read_until(follower.stdout, ["log1 | more-one", "log2 | more-two"])
    home.ramet("rm", "-f", "log1", "log2", "log*")  # a pattern that fits only what was named before
    follower.communicate(timeout=harness.BOUND)
    expect_equal(follower.returncode, 0, "status of the follower")


def test_trace(home):
    home.ramet("run", "-d", "--name", "d", "busybox")
    stages = home.json("stages", "d")
    harness.check_contiguous(stages["stages"] if isinstance(stages, dict) else stages)
    trace = os.path.join(home.folder, "trace.json")
    home.ramet("stages", "d", "--trace", trace)
    with open(trace, encoding="utf-8") as file:
        document = json.load(file)
    events = document["traceEvents"] if isinstance(document, dict) else document
    complete = [event for event in events if event["ph"] == "X"]
    expect(len(complete) >= 3, f"few events: {events}")
    for event in complete:
        for key in ("name", "ts", "dur", "pid", "tid"):
            expect(key in event, f"{key} is missing in {event}")
    home.ramet("rm", "-f", "d")


def test_events_follow_all_vms(home):
    home.ramet("ps")
    last = max((event["id"] for event in home.json("events", "--no-follow")), default=0)
    follower = home.start("events", "--json", "--since", str(last))  # also what comes before it listens
    seen = []
    lines = threading.Thread(target=lambda: seen.extend(read_until_removed(follower.stdout, "e")))
    lines.start()
    home.ramet("run", "-d", "--name", "e", "busybox")
    home.ramet("rm", "-f", "e")
    lines.join(harness.BOUND)
    follower.kill()
    follower.communicate()
    expect(not lines.is_alive(), f"no removal among the events: {seen}")
    expect(len(seen) >= 3, f"few events: {seen}")


def read_until_removed(stream, name):
    for line in stream:
        event = json.loads(line)
        if name in (event.get("name"), event.get("vm")):
            yield event
            if "remove" in event["type"]:
                return


READ_TIMER_MODE = r"""
#include <stdio.h>
#include <sys/io.h>
int main(void) { /* 8254 data sheet: read-back of counter 0's status, whose bits 1 to 3 are the mode */
    if (ioperm(0x40, 4, 1) < 0)
        return 1;
    outb(0xe2, 0x43);
    printf("%d\n", inb(0x40) >> 1 & 7);
    return 0;
}
"""


def test_timers_are_found(home):
    """In mode 0 it counts down once; after a reset it is in mode 3, for ever, and wakes up QEMU each time."""
    program = os.path.join(home.folder, "mode")
    subprocess.run(["musl-gcc", "-static", "-x", "c", "-", "-o", program], input=READ_TIMER_MODE, text=True, check=True)
    home.ramet("run", "-d", "--cold", "--name", "timer", "busybox")
    home.ramet("cp", program, "timer:/mode")
    expect_equal(home.ramet("exec", "timer", "--", "cat",
                            "/sys/devices/system/clockevents/clockevent0/current_device").out, "lapic\n", "the clock event")
    expect_equal(home.ramet("exec", "timer", "/mode").out, "0\n", "mode of the timer chip")
    expect_equal(home.ramet("exec", "timer", "--", "grep", "-c", "fee00000.*/dev/mem", "/proc/1/maps").out, "1\n",
                 "the agent's mapping of the APIC's timer")
    expect_equal(home.ramet("exec", "timer", "--", "cat", "/proc/sys/vm/compaction_proactiveness").out, "0\n",
                 "what would wake an idle guest twice a second")
    home.ramet("rm", "-f", "timer")


def test_least_memory(home):
    """What is let through boots; what does not boot is refused with the least that does."""
    expect_equal(home.ramet("run", "--rm", "--cold", "-m", "80M", "busybox", "--", "echo", "up").out, "up\n")
    result = home.ramet("create", "-m", "79M", "busybox", status=2)
    expect_match(result.err, r"memory are too few.*80", "the message")
    expect_equal(home.json("ps", "-a"), [], "VMs")


def test_disk_grows_only(home):
    virtual = home.json("image", "inspect", "busybox")["virtual_bytes"]
    home.ramet("run", "-d", "--name", "big", "--disk", "3G", "busybox")
    expect_equal(home.vm("big")["disk"]["virtual_bytes"], 3 << 30)
    blocks = int(home.ramet("exec", "big", "--", "sh", "-c", "df -k / | tail -n 1 | awk '{print $2}'").out)
    expect(blocks > 2.5 * (1 << 20), f"the file system has {blocks} KiB")
    result = home.ramet("create", "--disk", str(max(virtual // 2, 4096)), "busybox", status=None)
    expect(result.status != 0, "a disk smaller than its base was made")
    expect_match(result.err, r"small|grow", "the message")
    home.ramet("rm", "-f", "big")


def test_qemu_img_agrees(home):
    import subprocess
    vm = home.ramet("create", "--json", "--name", "q", "busybox").json()
    check = subprocess.run(["qemu-img", "check", vm["disk"]["path"]], capture_output=True, text=True, check=False)
    expect_equal(check.returncode, 0, f"qemu-img check: {check.stdout}{check.stderr}")
    chain = subprocess.run(["qemu-img", "info", "--backing-chain", "--output=json", vm["disk"]["path"]],
                           capture_output=True, text=True, check=True)
    files = json.loads(chain.stdout)
    expect_equal([item["format"] for item in files], ["qcow2", "raw"], "formats of the chain")
    expect_equal(files[0]["full-backing-filename"], vm["disk"]["backing"], "backing file")
    expect_equal(os.stat(vm["disk"]["backing"]).st_mode & 0o777, 0o444, "mode of the base")
    home.ramet("rm", "q")


def test_image_in_use_is_not_removed(home):
    home.ramet("create", "--name", "user", "busybox")
    home.ramet("image", "rm", "busybox", status=4)
    home.ramet("rm", "user")
    base = home.json("image", "inspect", "busybox")["path"]
    home.ramet("image", "rm", "busybox")
    expect(not os.path.exists(base), "the base is still there")
    home.ramet("image", "inspect", "busybox", status=3)


if __name__ == "__main__":
    harness.main(harness.BOOTED)
