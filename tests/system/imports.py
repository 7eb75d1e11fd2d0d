#!/usr/bin/env python3
"""Import: disks with partitions and how they grow, formats, pipes, archives of root file systems, what is refused."""
import binascii
import io
import json
import os
import struct
import subprocess
import tarfile
import threading

import harness
from harness import expect, expect_equal

MIB = 1 << 20
SECTORS = MIB // 512  # of a MiB


def base_of_busybox(home):
    return json.loads(home.ramet("image", "inspect", "busybox", "--json").out)["path"]


def copy_into(home, path, at, size):
    """A disk of that size with busybox's file system at an offset."""
    with open(path, "wb") as disk:
        disk.truncate(size)
    subprocess.run(["dd", f"if={base_of_busybox(home)}", f"of={path}", "bs=1M", f"seek={at // MIB}",
                    "conv=notrunc,sparse", "status=none"], check=True)


def old_table(*entries):
    table = bytearray(512)
    for i, (kind, start, sectors) in enumerate(entries):
        table[446 + 16 * i:462 + 16 * i] = struct.pack("<B3sB3sII", 0, b"\0\2\0", kind, b"\xff\xff\xff", start, sectors)
    table[510:] = b"\x55\xaa"
    return bytes(table)


def put(path, sector, data):
    with open(path, "r+b") as disk:
        disk.seek(sector * 512)
        disk.write(data)


def put_gpt(path, sectors, entries):
    table = bytearray(128 * 128)
    for i, (first, last) in entries.items():
        table[128 * i:128 * i + 48] = b"\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4" + \
            bytes([i + 1]) * 16 + struct.pack("<QQ", first, last)

    def header(own, other, at):
        fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, sectors - 34, b"r" * 16, at, 128, 128,
                  binascii.crc32(table)]
        fields[3] = binascii.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
        return struct.pack("<8sIIIIQQQQ16sQIII", *fields)

    put(path, 0, old_table((0xee, 1, sectors - 1)))
    put(path, 1, header(1, sectors - 1, 2))
    put(path, 2, table)
    put(path, sectors - 33, table)
    put(path, sectors - 1, header(sectors - 1, 1, sectors - 33))


def root_mib(home, name, *more):
    result = home.ramet("run", "--rm", *more, name, "--", "sh", "-c", "df -m / | tail -1 | awk '{print $2}'")
    return int(result.out), result.err


def test_partitions_grow(home):
    size = os.stat(base_of_busybox(home)).st_size // MIB
    path = f"{home.folder}/disk.raw"
    # A logical partition, in an extended one.
    copy_into(home, path, 3 * MIB, (size + 3) * MIB)
    put(path, 0, old_table((0x83, SECTORS, SECTORS), (0x05, 2 * SECTORS, (size + 1) * SECTORS)))
    put(path, 2 * SECTORS, old_table((0x83, SECTORS, size * SECTORS)))
    home.ramet("image", "import", path, "--name", "logical")
    found, said = root_mib(home, "logical", "--cold", "--disk", "1G")
    expect(found > 900 and said == "", f"a logical partition: {found} MiB, {said}")
    # GPT, where the last partition has the lowest number; cold, and grown after a fork.
    copy_into(home, path, 3 * MIB, (size + 4) * MIB)
    put_gpt(path, (size + 4) * SECTORS, {0: (3 * SECTORS, (size + 3) * SECTORS - 1), 13: (SECTORS, 2 * SECTORS - 1)})
    home.ramet("image", "import", path, "--name", "gpt")
    found, said = root_mib(home, "gpt", "--cold", "--disk", "1G")
    expect(found > 900 and said == "", f"GPT: {found} MiB, {said}")
    home.ramet("run", "-d", "--name", "g", "gpt")
    home.ramet("fork", "g", "--name", "g2", "--disk", "700M")
    out = home.ramet("exec", "g2", "--", "sh", "-c", "df -m / | tail -1 | awk '{print $2}'").out
    expect(int(out) > 600, f"GPT after a fork: {out} MiB")
    # One that is not the last stays as it is, and that is said.
    copy_into(home, path, 1 * MIB, (size + 4) * MIB)
    put(path, 0, old_table((0x83, SECTORS, size * SECTORS), (0x82, (size + 1) * SECTORS, SECTORS)))
    home.ramet("image", "import", path, "--name", "first")
    found, said = root_mib(home, "first", "--cold", "--disk", "1G")
    expect(found <= size and "partition 1 is not the last one" in said, f"not the last: {found} MiB, {said}")
    # Beyond what the file system can be.
    result = home.ramet("run", "--rm", "--cold", "--disk", "100T", "busybox", "true", status=None)
    expect(result.status != 0 and "can have at most" in result.err and "GiB" in result.err, result.err)


