#!/usr/bin/env python3
"""Disks that boot by their own boot loader: imported in all formats, booted by firmware with the agent brought by cloud-init,
snapshotted, forked, in standby; and what is refused."""
import json
import os
import signal
import subprocess

import disks
import harness
from harness import expect, expect_equal

LONG = 1800  # a boot of Debian with cloud-init, emulated, on a busy machine


def image(home, name):
    return home.json("image", "inspect", name)


def convert(source, kind, *options):
    path = f"{source}.{kind}"
    subprocess.run(["qemu-img", "convert", "-O", kind, *options, source, path], check=True)
    return path


def small_disk(home, **options):
    """A disk with GRUB and no system: for all that does not boot it."""
    disks.require()
    path = os.path.join(home.folder, "small.raw")
    esp, tree = os.path.join(home.folder, "esp"), os.path.join(home.folder, "tree")
    disks.make_esp(esp, disks.make_grub_efi(home.folder), [])
    with open(tree, "wb") as file:
        file.write(os.urandom(1 << 20))
        file.truncate(8 << 20)
    disks.assemble(path, tree, esp, options.get("bios", True), options.get("names", ("root", "bios", "esp")))
    return path


def change(path, sector, data):
    with open(path, "r+b") as disk:
        disks.put(disk, sector, data)


def refused(home, path, *words, more=(), status=None):
    result = home.ramet("image", "import", path, "--name", "refused", *more, status=status)
    expect(result.status != 0 and all(word in result.err for word in words), f"{words}: {result.status} {result.err}")
    home.ramet("image", "inspect", "refused", status=3)
    expect_equal([name for name in os.listdir(f"{home.path}/images") if name.endswith(".raw")], home.bases, "bases")


def note_bases(home):
    home.ramet("ps")  # starts the daemon, which makes the folder
    home.bases = [name for name in os.listdir(f"{home.path}/images") if name.endswith(".raw")]


def test_formats(home):
    """The same disk out of raw, qcow2, vmdk and vhdx is the same image, and none needs a kernel."""
    path = small_disk(home)
    home.ramet("image", "import", path, "--name", "raw")
    wanted = image(home, "raw")
    expect_equal((wanted["kernel_key"], wanted["kernel"]), ("bios", None), "what boots it")
    for kind, options in (("qcow2", ["-c"]), ("vmdk", []), ("vmdk", ["-o", "subformat=streamOptimized"]), ("vhdx", [])):
        other = convert(path, kind, *options)
        home.ramet("image", "import", other, "--name", "other", "--format", kind)
        expect_equal(image(home, "other")["digest"], wanted["digest"], f"digest of the {kind}")
        home.ramet("image", "rm", "other")
        with open(other, "rb") as file:
            home.ramet("image", "import", "-", "--name", "other", stdin=file.read())
        home.ramet("image", "rm", "other")
    home.ramet("image", "import", path, "--name", "uefi", "--boot", "uefi")
    expect_equal(image(home, "uefi")["kernel_key"], "uefi", "what boots it when asked for")
    # the same disk, but to be booted otherwise, is another image
    home.ramet("image", "import", path, "--name", "uefi", "--boot", "bios", status=4)
    home.ramet("image", "import", path, "--name", "x", "--boot", "coal", status=2)
    there_and_back(home, wanted)
    # two partitions of one name are no matter of the firmware's
    home.ramet("image", "import", small_disk(home, names=("root", "root", "root")), "--name", "labels")
    expect_equal(image(home, "labels")["kernel_key"], "bios", "what boots a disk with equal labels")
    result = home.ramet("image", "import", small_disk(home, bios=False), "--name", "x", "--boot", "bios", status=None)
    expect(result.status != 0 and "no boot loader for a BIOS" in result.err, result.err)


def there_and_back(home, wanted):
    """An archive says what boots the disk, and needs no kernel."""
    file = f"{home.folder}/raw.ramet"
    home.ramet("image", "export", "uefi", file)
    home.ramet("image", "rm", "raw", "uefi")
    made = home.json("image", "import", file)
    expect_equal([made[key] for key in ("name", "digest", "kernel_key", "kernel")], ["uefi", wanted["digest"], "uefi", None])


