"""Whole disks with boot loaders of their own, as Debian's cloud images are laid out: GPT, a root partition, one for GRUB's BIOS
part, and an EFI system partition. Made of Debian's packages once for each build folder."""
import binascii
import fcntl
import os
import shutil
import struct
import subprocess
import uuid

import harness

MIB = 1 << 20
FOLDER = harness.TEMPLATE + "-disks"
TREE_MIB, ESP_MIB = 900, 64
ROOT, BIOS_BOOT, ESP = (uuid.UUID(text).bytes_le for text in (
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "21686148-6449-6e6f-744e-656564454649", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"))
ROOT_UUID = uuid.UUID(int=1)
PACKAGES = "systemd-sysv,udev,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,cloud-init,openssh-server,iproute2"
COMMAND_LINE = f"root=PARTUUID={ROOT_UUID} ro console=ttyS0,115200 mitigations=off nowatchdog cryptomgr.notests"
GRUB = "/usr/lib/grub"
SYSTEMD_BOOT = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"

GRUB_CONFIG = f"""serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry debian {{
  linux /vmlinuz {COMMAND_LINE}
  initrd /initrd.img
}}
"""
# What a stock image does beyond the agent's start takes an emulated guest half a minute.
CLOUD_CONFIG = """datasource_list: [NoCloud]
cloud_config_modules: []
cloud_final_modules: []
"""
CUSTOMIZE = f"""set -e
mkdir -p "$1/boot/grub"
cat >"$1/boot/grub/grub.cfg" <<'EOT'
{GRUB_CONFIG}EOT
cat >"$1/etc/cloud/cloud.cfg.d/99-test.cfg" <<'EOT'
{CLOUD_CONFIG}EOT
echo 'PARTUUID={ROOT_UUID} / ext4 rw,discard 0 1' >"$1/etc/fstab"
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/machine-id"
rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*
"""


def require():
    for path, package in ((f"{GRUB}/i386-pc/boot.img", "grub-pc-bin"), (f"{GRUB}/x86_64-efi/linux.mod", "grub-efi-amd64-bin"),
                          (SYSTEMD_BOOT, "systemd-boot-efi")):
        if not os.path.exists(path):
            raise harness.Skip(f"{package} is missing")
    for program in "mmdebstrap", "grub-mkimage", "mformat", "mcopy", "mmd":
        if not shutil.which(program):
            raise harness.Skip(f"{program} is missing")


def build_tree(home, path):
    """Debian's root file system as ext4, by the import of a tar."""
    tar = path + ".tar"
    mode = "root" if os.geteuid() == 0 else "unshare"
    done = subprocess.run(["mmdebstrap", "--variant=minbase", f"--mode={mode}", f"--include={PACKAGES}",
                           "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=path-exclude=/usr/share/doc/*",
                           "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
                           f"--customize-hook={CUSTOMIZE}", "bookworm", tar], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise harness.Skip("Debian's mirror cannot be reached: " + last)
    home.ramet("image", "import", tar, "--name", "tree", timeout=900)
    os.unlink(tar)
    shutil.copyfile(home.json("image", "inspect", "tree")["path"], path)
    os.chmod(path, 0o644)
    subprocess.run(["dd", "if=/dev/null", f"of={path}", "bs=1M", f"seek={TREE_MIB}", "status=none"], check=True)
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run(["e2fsck", "-fy", path], capture_output=True, env=env, check=False)
    subprocess.run(["resize2fs", path], capture_output=True, env=env, check=True)
    home.ramet("image", "rm", "tree")


def out_of_tree(tree, name, path):
    """A file of the tree, or what a link at its root leads to."""
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run(["debugfs", "-R", f"dump {name} {path}", tree], capture_output=True, env=env, check=True)


def boot_folder(tree):
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    listed = subprocess.run(["debugfs", "-R", "ls -p /boot", tree], capture_output=True, text=True, env=env, check=True).stdout
    names = [line.split("/")[5] for line in listed.splitlines() if line.count("/") > 5]
    return {kind: next(name for name in names if name.startswith(kind)) for kind in ("vmlinuz", "initrd")}


def make_esp(path, loader, files):
    """A FAT with a loader where UEFI looks for one, and what that reads."""
    with open(path, "wb") as file:
        file.truncate(ESP_MIB * MIB)
    subprocess.run(["mformat", "-i", path, "-F", "::"], check=True)
    for folder in ("EFI", "EFI/BOOT", "loader", "loader/entries"):
        subprocess.run(["mmd", "-i", path, f"::/{folder}"], check=True)
    for source, target in ((loader, "EFI/BOOT/BOOTX64.EFI"), *files):
        subprocess.run(["mcopy", "-i", path, source, f"::/{target}"], check=True)


def make_grub_efi(folder):
    early = os.path.join(folder, "early.cfg")
    with open(early, "w", encoding="utf-8") as file:
        file.write("search --no-floppy --set=root --file /boot/grub/grub.cfg\nset prefix=($root)/boot/grub\n"
                   "configfile /boot/grub/grub.cfg\n")
    path = os.path.join(folder, "grub.efi")
    subprocess.run(["grub-mkimage", "-O", "x86_64-efi", "-p", "/boot/grub", "-c", early, "-o", path, "part_gpt", "ext2", "fat",
                    "normal", "linux", "serial", "terminal", "configfile", "search", "echo"], check=True)
    return path


def make_systemd_boot(folder, tree):
    """A loader that knows nothing of ext4: kernel and initramfs lie beside it."""
    names, files = boot_folder(tree), []
    for kind, name in names.items():
        path = os.path.join(folder, kind)
        out_of_tree(tree, f"/boot/{name}", path)
        files.append((path, kind))
    for name, text in (("loader.conf", "timeout 0\n"),
                       ("entries/debian.conf", f"title Debian\nlinux /vmlinuz\ninitrd /initrd\noptions {COMMAND_LINE}\n")):
        path = os.path.join(folder, os.path.basename(name))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        files.append((path, f"loader/{name}"))
    return files


def put(disk, sector, data):
    disk.seek(sector * 512)
    disk.write(data)


def put_grub_bios(disk, folder):
    """What grub-bios-setup does: the first sector leads to core.img, and that to the rest of itself."""
    path = os.path.join(folder, "core.img")
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,gpt1)/boot/grub", "-o", path, "biosdisk", "part_gpt", "ext2",
                    "normal", "linux", "serial", "terminal", "configfile", "search", "echo"], check=True)
    with open(f"{GRUB}/i386-pc/boot.img", "rb") as file:
        boot = bytearray(file.read(440))
    with open(path, "rb") as file:
        core = bytearray(file.read())
    boot[0x5c:0x64] = struct.pack("<Q", 2048)
    boot[0x66:0x68] = b"\x90\x90"  # it was started from a hard disk
    core[0x1f4:0x200] = struct.pack("<QHH", 2049, (len(core) + 511) // 512 - 1, 0x820)
    put(disk, 0, boot)
    put(disk, 2048, core)


def put_tables(disk, sectors, partitions, names=("root", "bios", "esp")):
    table = bytearray(128 * 128)
    for (number, kind, first, last), name in zip(partitions, names):
        at = 128 * (number - 1)
        table[at:at + 128] = kind + uuid.UUID(int=number).bytes_le + struct.pack("<QQQ", first, last, 0) + \
            name.encode("utf-16le").ljust(72, b"\0")

    def header(own, other, at):
        fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, sectors - 34, b"r" * 16, at, 128, 128, binascii.crc32(table)]
        fields[3] = binascii.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
        return struct.pack("<8sIIIIQQQQ16sQIII", *fields)

    old = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff\xff\xff", 1, sectors - 1).ljust(64, b"\0") + b"\x55\xaa"
    disk.seek(446)
    disk.write(old)
    put(disk, 1, header(1, sectors - 1, 2))
    put(disk, 2, table)
    put(disk, sectors - 33, table)
    put(disk, sectors - 1, header(sectors - 1, 1, sectors - 33))


