#!/usr/bin/env python3
"""Hostile and broken images, full disks, races: a clear error, nothing published, nothing left over.

The homes have a kernel already, so that not every test takes Debian's apart again."""
import concurrent.futures
import contextlib
import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))
import harness  # noqa: E402
from harness import expect, expect_equal, expect_match  # noqa: E402

MIB = 1 << 20


def small_disk(home, name="disk.img", size=32 * MIB):
    path = f"{home.folder}/{name}"
    with open(path, "wb") as file:
        file.truncate(size)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", path], check=True)
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


def sha256(path):
    return hashlib.sha256(read(path)).hexdigest()


def compress(path, how):
    tools = {"zst": ["zstd", "-q", "-c"], "xz": ["xz", "-1", "-c"], "gz": ["gzip", "-1", "-c"]}
    target = f"{path}.{how}"
    with open(target, "wb") as file:
        subprocess.run([*tools[how], path], stdout=file, check=True)
    return target


def refused(home, path, pattern, *options):
    result = home.ramet("image", "import", path, "--name", "bad", *options, status=None)
    expect(result.status != 0, f"{path} was imported")
    expect_match(result.err, pattern, f"message for {os.path.basename(path)}")
    check_nothing_published(home)


def check_nothing_published(home):
    expect_equal(home.json("image", "ls"), [], "images")
    for folder in ("images", "tmp"):
        path = os.path.join(home.path, folder)
        found = [name for name in os.listdir(path) if not os.path.isdir(os.path.join(path, name)) or folder == "tmp"]
        expect_equal(found, [], f"files left in {folder}/")


def test_every_format_gives_the_same_base(home):
    disk = small_disk(home)
    want, named = sha256(disk), harness.tree_digest(disk)
    sources = [disk, compress(disk, "zst"), compress(disk, "xz"), compress(disk, "gz")]
    qcow2 = f"{home.folder}/disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", disk, qcow2], check=True)
    with tarfile.open(f"{home.folder}/disk.tar", "w") as tar:
        tar.add(disk, arcname="disk.img")
    sources += [qcow2, compress(f"{home.folder}/disk.tar", "zst")]
    for number, source in enumerate(sources):
        image = home.json("image", "import", source, "--name", f"i{number}", "--sha256", sha256(source))
        expect_equal(image["digest"], named, f"digest of {source}")
        expect_equal(sha256(image["path"]), want, f"content of the base from {source}")
        expect_equal(os.stat(image["path"]).st_mode & 0o777, 0o444, "mode")
        expect(os.stat(image["path"]).st_blocks * 512 < 16 * MIB, "the base is dense")
    with open(sources[1], "rb") as file:
        image = home.json("image", "import", "-", "--name", "piped", stdin=file.read())
    expect_equal(image["digest"], named, "digest of what came through a pipe")
    expect_equal(len({image["path"] for image in home.json("image", "ls")}), 1, "bases")


def test_broken_archives(home):
    disk = small_disk(home)
    for how in ("zst", "xz", "gz"):
        whole = read(compress(disk, how))
        refused(home, write(f"{home.folder}/cut.{how}", whole[:len(whole) // 2]), r"(?i)trunc|corrupt|damaged|incomplete|end")
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0xff
        flipped[len(whole) // 2 + 1] ^= 0xff
        refused(home, write(f"{home.folder}/flipped.{how}", bytes(flipped)), r"(?i)corrupt|damaged|checksum|data|trunc")
    refused(home, write(f"{home.folder}/empty.img", b""), r"(?i)empty")
    refused(home, write(f"{home.folder}/noise.img", os.urandom(MIB)), r"(?i)file system")
    refused(home, disk, r"(?i)sha-?256|digest", "--sha256", "0" * 64)
    result = home.ramet("image", "import", disk, "--name", "bad", "--sha256", "xyz", status=2)
    expect_match(result.err, r"(?i)sha-?256|digest")
    home.ramet("image", "import", disk, "--name", "../x", status=2)
    home.ramet("image", "import", f"{home.folder}/nosuch.img", "--name", "bad", status=None)
    check_nothing_published(home)


def test_qcow2_that_names_other_files(home):
    disk = small_disk(home)
    overlay = f"{home.folder}/overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", overlay], check=True)
    refused(home, overlay, r"(?i)backing")
    data = f"{home.folder}/external.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={home.folder}/data.raw", data, "8M"], check=True)
    refused(home, data, r"(?i)data file|external")


