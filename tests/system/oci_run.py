#!/usr/bin/env python3
"""How images of containers are run: entrypoint, command, variables, folder, user, ports, stop signal."""
import signal
import tarfile

import harness
import oci_images
from harness import expect, expect_equal, expect_match
from oci_images import Image, entry, layer

SCRIPT = b"""#!/bin/sh
echo "args: $*"
echo "env: $GREETING $PATH"
echo "where: $(pwd) as $(id -u):$(id -g)"
[ "$1" != fail ] || exit 7
[ "$1" != serve ] || {
    trap 'echo "told to quit"; sync; exit 0' QUIT
    trap 'echo "told to end"; exit 1' TERM
    echo serving
    while :; do sleep 0.1; done
}
[ "$1" != log ] || {
    echo opened >> /dev/stdout && echo "opened, too" >> /dev/stderr
    exit
}
[ "$1" != end-on-demand ] || {
    echo waiting
    while [ ! -e /tmp/end ]; do
        [ ! -e /tmp/fail ] || exit 5
        sleep 0.1
    done
}
"""
CONFIG = {"Entrypoint": ["/bin/program"], "Cmd": ["one", "two words"], "WorkingDir": "/made/for/it",
          "Env": ["PATH=/bin:/own", "GREETING=hello"], "User": "worker:staff", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
          "StopSignal": "SIGQUIT", "Volumes": {"/var/data": {}, "/etc": {}}, "Labels": {"role": "test"}}


def make_image(home):
    folder = f"{home.path}-layout"
    layers = [oci_images.base_layer(), layer(entry("bin/program", SCRIPT), entry("sbin/init", type=tarfile.SYMTYPE,
                                                                                linkname="/bin/busybox"))]
    oci_images.write_folder(folder, {"program": Image(layers, CONFIG), "none": Image(layers),
                                     "served": Image(layers, dict(CONFIG, Cmd=["serve"]))})
    home.ramet("image", "pull", f"oci:{folder}:program", "--name", "program")
    home.ramet("image", "pull", f"oci:{folder}:none", "--name", "none")


def test_attached(home):
    """Without a command the image's own runs; with one it takes the place of the image's command."""
    make_image(home)
    config = home.json("image", "inspect", "program")["config"]
    expect_equal(config["ports"], ["53/udp", "80/tcp"] if config["ports"][0] == "53/udp" else ["80/tcp", "53/udp"], "ports")
    expect_equal((config["stop_signal"], config["labels"]), (3, {"role": "test"}), "stop signal and labels")
    out = home.ramet("run", "--name", "own", "program").out
    expect_equal(out.splitlines(), ["args: one two words", "env: hello /bin:/own", "where: /made/for/it as 1234:50"], "output")
    out = home.ramet("run", "--rm", "program", "--", "fail", status=7).out
    expect_match(out, "args: fail\n", "other command")
    out = home.ramet("run", "--rm", "-e", "GREETING=bye", "-u", "root", "-w", "/bin", "--entrypoint", "/bin/sh", "program", "--",
                     "-c", 'echo "$GREETING $(pwd) $(id -u)"').out
    expect_equal(out, "bye /bin 0\n", "all of it changed")
    out = home.ramet("exec", "own", "--", "sh", "-c", "pwd; id -u; echo $GREETING").out
    expect_equal(out.split(), ["/made/for/it", "1234", "hello"], "exec goes by the image")
    home.ramet("exec", "-u", "root", "own", "--", "test", "-d", "/var/data")  # which no layer has
    check_commit(home, config)
    vm = home.vm("own")
    expect_equal(vm["program"]["argv"], ["/bin/program", "one", "two words"], "program")
    home.ramet("rm", "-f", "own")
    expect_equal(home.ramet("run", "--rm", "none", "--", "pwd").out, "/\n", "an image that says nothing")
    out = home.ramet("run", "--rm", "--entrypoint", "", "-w", "/made/now", "program", "--", "pwd").out
    expect_equal(out, "/made/now\n", "no entrypoint, and a folder that was not there")
    expect_match(home.ramet("run", "--rm", "--entrypoint", "", "program", status=125).err, "name a command", "nothing to run")
    expect_match(home.ramet("run", "--rm", "docker://web", status=2).err, "image pull docker://web", "a reference is no name")
    expect_equal(home.ramet("run", "--rm", "--entrypoint", "/no/such", "program", status=127).out, "", "no such program")