def test_damaged(home):
    path = small_disk(home)
    note_bases(home)
    size = os.stat(path).st_size // 512
    change(path, 1, b"\xff" * 512)  # one copy of the table does
    home.ramet("image", "import", path, "--name", "half")
    home.ramet("image", "rm", "half")
    change(path, size - 1, b"\xff" * 512)
    refused(home, path, "partition table (GPT) is damaged")
    path = small_disk(home)
    for kind in ("qcow2", "vmdk", "vhdx"):
        other = convert(path, kind)
        with open(other, "r+b") as file:
            file.truncate(os.stat(other).st_size // 2)
        refused(home, other, "damaged" if kind != "vhdx" else "VHDX")
    other = convert(path, "vmdk", "-o", "subformat=monolithicFlat")
    refused(home, other, "VMDK")
    base = convert(path, "vmdk")
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-b", base, "-F", "vmdk", f"{home.folder}/child.vmdk"], check=True)
    refused(home, f"{home.folder}/child.vmdk", "names a parent")


def written(pid):
    """So many bytes a process has written in all."""
    with open(f"/proc/{pid}/io", encoding="utf-8") as file:
        return int(next(line for line in file if line.startswith("wchar:")).split()[1])


def test_killed(home):
    """A daemon that is killed in the middle of an import leaves nothing that is in the way of the next."""
    path = small_disk(home)
    with open(path, "r+b") as disk:  # enough to be in the middle of
        disk.seek(0, os.SEEK_END)
        for _ in range(64):
            disk.write(os.urandom(4 << 20))
        size = disk.tell()
    home.ramet("ps")
    pipe = subprocess.Popen(["cat", path, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    importer = home.start("image", "import", "-", "--name", "slow", stdin=pipe.stdout)
    harness.wait_until(lambda: written(pipe.pid) > size // 2, "half an import")
    home.kill_daemon()
    importer.communicate(timeout=harness.BOUND)
    pipe.kill()
    pipe.communicate()
    expect(importer.returncode != 0, "the import that was killed went well")
    home.ramet("image", "inspect", "slow", status=3)
    home.ramet("image", "import", path, "--name", "slow")
    expect_equal(image(home, "slow")["kernel_key"], "bios", "what boots it")
    home.check_no_leftovers()


def test_no_room(home):
    """A home that is too small, on a file system of its own: said as such, and nothing stays."""
    path = small_disk(home)
    with open(path, "r+b") as disk:
        disk.seek(0, os.SEEK_END)
        disk.write(os.urandom(160 << 20))
    place = os.path.join(home.folder, "place")
    os.mkdir(place)
    script = f"mount -t tmpfs -o size=96m none {place} || exit 77; " \
             f"for file in {path} {convert(path, 'qcow2')} -; do {harness.RAMET} image import $file --name x <{path}; echo status $?; done; " \
             f"{harness.RAMET} daemon stop; ls {place}/home/images {place}/home/tmp"
    user = [] if os.geteuid() == 0 else ["-r"]
    done = subprocess.run(["unshare", "-m", *user, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=LONG,
                          env={**home.env, "RAMET_HOME": f"{place}/home", "RAMET_SOCKET": f"{place}/socket"})
    if done.returncode == 77 or "unshare" in done.stderr:
        raise harness.Skip("no mount namespace: " + done.stderr.strip())
    expect_equal(done.stdout.count("status 1"), 3, f"imports that failed: {done.stdout} {done.stderr}")
    expect_equal(done.stderr.lower().count("no space left"), 3, f"why: {done.stderr}")
    left = [line for line in done.stdout.splitlines() if line.endswith(".raw")]
    expect_equal(left, [], "what is left")
    expect(done.stdout.rstrip().endswith("tmp:"), f"scratch is left: {done.stdout}")


def look(home, name):
    """What a guest is, as one dictionary."""
    script = "uname -r; hostname; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; ip -br link | grep -c eth0; " \
             "df -m / | tail -1 | awk '{print $2}'"
    keys = ("kernel", "hostname", "machine_id", "host_key", "cards", "mib")
    return dict(zip(keys, home.ramet("exec", name, "--", "sh", "-c", script, timeout=LONG).out.splitlines()))


def write_folder(home, name, text):
    folder = os.path.join(home.folder, name)
    os.makedirs(folder)
    with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
        file.write(text)
    return folder


def run(home, name, disk, *more):
    """With a disk beside the root, a seed that grows."""
    home.ramet("run", "-d", "--name", name, "--disk", "2G", "--seed", "work:/srv/work:1G", *more, disk, timeout=LONG)


def check_clones(home, name, boot):
    """They are others, go on where their source was, sleep and wake."""
    source = look(home, name)
    vm = home.vm(name)
    expect_equal((vm["machine"], vm["boot"], vm["ssh_host_key"]), ("q35", boot, source["host_key"]), "the VM")
    expect_equal((source["hostname"], source["machine_id"], source["cards"]), (name, vm["id"], "1"), "the guest")
    expect(int(source["mib"]) > 1700, f"the file system has {source['mib']} MiB")
    expect("cloud" in source["kernel"], source["kernel"])
    expect_equal(home.ramet("exec", name, "--", "cat", "/srv/work/file").out, "of the folder\n", "its seed")
    home.ramet("exec", name, "--", "sh", "-c", "echo mine >/run/mine; echo kept >/root/kept; echo seed >/srv/work/own", timeout=LONG)
    home.ramet("snapshot", "create", name, "frozen", timeout=LONG)
    home.ramet("fork", "frozen", "--name", "clone", "-n", "2", timeout=LONG)
    clones = [look(home, f"clone-{n}") for n in (1, 2)]
    for key in ("hostname", "machine_id", "host_key"):
        expect_equal(len({guest[key] for guest in (source, *clones)}), 3, f"different {key}")
    for guest in clones:
        expect_equal((guest["kernel"], guest["mib"]), (source["kernel"], source["mib"]), "a clone")
    expect_equal(home.ramet("exec", "clone-1", "--", "cat", "/run/mine", "/root/kept", "/srv/work/own").out, "mine\nkept\nseed\n",
                 "what a clone has")
    home.ramet("standby", "clone-1", timeout=LONG)
    home.ramet("resume", "clone-1", timeout=LONG)
    expect_equal(home.ramet("exec", "clone-1", "--", "cat", "/run/mine").out, "mine\n", "after standby")
    expect_equal(look(home, "clone-1")["host_key"], clones[0]["host_key"], "the host key after standby")


def stop_silent(home, name):
    """An agent that stands still: the power button is pressed, and systemd has its time."""
    client = home.start("exec", name, "--", "sh", "-c", "kill -STOP $(systemctl show -p MainPID --value ramet-agent)")
    client.communicate(timeout=LONG)
    harness.wait_until(lambda: not home.vm(name)["responsive"], f"{name} to be known as silent")
    result = home.ramet("stop", "--time", str(LONG), name, timeout=LONG)
    expect_equal((result.err, home.vm(name)["exit"]["cause"]), ("", "poweroff"), "how it ended")


def test_bios(home):
    """By GRUB; booted once, for the boot cache, of which the runs are forked."""
    home.ramet("image", "import", disks.get(home, "grub"), "--name", "grub")
    home.ramet("seed", "create", "work", "--from", write_folder(home, "work", "of the folder\n"))
    run(home, "b", "grub")
    began = [event["id"] for event in home.json("events", "--no-follow")][-1]
    run(home, "second", "grub")
    expect_equal((home.vm("second")["boot"], look(home, "second")["hostname"]), ("forked", "second"), "the second run")
    expect_equal([event for event in home.json("events", "--no-follow") if event["id"] > began and event["type"] == "snapshot.created"],
                 [], "what the second run froze")
    check_clones(home, "b", "forked")
    # a clone of a clone, whose network goes out
    home.ramet("fork", "clone-2", "--name", "grandchild", timeout=LONG)
    expect_equal(look(home, "grandchild")["hostname"], "grandchild", "a clone of a clone")
    home.ramet("commit", "clone-2", "committed", timeout=LONG)
    expect_equal(image(home, "committed")["kernel_key"], "bios", "what boots what was committed")
    home.ramet("stop", "clone-2", timeout=LONG)
    stop_silent(home, "second")
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def test_microvm(home):
    """The disk's own kernel and modules, without firmware and boot loader; and what has none is refused."""
    path = disks.get(home, "grub")
    home.ramet("image", "import", path, "--name", "direct", "--machine", "microvm", timeout=LONG)
    home.ramet("run", "-d", "--cold", "--name", "m", "direct", timeout=LONG)
    vm = home.vm("m")
    expect("microvm" in vm["machine"], f"the machine is {vm['machine']}")
    guest = look(home, "m")
    expect_equal((guest["hostname"], guest["kernel"]), ("m", image(home, "direct")["kernel"]), "the guest")
    home.ramet("exec", "m", "--", "test", "-d", f"/lib/modules/{guest['kernel']}", timeout=LONG)  # it is the disk's
    home.ramet("fork", "m", "--name", "c", timeout=LONG)
    expect_equal(look(home, "c")["hostname"], "c", "a clone")
    home.ramet("rm", "-f", "*")
    of_one_vm(home, path)
    note_bases(home)
    refused(home, small_disk(home), "microvm cannot boot it", "no partition", more=("--machine", "microvm"), status=1)
    refused(home, path, "own kernel", more=("--machine", "microvm", "--boot", "bios"), status=2)
    home.check_no_leftovers()


def of_one_vm(home, path):
    """The same for one VM of an image that has its boot loader otherwise."""
    home.ramet("image", "import", path, "--name", "loader", timeout=LONG)
    expect_equal(image(home, "loader")["kernel_key"], "bios")
    home.ramet("run", "-d", "--cold", "--name", "m", "--machine", "microvm", "loader", timeout=LONG)
    expect("microvm" in home.vm("m")["machine"], home.vm("m")["machine"])
    expect_equal(look(home, "m")["kernel"], image(home, "direct")["kernel"], "the disk's own kernel")
    home.ramet("run", "--rm", "--machine", "microvm", "busybox", "--", "true")  # as it is anyway
    home.ramet("rm", "-f", "*")
    home.ramet("image", "import", small_disk(home), "--name", "none")
    error = home.ramet("run", "-d", "--name", "m", "--machine", "microvm", "none", status=1).err
    expect("microvm cannot boot it" in error and "leave out --machine" in error, error)
    expect_equal(home.json("ps", "-a"), [], "a VM that cannot be")
    home.ramet("run", "--machine", "q35", "loader", status=2)
    home.ramet("image", "rm", "none", "loader")


def test_without_agent(home):
    """A disk that gets no agent runs on, and what is missing is said."""
    home.ramet("image", "import", small_disk(home), "--name", "bare")
    env = {"RAMET_READY_TIMEOUT_S": "5"}
    home.ramet("daemon", "stop", status=None)
    done = home.ramet("run", "-d", "--cold", "--name", "bare", "bare", env=env, timeout=LONG)
    expect("no agent answered" in done.err and "cloud-init" in done.err, done.err)
    vm = home.vm("bare")
    expect_equal((vm["state"], vm["agent_version"]), ("running", None), "a VM without an agent")
    os.kill(vm["qemu_pid"], 0)
    home.ramet("kill", "bare")
    daemon = home.daemon_pid()
    os.kill(daemon, signal.SIGTERM)
    harness.wait_until(lambda: not harness.is_alive(daemon), "the end of rametd")  # one that ends may hang up on who asks it
    home.ramet("rm", "-f", "bare")
    expect_equal(json.loads(home.ramet("ps", "-a", "--json").out), [], "VMs")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main(harness.KERNELS)