def rootfs_tar(home, name, entries):
    path = f"{home.folder}/{name}.tar"
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc"):
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            info.mode = 0o755
            tar.addfile(info)
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def entry(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def test_tars_that_reach_out(home):
    outside = f"{home.folder}/outside"
    os.mkdir(outside)
    cases = {
        "dotdot": [(entry("../escaped"), b"x")],
        "deep": [(entry("bin/../../escaped"), b"x")],
        "through-link": [(entry("door", tarfile.SYMTYPE, outside), b""), (entry("door/escaped"), b"x")],
        "hard-link": [(entry("bin/stolen", tarfile.LNKTYPE, "../../../../etc/passwd"), b"")],
    }
    for name, entries in cases.items():
        refused(home, rootfs_tar(home, name, entries), r"(?i)\.\.|outside|link|escape|unsafe|path")
    expect_equal(os.listdir(outside), [], "what came out of the archive")
    expect(not os.path.exists(f"{home.path}/escaped") and not os.path.exists(f"{home.path}/tmp/escaped"), "a file escaped")


def test_root_file_system_tar_boots(home):
    with open("/bin/busybox", "rb") as file:
        busybox = file.read()
    tar = rootfs_tar(home, "root", [(entry("bin/busybox"), busybox), (entry("bin/sh", tarfile.SYMTYPE, "busybox"), b""),
                                    (entry("etc/motd"), b"from a tar\n")])
    home.ramet("image", "import", tar, "--name", "tarred")
    out = home.ramet("run", "--cold", "--rm", "tarred", "--", "/bin/busybox", "cat", "/etc/motd").out
    expect_equal(out, "from a tar\n")


def test_two_imports_at_once(home):
    disk = small_disk(home, size=256 * MIB)
    packed = compress(disk, "zst")
    home.ramet("image", "ls")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda i: home.json("image", "import", packed, "--name", f"n{i}"), range(8)))
    expect_equal(len({(image["path"], os.stat(image["path"]).st_ino) for image in images}), 1, "bases")


def test_refused_name_leaves_no_base(home):
    """What the name stands for is found out once the disk is there; it goes again then."""
    def bases():
        return sorted(name for name in os.listdir(f"{home.path}/images") if name.endswith(".raw"))
    one, two = small_disk(home), compress(small_disk(home, "two.img"), "zst")
    home.ramet("image", "import", one, "--name", "one")
    before = bases()
    for name in (two, f"{home.folder}/two.img"):
        result = home.ramet("image", "import", name, "--name", "one", status=4)
        expect_match(result.err, "another image one", "what the import says")
        expect_equal(bases(), before, "bases")
    home.ramet("image", "import", two, "--name", "two")
    home.ramet("image", "import", f"{home.folder}/two.img", "--name", "one", status=4)
    expect(os.path.exists(home.json("image", "inspect", "two")["path"]), "the base of another name went")


@contextlib.contextmanager
def small_file_system(home, size):
    if os.geteuid() != 0:
        raise harness.Skip("mounting a small file system needs root")
    folder = f"{home.folder}/small"
    os.mkdir(folder)
    image = f"{home.folder}/small.img"
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise harness.Skip(f"no loop mount here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_disk_full_while_extracting(home):
    noise = small_disk(home, size=160 * MIB)
    with open(noise, "r+b") as file:
        file.seek(32 * MIB)
        for _ in range(120):
            file.write(os.urandom(MIB))
    with small_file_system(home, 96 * MIB) as folder:
        inner = harness.Home(template=None, parent=folder)
        try:
            inner.ramet("image", "ls")
            result = inner.ramet("image", "import", compress(noise, "zst"), "--name", "big", status=None)
            expect(result.status != 0, "an image larger than the disk was imported")
            expect_match(result.err, r"(?i)space|full|room", "message")
            check_nothing_published(inner)
        finally:
            inner.close()


def test_bomb(home):
    """A small archive that unpacks to more than there is room for is ended by its bound, not by a full disk."""
    path = f"{home.folder}/bomb.xz"
    packer = lzma.LZMACompressor(preset=0)
    with open(path, "wb") as file:
        file.write(packer.compress(b"\xff" * MIB))
        for _ in range(256):
            file.write(packer.compress(b"\xff" * MIB))
        file.write(packer.flush())
    with small_file_system(home, 128 * MIB) as folder:
        inner = harness.Home(template=None, parent=folder)
        try:
            result = inner.ramet("image", "import", path, "--name", "bomb", status=None)
            expect(result.status != 0, "a bomb was imported")
            expect_match(result.err, r"(?i)space|full|room|larger|more than|limit")
            check_nothing_published(inner)
        finally:
            inner.close()


if __name__ == "__main__":
    harness.main(harness.KERNELS)