def test_formats(home):
    base = base_of_busybox(home)
    result = home.ramet("image", "import", base, "--name", "x", "--format", "bogus", status=2)
    expect("bogus" in result.err and "qcow2" in result.err, result.err)
    result = home.ramet("image", "import", base, "--name", "x", "--format", "qcow2", status=1)
    expect("this is no qcow2, but raw" in result.err, result.err)
    home.ramet("image", "import", base, "--name", "raw", "--format", "raw")
    # A guest that wrote another format's header to its raw disk does not choose how it is read.
    path = f"{home.folder}/header.raw"
    copy_into(home, path, 0, os.stat(base).st_size)
    put(path, 0, b"QFI\xfb\0\0\0\3" + b"\0" * 8)
    result = home.ramet("image", "import", path, "--name", "guessed", status=None)
    expect(result.status != 0, "a damaged qcow2 was imported")
    home.ramet("image", "import", path, "--name", "header", "--format", "raw")
    expect_equal(home.ramet("run", "--rm", "--cold", "header", "echo", "boots").out, "boots\n")
    # Others are named.
    for at, magic, name in ((64, b"\x7f\x10\xda\xbe", "VDI"), (0, b"QED\0", "QED"), (0, b"COWD", "VMDK"),
                            (0, b"# Disk DescriptorFile", "VMDK")):
        with open(f"{home.folder}/other", "wb") as file:
            file.write(b"\0" * at + magic + b"\0" * 4096)
        result = home.ramet("image", "import", f"{home.folder}/other", "--name", "x", status=None)
        expect(result.status != 0 and name in result.err, f"{name}: {result.err}")
    os.makedirs(f"{home.folder}/appliance")
    for name in ("vm.ovf", "vm-disk1.vmdk"):
        with open(f"{home.folder}/appliance/{name}", "wb") as file:
            file.write(b"KDMV" + b"\0" * 8192)
    subprocess.run(["tar", "-C", f"{home.folder}/appliance", "-cf", f"{home.folder}/vm.ova", "vm.ovf", "vm-disk1.vmdk"], check=True)
    result = home.ramet("image", "import", f"{home.folder}/vm.ova", "--name", "x", status=None)
    expect(result.status != 0 and "this is an OVA archive" in result.err, result.err)
    # A disk that was cut off is found now, not when it starts.
    copy_into(home, path, 0, os.stat(base).st_size)
    os.truncate(path, os.stat(base).st_size - MIB)
    result = home.ramet("image", "import", path, "--name", "cut", status=None)
    expect(result.status != 0 and "was cut off" in result.err, result.err)


def test_pipes(home):
    base = base_of_busybox(home)
    shell = f"ramet image import <(cat {base}) --name pipe && cat {base} | ramet image import /dev/stdin --name stdin && " \
            f"ramet image import /dev/stdin --name file <{base}"
    env = dict(home.env, PATH=f"{harness.BUILD}:{home.env['PATH']}")
    done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, text=True, check=False, timeout=harness.BOUND)
    expect_equal(done.returncode, 0, f"import of pipes ({done.stderr})")
    digests = {json.loads(home.ramet("image", "inspect", name, "--json").out)["digest"]
               for name in ("busybox", "pipe", "stdin", "file")}
    expect_equal(len(digests), 1, "digests of the same bytes")


def test_source_changes(home):
    path = f"{home.folder}/source.raw"
    copy_into(home, path, 0, os.stat(base_of_busybox(home)).st_size)

    def import_beside(name, change, status):
        """Import the disk while something is done to its file again and again."""
        ended = threading.Event()

        def work():
            while not ended.is_set():
                change()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            return home.ramet("image", "import", path, "--name", name, "--format", "raw", status=status)
        finally:
            ended.set()
            thread.join()

    def link():
        os.link(path, f"{path}.link")
        os.unlink(f"{path}.link")

    import_beside("linked", link, 0)
    result = import_beside("written", lambda: os.utime(path), 4)
    expect("it changed while it was read" in result.err, result.err)


def add(tar, name, seconds, data=b"", kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.mtime, member.size, member.type, member.mode = seconds, len(data), kind, 0o755
    tar.addfile(member, io.BytesIO(data))


def test_archives(home):
    path = f"{home.folder}/root.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "etc", 1000000000, kind=tarfile.DIRTYPE)
        for name, seconds in (("y2040", 2208988800), ("y2300", 10413792000), ("half", 1500000000.5), ("y1960", -315619200),
                              ('odd " name', 2208988800.25)):
            add(tar, f"etc/{name}", seconds, b"x")
    home.ramet("image", "import", path, "--name", "times")
    image = json.loads(home.ramet("image", "inspect", "times", "--json").out)["path"]
    for name, wanted in (("y2040", ("0x83aa7e80", "00000001")), ("half", (hex(1500000000), f"{500000000 << 2:08x}")),
                         ("y1960", ("0xed300880", "00000000")), ("y2300", (hex(10413792000 & 0xffffffff), "00000002")),
                         ('odd "" name', ("0x83aa7e80", f"{250000000 << 2 | 1:08x}"))):
        out = subprocess.run(["debugfs", "-R", f'stat "/etc/{name}"', image], capture_output=True, text=True, check=True,
                             env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")).stdout
        line = next(line for line in out.splitlines() if "mtime:" in line)
        expect(f"{wanted[0]}:{wanted[1]}" in line, f"time of {name}: {line}, expected {wanted}")
    expect("curl -LO" in home.ramet("image", "import", "https://example.org/x.img", "--name", "x", status=3).err, "hint of an address")
    # A program and nothing else: names are kept all the same.
    with tarfile.open(path, "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
    home.ramet("image", "import", path, "--name", "bare")
    expect_equal(home.ramet("run", "--rm", "--name", "n", "bare", "--", "/bin/busybox", "hostname", "-f").out, "n\n", "name")
    # Made one folder too high.
    with tarfile.open(path, "w") as tar:
        for folder in ("rootfs", "rootfs/etc", "rootfs/bin"):
            add(tar, folder, 1, kind=tarfile.DIRTYPE)
    result = home.ramet("image", "import", path, "--name", "high", status=None)
    expect(result.status != 0 and "lies in the archive's folder rootfs" in result.err, result.err)


if __name__ == "__main__":
    harness.main()
