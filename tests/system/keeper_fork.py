#!/usr/bin/env python3
"""Snapshots and forks with a real QEMU and the real agent, asked of ramet-keeper directly."""
import hashlib
import os
import threading
import time

import harness
from keeper_driver import capture_memfd, KeeperError, World, sha256

MIB = 1 << 20


def check(condition, what):
    if not condition:
        raise harness.Failure(what)


def digest_fd(fd):
    digest, pos = hashlib.sha256(), 0
    while chunk := os.pread(fd, MIB, pos):
        digest.update(chunk)
        pos += len(chunk)
    return digest.hexdigest()


def facts(vm):
    """What must differ between clones; the random bytes are drawn first."""
    text = vm.sh("head -c 16 /dev/urandom | od -An -tx1; cat /etc/machine-id /proc/sys/kernel/random/boot_id; hostname; "
                 "cat /sys/class/net/eth0/address; date +%s.%N")
    return text.split("\n")


def off_by(vm):
    before = time.time()
    guest = float(vm.sh("date +%s.%N").replace(".%N", "").strip())
    after = time.time()
    return max(before - 1 - guest, guest - after, 0)  # busybox's date may know whole seconds only


def source(world):
    vm = world.vm()
    vm.boot()
    vm.sh("echo secret >/run/secret; echo one >/root/disk; sync")
    return vm


def test_forks_of_a_running_vm(home):
    with World(home) as world:
        vm = source(world)
        writer = threading.Thread(target=vm.sh, args=("for i in $(seq 200); do echo $i >>/root/log; sync; done",))
        writer.start()
        snapshot = vm.snapshot()
        writer.join()
        check(snapshot.told["kind"] == "full" and snapshot.told["frozen"], "a first snapshot is a frozen base")
        layer, memory = snapshot.chain[0][0], digest_fd(snapshot.base)
        disk, inode = sha256(layer), os.fstat(snapshot.base).st_ino
        check(vm.sh("wc -l </root/log") == "200", "the source lost writes")
        vm.sh("echo later >/root/later; sync")
        forks = [snapshot.fork() for _ in range(3)]
        told = [facts(fork) for fork in forks]
        for row in zip(*[[*t[:5]] for t in told]):
            check(len(set(row)) == 3, f"clones are not distinct: {row}")
        for i, fork in enumerate(forks):
            check(off_by(fork) < 1, "a clone's clock is off")
            check(fork.sh("cat /run/secret /root/disk") == "secret\none", "a clone lost its memory or disk")
            check(fork.sh("ls /root/later 2>/dev/null || echo none") == "none", "a clone sees its source's later writes")
            fork.sh(f"echo {i} >/root/own; head -c 3000000 /dev/urandom >/run/own; sync")
        child_snapshot = forks[0].snapshot()
        check(child_snapshot.told["kind"] == "diff", "a fork's snapshot is a diff")
        limit = child_snapshot.told["dirty_bytes"] + 64 * 1024
        check(os.path.getsize(child_snapshot.memory) <= limit, "the diff is larger than its pages")
        child = child_snapshot.fork()
        check(child.sh("md5sum /run/own") == forks[0].sh("md5sum /run/own"), "a fork of a fork differs from it")
        check(child.sh("cat /root/own") == "0", "a fork of a fork has another disk")
        grandchild = child.snapshot().fork()
        check(grandchild.sh("md5sum /run/own") == child.sh("md5sum /run/own"), "the third generation differs")
        check(child.status()["boot"] == "restored", "a fork says how it came up")
        for fork in forks + [child, grandchild]:
            fork.close()
        check(digest_fd(snapshot.base) == memory and os.fstat(snapshot.base).st_ino == inode, "the memory base changed")
        check(sha256(layer) == disk, "the parent's layer changed")
        check(vm.sh("cat /root/later") == "later", "the source is not alive")


def test_snapshots_one_after_another(home):
    with World(home, network="none") as world:
        vm = source(world)
        for i in range(3):
            vm.sh(f"echo {i} >/root/round; sync")
            snapshot = vm.snapshot()
        check(vm.status()["snapshots"] == 3, "three snapshots were taken")
        check(snapshot.fork().sh("cat /root/round") == "2", "the last snapshot is not the last")
        check(len(vm.chain) == 5, "every snapshot froze a layer")


def test_standby_keeps_the_identity(home):
    with World(home) as world:
        vm = source(world)
        before = facts(vm)
        snapshot = vm.snapshot(disks=False, stay_paused=True)
        check(vm.status()["state"] == "paused", "a standby is held")
        vm.call({"op": "resume"})
        check(vm.sh("cat /run/secret") == "secret", "a resume undoes a standby")
        vm.sh("echo more >>/root/disk; sync")
        snapshot = vm.snapshot(disks=False, stay_paused=True)
        vm.close()
        again = snapshot.begin()
        again.chain = vm.chain
        again.number = vm.number  # a VM keeps its MAC
        again.restore(snapshot, clone=False)
        after = facts(again)
        for what, then, now in zip(("machine-id", "boot id", "hostname", "MAC"), before[1:5], after[1:5]):
            check(then == now, f"a resume keeps who it is: {what} was {then}, is {now}")
        check(before[0] != after[0], "a resume gets new random numbers")
        check(again.sh("cat /root/disk") == "one\nmore", "a resume goes on with its disk")


