#!/usr/bin/env python3
"""How images of containers are run: entrypoint, command, variables, folder, user, ports, stop signal."""
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
"""
CONFIG = {"Entrypoint": ["/bin/program"], "Cmd": ["one", "two words"], "WorkingDir": "/made/for/it",
          "Env": ["PATH=/bin:/own", "GREETING=hello"], "User": "worker:staff", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
          "StopSignal": "SIGQUIT", "Labels": {"role": "test"}}


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
    vm = home.vm("own")
    expect_equal(vm["program"]["argv"], ["/bin/program", "one", "two words"], "program")
    home.ramet("rm", "-f", "own")
    expect_equal(home.ramet("run", "--rm", "none", "--", "pwd").out, "/\n", "an image that says nothing")
    expect_equal(home.ramet("run", "--rm", "--entrypoint", "/no/such", "program", status=127).out, "", "no such program")


def test_detached(home):
    """Left running it prints to the console, is stopped by its signal, and runs again with its VM."""
    make_image(home)
    home.ramet("run", "-d", "--name", "served", "-P", "program", "--", "serve")
    harness.wait_until(lambda: "serving" in home.ramet("logs", "served").out, "the program's output")
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