def assemble(path, tree, esp, bios, names=("root", "bios", "esp")):
    """The root partition is the last one and the first by number, as in Debian's genericcloud."""
    esp_at, root_at = 4 * 2048, (5 + ESP_MIB) * 2048
    sectors = root_at + os.stat(tree).st_size // 512 + 2048
    with open(path, "wb") as disk:
        disk.truncate(sectors * 512)
    for source, at in ((esp, esp_at), (tree, root_at)):
        subprocess.run(["dd", f"if={source}", f"of={path}", "bs=1M", f"seek={at // 2048}", "conv=notrunc,sparse", "status=none"],
                       check=True)
    with open(path, "r+b") as disk:
        if bios:
            put_grub_bios(disk, os.path.dirname(path))
        put_tables(disk, sectors, ((1, ROOT, root_at, sectors - 2049), (14, BIOS_BOOT, 2048, 4 * 2048 - 1),
                                   (15, ESP, esp_at, esp_at + ESP_MIB * 2048 - 1)), names)


def build_all(home, folder):
    tree, esp = os.path.join(folder, "tree.ext4"), os.path.join(folder, "esp.fat")
    build_tree(home, tree)
    make_esp(esp, make_grub_efi(folder), [])
    assemble(os.path.join(folder, "grub.raw"), tree, esp, True)
    make_esp(esp, SYSTEMD_BOOT, make_systemd_boot(folder, tree))
    assemble(os.path.join(folder, "systemd-boot.raw"), tree, esp, False)
    os.unlink(tree)


def get(home, name):
    """The path of "grub" (BIOS and UEFI) or "systemd-boot" (UEFI)."""
    require()
    with open(FOLDER + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(FOLDER):
            scratch = FOLDER + ".new"
            shutil.rmtree(scratch, ignore_errors=True)
            os.makedirs(scratch)
            try:
                build_all(home, scratch)
                os.rename(scratch, FOLDER)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return os.path.join(FOLDER, name + ".raw")
