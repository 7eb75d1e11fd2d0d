#!/usr/bin/env python3
"""kill -9 of the daemon, and of the CLI, in the middle of each long operation: nothing half made stays, and the next try succeeds."""
import contextlib
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))
import harness  # noqa: E402
import no_room  # noqa: E402
from harness import expect, expect_equal, wait_until  # noqa: E402

TRIES = 5  # one that was over before it was struck is tried again


def traces(home, out):
    """What changes as soon as something is made."""
    found = []
    for folder in [f"{home.path}/{name}" for name in ("tmp", "images", "seeds", "volumes", "snapshots", "layers", "oci/sha256")] + [out]:
        if os.path.isdir(folder):
            found += [f"{folder}/{name}" for name in os.listdir(folder)]
    return sorted(found)


def has_written(process):
    """A client that writes a file has it open without a name until it is whole."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{process.pid}/io", encoding="utf-8") as file:
            return int(file.read().split("wchar: ")[1].split()[0]) > 1 << 20
    return True


def strike(home, out, words, victim):
    """Whether it was in the middle: it began, and did not come to its end. victim: "daemon" or "client"."""
    daemon = home.daemon_pid()
    before = traces(home, out)
    process = home.start(*words)
    end = time.monotonic() + harness.BOUND
    while process.poll() is None and traces(home, out) == before and not has_written(process):
        expect(time.monotonic() < end, f"{words[:2]} did not begin")
    if victim == "daemon":
        home.end_daemon(daemon)
    else:
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=harness.BOUND)
    return process.returncode != 0


def is_made(home, out, away):
    if away[0] == "-":
        return away[1] in os.listdir(out)
    return away[2] in [one["name"] for one in home.json(away[0], "ls")]


def settle(home, out, before, away):
    """Without scratch; either nothing of it is there, or all of it, which was not told any more. True: nothing."""
    def settled():
        now = no_room.state(home, out)
        made = is_made(home, out, away)
        return [not made] if now == before or made and not now[1]["tmp"] else None
    return wait_until(settled, f"nothing or all of what {away} takes away")[0]


def undo(home, out, what):
    """What was made is away again."""
    if what[0] == "-":
        os.unlink(f"{out}/{what[1]}")
    else:
        home.ramet(*what)


def kill(home, out, words, away, victim):
    """Returns whether it was struck in the middle."""
    before = no_room.state(home, out)
    for _ in range(TRIES):
        struck = strike(home, out, words, victim)
        nothing = settle(home, out, before, away)
        if struck and nothing:
            break
        if not nothing:
            undo(home, out, away)
        wait_until(lambda: no_room.state(home, out) == before, f"{away} to take it away")
    home.ramet(*words)
    return struck and nothing


def makers(home, out):
    """no_room's, and what takes each away again, since it is made twice."""
    away = {"seed create": ["seed", "rm", "s"], "volume create v": ["volume", "rm", "v"], "volume export": ["-", "v.raw"],
            "snapshot create": ["snapshot", "rm", "shot"], "snapshot export": ["-", "shot.ramet"],
            "commit": ["image", "rm", "committed"], "image export": ["-", "committed.ramet"]}
    for words, after in no_room.makers(home, out):
        name, = [key for key in away if " ".join(words).startswith(key)] or [None]
        yield words, away[name] if name else after, after


def test_each(home):
    """In the order in which one is made of the other; each is struck twice."""
    no_room.make_inputs(home)
    out = f"{home.folder}/out"
    os.mkdir(out)
    missed = []
    for name in ("a", "b"):
        home.ramet("run", "-d", "--disk", "1G", "--name", name, "busybox")
        home.ramet("exec", name, "--", "sh", "-c", no_room.WRITE_NOISE + "; sync")
    home.ramet("stop", "b")
    for words, away, after in makers(home, out):
        for name in ("shot", "committed"):
            if f"{home.folder}/{name}.ramet" in words:
                os.rename(f"{out}/{name}.ramet", f"{home.folder}/{name}.ramet")
        for victim in ("daemon", "client"):
            struck = kill(home, out, words, away, victim)
            missed += [] if struck else [f"{' '.join(words[:2])}: {victim}"]
            if victim == "daemon":
                undo(home, out, away)
        if after:
            home.ramet(*after)
    expect(len(missed) < 9, f"over before they were struck: {missed}")
    expect_equal(home.ramet("exec", "a", "hostname").out, "a\n", "the VM whose snapshots were struck")
    home.ramet("rm", "-f", "a", "b")
    strike(home, out, ["prune", "--all"], "daemon")
    home.ramet("prune", "--all")
    expect_equal([os.listdir(f"{home.path}/{name}") for name in ("layers", "snapshots", "seeds")], [[], [], []], "after prune")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main(harness.BOOTED)