def check_commit(home, config):
    """An image of a VM is run as the VM is, with what was said for it, and also when that VM's image has lost its name."""
    home.ramet("exec", "-u", "root", "own", "--", "touch", "/kept")
    made = home.json("commit", "own", "committed")["config"]
    expect_equal({key: sorted(made[key]) if key == "ports" else made[key] for key in config},
                 dict(config, ports=sorted(config["ports"])), "how it is run")
    expect_equal(home.ramet("run", "--name", "again", "-e", "GREETING=said", "committed", "--", "one").out.splitlines(),
                 ["args: one", "env: said /bin:/own", "where: /made/for/it as 1234:50"], "output of the committed")
    home.ramet("commit", "again", "committed", "--replace")
    expect_equal(home.ramet("run", "--rm", "committed").out.splitlines()[:2], ["args: one", "env: said /bin:/own"], "of the second")
    home.ramet("rm", "-f", "again")
    home.ramet("image", "rm", "committed")


def test_detached(home):
    """Left running it prints to the console, is stopped by its signal, and runs again with its VM."""
    make_image(home)
    home.ramet("run", "-d", "--name", "served", "-P", "program", "--", "serve")
    harness.wait_until(lambda: "serving" in home.ramet("logs", "served").out, "the program's output")
    expect("serving\n" in home.ramet("logs", "served", binary=True).out.decode(), "line ends as printed")
    vm = home.vm("served")
    expect_equal(sorted((f["guest_port"], f["protocol"]) for f in vm["forwards"]), [(53, "udp"), (80, "tcp")], "forwards")
    expect(all(f["host_port"] > 0 for f in vm["forwards"]), "host ports")
    home.ramet("stop", "served")
    log = home.ramet("logs", "served").out
    expect_match(log, "told to quit", "the stop signal")
    expect("told to end" not in log, "no other signal came first")
    home.ramet("start", "served")
    harness.wait_until(lambda: home.ramet("logs", "served").out.count("serving") == 2, "the program runs again")
    # a clone goes on with it, and stops it likewise
    home.ramet("fork", "served", "--name", "clone")
    home.ramet("stop", "clone")
    expect_match(home.ramet("logs", "clone").out, "told to quit", "the clone's program was told")
    home.ramet("rm", "clone")
    home.ramet("rm", "-f", "served")
    check_lab(home)


