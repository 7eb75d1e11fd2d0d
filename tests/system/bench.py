#!/usr/bin/env python3
"""`ramet bench`: each figure is there and is a number, and what it made is gone afterwards. No speed is asserted."""
import os
import signal

import bare
import harness
from harness import expect, expect_equal, wait_until

LONG = 900  # what boots and forks many VMs, on a busy machine


def rows_of(document):
    expect("failures" not in document, f"what failed: {document.get('failures')}")
    return {row["name"]: row for row in document["rows"]}


def test_prepared_vms(home):
    document = home.ramet("bench", "fork", "--parts", "prepared,live", "--written", "1M", "--rounds", "1", "--json",
                          timeout=LONG).json()
    rows = rows_of(document)
    for name in ("fork: ready", "first fork: ready", "idle clone: private", "snapshot create", "pause"):
        row = rows[f"{name}, 1 MiB written"]
        expect(row["runs"] >= 1 and row["min"] > 0, f"{row}")
        expect(f"{name}, 64 MiB written" not in rows, "more was written than was asked for")
    expect(any("left out" in note for note in document["notes"]), f"{document['notes']}")
    for name in ("fork of the 10th prepared generation", "live fork of a prepared VM", "snapshot create of a prepared VM"):
        expect(rows[name]["median"] > 0 and rows[name]["ratio"] > 0, f"{rows[name]}")
    expect_equal(home.json("snapshot", "ls"), [], "snapshots after the bench")
    expect_equal(home.json("ps", "-a"), [], "VMs after the bench")


def test_cost_of_the_host(home):
    rows = rows_of(home.ramet("bench", "fork", "--parts", "starts,wakes", "--rounds", "1", "--json", timeout=LONG).json())
    wake = rows["wake from idle standby to the first answer"]
    expect(wake["median"] > 0 and wake["ratio"] > 0, f"{wake}")
    for what in ("fork", "claim"):
        whole = rows[f"{what}: the host's own processor time"]["median"]
        parts = [row["median"] for name, row in rows.items() if name.startswith(f"{what}: of it ")]
        expect_equal(len(parts), 4, "daemon, zygote, keeper, QEMU")
        expect(whole > 0 and abs(sum(parts) - whole) < 1, f"{whole} is not the sum of {parts}")
    qemu, keeper = (rows[f"fork: of it {of}"]["median"] for of in ("QEMU's, less its vCPU's", "the keeper's"))
    expect(qemu > 0 and keeper > 0, f"a fork without QEMU ({qemu}) or keeper ({keeper})")


def test_density(home):
    rows = rows_of(home.ramet("bench", "density", "--clones", "12", "--idle", "1", "--json", timeout=LONG).json())
    expect_equal(rows["clones at once"]["median"], 12)
    expect("one clone: fall of MemAvailable" in rows, f"{sorted(rows)}")
    for name in ("one clone: private, as inspect shows", "one idle clone: of a processor", "the last forks: ready"):
        expect(rows[name]["median"] > 0, f"{rows[name]}")
    expect_equal(rows["exec true, a clone's first one"]["runs"], 12)
    expect_equal((home.json("ps", "-a"), home.json("snapshot", "ls")), ([], []), "what is left of the bench")


def interrupt(home, clones, is_due, what):
    bench = home.start("bench", "density", "--clones", str(clones), "--idle", "600")
    wait_until(lambda: is_due(len([vm for vm in home.json("ps") if vm["state"] == "running"])) or bench.poll() is not None, what)
    expect(bench.poll() is None, f"the bench ended by itself: {bench.poll()}")
    bench.send_signal(signal.SIGINT)
    expect(bench.wait(harness.BOUND) != 0, "an interrupted bench succeeded")
    expect_equal((home.json("ps", "-a"), home.json("snapshot", "ls")), ([], []), f"what is left of the bench with {what}")


def test_interrupted(home):
    interrupt(home, 3, lambda there: there == 3, "three clones")
    interrupt(home, 60, lambda there: there > 10, "a group that is being forked")


def test_under_kvm(home):
    """With the bare guest, which is what is measured where /dev/kvm interprets, or by its name. Where it does not open, why."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        refused = home.ramet("bench", "fork", "--accel", "kvm", status=None)
        expect(refused.status != 0 and "KVM was asked for, but" in refused.err, f"{refused.status}: {refused.err}")
        return
    del home.env["RAMET_ACCEL"]  # the bench starts a daemon that uses what it was asked for
    missing = home.ramet("bench", "fork", "--accel", "kvm", "--image", "bare", status=3)
    expect("tests/guests/bare/README.md" in missing.err, missing.err)
    bare.import_guest(home)
    document = home.ramet("bench", "fork", "--accel", "kvm", "--image", "bare", "--parts", "starts,pauses", "--memory", "128M",
                          "--rounds", "1", "--json", timeout=LONG).json()
    rows = rows_of(document)
    for name in ("F: QEMU's exec to its greeting", "fork: restored", "fork: ready with identity", "claim: ready with identity",
                 "pause of a clone with 8 MiB dirty"):
        expect(rows[name]["median"] > 0, f"{rows[name]}")
    expect(rows["its dirty pages"]["median"] >= 7 << 20, f"{rows['its dirty pages']}")
    expect(any("accelerator kvm, image bare" in note for note in document["notes"]), f"{document['notes']}")
    other = home.ramet("bench", "fork", "--accel", "tcg", "--image", "bare", "--memory", "128M", status=4)
    expect("uses kvm, not tcg" in other.err, other.err)
    expect_equal((home.json("ps", "-a"), home.json("snapshot", "ls")), ([], []), "what is left of the bench")


def test_refuses_an_unknown_part(home):
    result = home.ramet("bench", "fork", "--parts", "starts,nosuch", status=2)
    expect("nosuch" in result.err, result.err)


if __name__ == "__main__":
    harness.main(harness.BOOTED)