def test_warm_clones_are_claimed(home):
    with World(home) as world:
        snapshot = source(world).snapshot()
        warm = snapshot.begin()
        warm.restore(snapshot, start_paused=True)
        check(warm.ok["state"] == "warm" and warm.status()["state"] == "warm", "it waits")
        try:
            warm.sh("true")
        except KeeperError:
            pass
        else:
            raise harness.Failure("a warm VM executes commands")
        ok = warm.call({"op": "claim", "identity": warm.identity(), "name": "claimed"})
        check(ok["boot"] == "claimed" and ok["state"] == "running", "a claim makes it run")
        check(warm.sh("hostname; cat /run/secret") == f"{warm.name}\nsecret", "a claim gives an identity")
        other = snapshot.begin()
        other.restore(snapshot, start_paused=True)
        check(other.call({"op": "kill"}) is not None, "a warm VM can be ended")


def test_greeted_by_mailbox_or_port(home):
    with World(home) as world:
        snapshot = source(world).snapshot()
        mailbox = snapshot.told["mailbox"]
        check(mailbox > 0 and mailbox % 4096 == 0, f"the agent has no mailbox: {mailbox}")
        said = "mailbox is not where it was"
        for where in (mailbox, 0, mailbox ^ 4096, (1 << 62) + 4096):
            vm = snapshot.begin()
            vm.restore(snapshot, mailbox=where)
            check(vm.sh("hostname; cat /run/secret") == f"{vm.name}\nsecret", f"no clone with a mailbox at {where}")
            log = vm.log()
            check((said in log) == (where not in (0, mailbox)), f"a mailbox at {where}: {log}")
            vm.close()


def fails(vm, snapshot, word, **more):
    try:
        vm.restore(snapshot, **more)
    except KeeperError as error:
        check(word in str(error), f"the error does not tell: {error}")
        vm.process.wait(harness.BOUND)
        return
    raise harness.Failure(f"a damaged snapshot was restored ({word})")


def test_damaged_snapshots_are_refused(home):
    with World(home, network="none") as world:
        fork = source(world).snapshot().fork()
        fork.sh("head -c 2000000 /dev/urandom >/run/own")
        snapshot = fork.snapshot()
        with open(snapshot.state, "rb") as file:
            state = file.read()
        with open(snapshot.state, "wb") as file:
            file.write(state[:-3000])
        fails(snapshot.begin(), snapshot, "device state")
        with open(snapshot.state, "wb") as file:
            file.write(state)
        fails(snapshot.begin(), snapshot, "not restored", ram_nonce="00" * 16)
        fails(snapshot.begin(), snapshot, "not restored", counter=snapshot.told["counter"] + 5)
        os.truncate(snapshot.memory, os.path.getsize(snapshot.memory) - 4096)
        fails(snapshot.begin(), snapshot, "cut")


def test_bad_requests_leave_the_vm_running(home):
    with World(home, network="none") as world:
        vm = source(world)
        chain = list(vm.chain)
        bad = os.path.join(world.folder, "bad")
        with open(bad, "wb") as file:
            file.write(b"no qcow2" * 1000)
        fds = [os.open(os.path.join(world.folder, n), os.O_CREAT | f, 0o600) for n, f in
               (("state", os.O_WRONLY), ("memory", os.O_RDWR))]
        fds += [capture_memfd(world.memory), os.open(bad, os.O_RDONLY), os.open(bad, os.O_RDWR)]
        request = {"op": "snapshot", "state_fd": 0, "memory_fd": 1, "capture_fd": 2, "disks": [{"fd": 3, "fd_write": 4}]}
        for wrong in ({"disks": [{"fd": 3, "fd_write": 9}]}, {"state_fd": 1, "memory_fd": 0}, {"memory_fd": 0},
                      {"capture_fd": 0}, {}):
            try:
                vm.call({**request, **wrong}, fds)
                raise harness.Failure(f"a bad request was taken: {wrong}")
            except KeeperError:
                pass
            check(vm.status()["state"] == "running", "the VM does not run on")
            check(vm.sh("echo again >>/root/disk; sync; tail -1 /root/disk") == "again", "the disks stay frozen")
        for fd in fds:
            os.close(fd)
        check(vm.chain == chain, "the disks were switched")
        check(vm.snapshot().fork().sh("cat /run/secret") == "secret", "no snapshot after a failed one")


if __name__ == "__main__":
    harness.main()