def test_program_end(home):
    """How it ended is shown, in whatever way its VM came up: by ps, inspect and wait, until it runs again."""
    make_image(home)
    home.ramet("run", "-d", "--name", "job", "program", "--", "end-on-demand")
    harness.wait_until(lambda: "waiting" in home.ramet("logs", "job").out, "the program's output")
    expect_equal(home.vm("job")["program"]["exit_status"], None, "while it runs")
    home.ramet("fork", "job", "--name", "other")
    waits = home.start("wait", "--program", "job")
    home.ramet("exec", "job", "--", "touch", "/tmp/fail")
    expect_equal(waits.communicate()[0].decode(), "5\n", "wait --program")
    expect_match(home.ramet("ps").out, r"running \(exit 5\)", "ps")
    error = home.ramet("fork", "job", "--name", "vain", "--wait-for", "false", "--wait-timeout", "1", status=5).err
    expect_match(error, "program has ended with exit status 5: ramet logs vain", "why one waits in vain")
    home.ramet("rm", "-f", "vain")
    home.ramet("exec", "other", "--", "touch", "/tmp/end")
    expect_equal(home.ramet("wait", "--program", "other", "job").out, "0\n5\n", "of a program that came with the fork")
    # it is known after standby, after the VM's end, and to a clone; and forgotten by the next run
    home.ramet("standby", "job")
    home.ramet("resume", "job")
    home.ramet("fork", "job", "--name", "late")
    for name in ("job", "late"):
        expect_equal(home.ramet("wait", "--program", name).out, "5\n", f"of {name}")
    ended = home.vm("job")["program"]
    home.ramet("exec", "job", "--", "/bin/busybox", "rm", "/tmp/fail")
    home.ramet("stop", "job", "late")
    expect_equal(home.vm("job")["program"]["exit_status"], 5, "after the VM's end")
    expect_match(ended["ended_at"], "^20..-", "when it ended")
    expect_equal([event["detail"] for event in home.json("events", "--since", "0", "--no-follow") if event["type"] ==
                  "vm.program_ended" and event["name"] == "other"][0]["exit_status"], 0, "the event")
    home.ramet("start", "job")
    expect_equal(home.vm("job")["program"]["exit_status"], None, "in the next run")
    home.ramet("exec", "job", "--", "touch", "/tmp/end")
    expect_equal(home.ramet("wait", "--program", "job").out, "0\n", "of the next run")
    home.ramet("stop", "job")
    expect_equal(home.vm("job")["program"]["exit_status"], 0, "of the next run, after the VM's end")
    home.ramet("rm", "-f", "job", "other", "late")
    # an end by the stop signal, which a shell does not hear of, and one of a program that will not end
    home.ramet("run", "-d", "--name", "asked", "--entrypoint", "/bin/busybox", "program", "--", "sleep", "1000")
    home.ramet("run", "-d", "--name", "killed", "--entrypoint", "/bin/sh", "program", "--", "-c",
               "trap '' QUIT TERM HUP; echo deaf; while :; do sleep 1; done")
    harness.wait_until(lambda: "deaf" in home.ramet("logs", "killed").out, "the program's output")
    home.ramet("stop", "--time", "120", "asked")
    home.ramet("stop", "--time", "20", "killed")
    for name, status in (("asked", 128 + signal.SIGQUIT), ("killed", 128 + signal.SIGKILL)):
        vm = home.vm(name)
        expect_equal((vm["program"]["exit_status"], vm["exit"]["cause"]), (status, "poweroff"), f"the end of {name}")
    home.ramet("rm", "asked", "killed")
    # who is not root opens its output by name, as servers do their logs
    own = home.ramet("run", "--rm", "program", "--", "log")
    expect("\nopened\n" in own.out and "opened, too" in own.err, f"pipes: {own.out} {own.err}")
    home.ramet("run", "-d", "--name", "logs", "program", "--", "log")
    expect_equal(home.ramet("wait", "--program", "logs").out, "0\n", "the console")
    harness.wait_until(lambda: "opened\nopened, too\n" in home.ramet("logs", "logs").out, "both lines on the console")
    # attached, and one that is not there
    home.ramet("run", "--name", "attached", "program", "--", "fail", status=7)
    expect_equal(home.ramet("wait", "--program", "attached").out, "7\n", "attached")
    home.ramet("run", "-d", "--name", "absent", "--entrypoint", "/no/such", "program")
    expect_equal(home.ramet("wait", "--program", "absent").out, "127\n", "no such program")
    home.ramet("run", "-d", "--name", "plain", "none")
    expect_match(home.ramet("wait", "--program", "plain", status=4).err, "no program", "none")
    home.ramet("wait", "--program", "--state", "paused", "plain", status=2)
    home.ramet("rm", "-f", "logs", "attached", "absent", "plain")


def check_lab(home):
    """In a lab it runs as well, with the file's variables, unless the file has something else to run."""
    home.ramet("image", "pull", f"oci:{home.path}-layout:served", "--name", "served")
    path = f"{home.path}-lab.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write('vms:\n  own: {image: served, networks: [user], env: {GREETING: lab}}\n'
                   '  other: {image: served, networks: [user], run: "echo another; echo the end"}\n')
    home.ramet("lab", "up", path, "--name", "lab")
    harness.wait_until(lambda: "serving" in home.ramet("logs", "lab/own").out, "the program's output")
    log = home.ramet("logs", "lab/own").out
    for line in ("args: serve", "env: lab /bin:/own", "where: /made/for/it as 1234:50"):
        expect(line in log, f"{line}: {log}")
    home.ramet("stop", "lab/own")
    expect_match(home.ramet("logs", "lab/own").out, "told to quit", "the stop signal")
    home.ramet("start", "lab/own")
    harness.wait_until(lambda: home.ramet("logs", "lab/own").out.count("serving") == 2, "the program runs again")
    harness.wait_until(lambda: "the end" in home.ramet("logs", "lab/other").out, "the line's output")
    expect("args: serve" not in home.ramet("logs", "lab/other").out, "the program ran beside the line")
    home.ramet("lab", "down", "lab")
    home.ramet("image", "rm", "served")


if __name__ == "__main__":
    harness.main()
