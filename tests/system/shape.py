#!/usr/bin/env python3
"""What is chosen for a VM and a clone and found again: ports, network, host name, labels, filters, --format, another name,
patterns."""
import harness
from harness import expect, expect_equal, expect_match
from networks import read_from, serve


def names(home, *args):
    return home.ramet("ps", "--format", "{{.Name}}", *args).out.split()


def fork(home, *args):
    """Forks, as often as the source does not stand still in time: beside load its agent may lose its CPU, which ends the
    fork and asks for another try."""
    result = home.ramet("fork", *args, "--json", status=None)
    for _ in range(20):
        if result.status != 5:
            break
        result = home.ramet("fork", *args, "--json", status=None)
    expect_equal(result.status, 0, f"status of a fork ({result.err})")
    return result.json()


def check_filters_and_formats(home):
    expect_equal(names(home, "--filter", "label=role"), ["source"])
    expect_equal(names(home, "--filter", "label=role=db"), [])
    expect_equal(names(home, "--filter", "label=role=web", "--filter", "label=tier"), ["source"])
    expect_equal(names(home, "--filter", "state=created"), ["idle"], "a filter for states means all")
    expect_equal(sorted(names(home, "-a", "--filter", "name=sour", "--filter", "name=id*")), ["idle", "source"])
    expect_equal(names(home, "--filter", "image=other"), [])
    expect_match(home.ramet("ps", "--filter", "nosuch=x", status=2).err, "filters are label=")
    home.ramet("ps", "--filter", "nosuch", status=2)
    expect_equal(home.ramet("inspect", "--format", "{{.State}} {labels.role} {{json .Labels}}", "source").out,
                 'running web {"role":"web","tier":""}\n')
    expect_match(home.ramet("ps", "--format", "{{.Nmae}}", status=2).err, "no field Nmae; fields are .*name")
    expect_equal(home.ramet("image", "ls", "-q").out, "busybox\n")
    expect_match(home.ramet("ps").out, r"PORTS.*\n.*127\.0\.0\.1:\d+->80/tcp")


def check_clone_with_port(home):
    clone = fork(home, "source", "--name", "ported", "-p", "0:80", "--label", "role=clone")
    port = clone["forwards"][0]["host_port"]
    expect(port > 0, "no free port was chosen")
    expect_equal(clone["labels"], {"role": "clone", "tier": ""}, "labels of a clone")
    serve(home, "ported")
    expect_equal(read_from(port), b"ported\n", "what the clone's port gives")
    home.ramet("fork", "source", "-p", f"{port}:80", status=4)
    expect_match(home.ramet("fork", "source", "-n", "2", "-p", "8080:80", status=2).err, "0:GUEST")
    two = fork(home, "source", "--name", "two", "-n", "2", "-p", "0:80")
    expect_equal(len({vm["forwards"][0]["host_port"] for vm in two} - {port, 0}), 2, "different ports")
    home.ramet("rm", "-f", "two-*", "ported")


def check_clone_without_network(home):
    show = "ip -4 addr show eth0 | grep -c inet; ip route | grep -c default; true"
    expect_match(home.ramet("exec", "source", "--", "sh", "-c", show).out, r"^1\n1\n")
    clone = fork(home, "source", "--name", "cut", "--network", "none")
    expect_equal([clone["network"], clone["ip"]], ["none", None])
    expect_match(home.ramet("exec", "cut", "--", "sh", "-c", show).out, r"^0\n0\n")
    home.ramet("standby", "cut")
    home.ramet("resume", "cut")
    expect_match(home.ramet("exec", "cut", "--", "sh", "-c", show).out, r"^0\n0\n")
    again = fork(home, "cut", "--name", "plugged", "--network", "user")
    expect_equal(again["ip"], "10.0.2.15", "the address of a clone of the clone")
    expect_match(home.ramet("exec", "plugged", "--", "sh", "-c", show).out, r"^1\n1\n")
    home.ramet("fork", "source", "--network", "none", "-p", "0:80", status=2)
    home.ramet("rm", "-f", "cut", "plugged")


def check_frozen_shape(home):
    error = home.ramet("fork", "source", "-m", "1G", status=2).err
    expect_match(error, "holds the memory of a VM with .* MiB and 1 CPUs.*stopped")
    clone = fork(home, "idle", "--name", "wide", "-c", "2", "-m", "384M")
    expect_equal([clone["cpus"], clone["memory_bytes"], clone["boot"]], [2, 384 << 20, "cold"])
    expect_equal(home.ramet("exec", "wide", "nproc").out, "2\n")
    home.ramet("rm", "-f", "wide")


def check_rename(home):
    home.ramet("snapshot", "create", "source", "kept")
    home.ramet("rename", "source", "idle", status=4)
    home.ramet("rename", "nosuch", "other", status=3)
    home.ramet("rename", "source", "Bad/name", status=2)
    before = home.vm("source")
    expect_equal(home.ramet("rename", "source", "fresh").out, "fresh\n")
    after = home.vm("fresh")
    expect_equal([after[key] for key in ("id", "qemu_pid", "hostname")],
                 [before["id"], before["qemu_pid"], "own"], "what a new name leaves alone")
    home.ramet("inspect", "source", status=3)
    expect_equal(home.json("snapshot", "inspect", "kept")["vm"], "fresh", "the VM of a snapshot")
    events = [event for event in home.json("events", "--no-follow", "--since", "0") if event["type"] == "vm.renamed"]
    expect_equal([(event["name"], event["detail"]) for event in events], [("fresh", {"from": "source", "to": "fresh"})])
    home.ramet("exec", "fresh", "true")
    home.ramet("rename", "idle", "later")
    expect_equal(home.vm("later")["hostname"], "later", "host name of a VM that does not run")
    home.ramet("daemon", "stop")
    home.ramet("exec", "fresh", "true")
    home.ramet("rm", "-f", "nosuch*", status=3)
    home.ramet("rm", "-f", "[fl]*")
    expect_equal(home.json("ps", "-a"), [], "VMs at the end")


def test_shapes(home):
    out = home.ramet("run", "--name", "source", "-l", "role=web", "--label", "tier", "--hostname", "own", "-p", "0:80",
                     "-w", "/etc", "-u", "1:1", "busybox", "--", "sh", "-c", "pwd; id -u; hostname").out
    expect_equal(out, "/etc\n1\nown\n", "folder, user and host name")
    home.ramet("create", "--name", "idle", "busybox")
    home.ramet("create", "--hostname", "-bad", "busybox", status=2)
    check_filters_and_formats(home)
    check_clone_with_port(home)
    check_clone_without_network(home)
    check_frozen_shape(home)
    check_rename(home)


def test_clone_of_unconnected_source(home):
    """A card that nothing was plugged into when it was frozen comes into a network with a clone."""
    home.ramet("run", "-d", "--name", "lone", "--network", "none", "busybox")
    expect_equal(fork(home, "lone", "--name", "joined", "--network", "user")["network"], "user")
    home.ramet("exec", "joined", "--", "sh", "-c", "ip addr show eth0 | grep -q 'inet 10.0.2.15/'")
    expect_equal(fork(home, "lone", "--name", "same")["network"], "none")
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main(harness.BOOTED)
