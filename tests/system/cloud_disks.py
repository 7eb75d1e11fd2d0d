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
    pipe.kill()  # it may have sent all, and then the importer waits for more
    pipe.communicate()
    importer.communicate()
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


def boot(home, name, disk, *more):
    """With disks beside the root: a seed that grows, and a config disk."""
    home.ramet("image", "import", disks.get(home, disk), "--name", disk, *more)
    work = os.path.join(home.folder, "work")
    os.makedirs(work)
    with open(os.path.join(work, "file"), "w", encoding="utf-8") as file:
        file.write("of the folder\n")
    home.ramet("seed", "create", "work", "--from", work)
    home.ramet("run", "-d", "--cold", "--name", name, "--disk", "2G", "--seed", "work:/srv/work:1G", "--config-disk", work, disk,
               timeout=LONG)


def check_clones(home, name):
    """They are others, go on where their source was, sleep and wake."""
    source = look(home, name)
    vm = home.vm(name)
    expect_equal((vm["machine"], vm["boot"], vm["ssh_host_key"]), ("q35", "cold", source["host_key"]), "the VM")
    expect_equal((source["hostname"], source["machine_id"], source["cards"]), (name, vm["id"], "1"), "the guest")
    expect(int(source["mib"]) > 1700, f"the file system has {source['mib']} MiB")
    expect("cloud" in source["kernel"], source["kernel"])
    expect_equal(home.ramet("exec", name, "--", "cat", "/srv/work/file", "/media/config/file").out, "of the folder\n" * 2, "its disks")
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


def test_bios(home):
    boot(home, "b", "grub")
    check_clones(home, "b")
    # another config disk in its place
    other = os.path.join(home.folder, "other")
    os.makedirs(other)
    with open(os.path.join(other, "file"), "w", encoding="utf-8") as file:
        file.write("of another\n")
    home.ramet("fork", "frozen", "--name", "configured", "--config-disk", other, timeout=LONG)
    expect_equal(home.ramet("exec", "configured", "--", "cat", "/media/config/file").out, "of another\n", "its config disk")
    # a clone of a clone, whose network goes out
    home.ramet("fork", "clone-2", "--name", "grandchild", timeout=LONG)
    expect_equal(look(home, "grandchild")["hostname"], "grandchild", "a clone of a clone")
    home.ramet("commit", "clone-2", "committed", timeout=LONG)
    expect_equal(image(home, "committed")["kernel_key"], "bios", "what boots what was committed")
    home.ramet("stop", "clone-2", timeout=LONG)
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def test_cache(home):
    """Such a disk is booted once for the boot cache, and runs are forked of that."""
    home.ramet("image", "import", disks.get(home, "grub"), "--name", "grub")
    home.ramet("run", "-d", "--name", "first", "grub", timeout=LONG)
    expect_equal(home.vm("first")["boot"], "forked", "the first run")
    began = [event["id"] for event in home.json("events", "--no-follow")][-1]
    home.ramet("run", "-d", "--name", "second", "grub", timeout=LONG)
    expect_equal(home.vm("second")["boot"], "forked", "the second run")
    expect_equal([look(home, name)["hostname"] for name in ("first", "second")], ["first", "second"], "who they are")
    expect_equal([event for event in home.json("events", "--no-follow") if event["id"] > began and event["type"] == "snapshot.created"],
                 [], "what the second run froze")
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def test_uefi(home):
    """By systemd-boot, with UEFI's variables for each VM."""
    if not os.path.exists("/usr/share/OVMF/OVMF_CODE_4M.fd"):
        raise harness.Skip("ovmf is missing")
    boot(home, "u", "systemd-boot")
    expect_equal(image(home, "systemd-boot")["kernel_key"], "uefi", "what boots it")
    home.ramet("exec", "u", "--", "test", "-d", "/sys/firmware/efi", timeout=LONG)
    check_clones(home, "u")
    inodes = {os.stat(f"{home.path}/vms/{home.vm(name)['id']}/uefi-variables.fd").st_ino for name in ("u", "clone-1", "clone-2")}
    expect_equal(len(inodes), 3, "files of variables")
    go_elsewhere(home)
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def go_elsewhere(home):
    """In another home a snapshot goes on, with cloud-init's disk and the variables that its VM had."""
    file = f"{home.folder}/frozen.ramet"
    home.ramet("snapshot", "export", "frozen", file, timeout=LONG)
    other = harness.Home(template=None)
    try:
        made = other.json("snapshot", "import", file, timeout=LONG)
        os.unlink(file)
        other.ramet("fork", "frozen", "--name", "far", timeout=LONG)
        expect_equal(other.ramet("exec", "far", "--", "cat", "/run/mine", "/root/kept", timeout=LONG).out, "mine\nkept\n", "what it has")
        names = (f"{home.path}/snapshots/{home.json('snapshot', 'inspect', 'frozen')['id']}", f"{other.path}/snapshots/{made['id']}")
        variables = []
        for name in names:
            with open(f"{name}/uefi-variables.fd", "rb") as content:
                variables.append(content.read())
        expect(variables[0] == variables[1], "the variables differ")
        other.ramet("rm", "-f", "far")
        other.ramet("snapshot", "rm", "frozen")
        other.check_no_leftovers()
    finally:
        other.close()


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
    note_bases(home)
    refused(home, small_disk(home), "microvm cannot boot it", "no partition", more=("--machine", "microvm"), status=1)
    refused(home, path, "own kernel", more=("--machine", "microvm", "--boot", "bios"), status=2)
    home.check_no_leftovers()


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
    os.kill(home.daemon_pid(), signal.SIGTERM)
    home.ramet("rm", "-f", "bare")
    expect_equal(json.loads(home.ramet("ps", "-a", "--json").out), [], "VMs")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main(harness.KERNELS)
