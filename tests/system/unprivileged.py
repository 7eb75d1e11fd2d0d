#!/usr/bin/env python3
"""The whole of quickstart's way as a user without privileges: image, run, exec, cp, import of a root file system's tar;
and a clear word where a user cannot do a thing. Needs root to become that user."""
import contextlib
import os
import shutil
import subprocess
import tarfile

import harness
from harness import Skip, expect, expect_equal, expect_match

USER = 12345
USER_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"  # Debian's, which has no sbin


class UserHome(harness.Home):
    """A home of the user's own, in which the CLI runs as that user."""

    def __init__(self):
        super().__init__(template=None)
        self.env["HOME"] = self.folder
        os.chown(self.folder, USER, USER)

    def start(self, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=None):
        return subprocess.Popen(
            ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", harness.RAMET, *args], stdin=stdin,
            stdout=stdout, stderr=stderr, cwd=self.folder, env={**self.env, "PATH": USER_PATH, **(env or {})})


@contextlib.contextmanager
def user_home():
    if os.geteuid() != 0:
        raise Skip("only root can become another user")
    if not shutil.which("setpriv"):
        raise Skip("setpriv is missing")
    home = UserHome()
    try:
        if home.ramet("version", status=None).status != 0:
            raise Skip(f"user {USER} cannot run {harness.RAMET}: a folder above it is closed")
        yield home
        home.check_reports()
    finally:
        home.close()


def add(tar, name, kind=tarfile.DIRTYPE, mode=0o755, data=b"", link="", owner=(0, 0)):
    import io
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
    entry.uid, entry.gid = owner
    tar.addfile(entry, io.BytesIO(data))


def make_root_tar(path):
    """A root file system with owners that the user could not make himself."""
    with open("/bin/busybox", "rb") as file, tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "run"):
            add(tar, folder)
        add(tar, "bin/busybox", tarfile.REGTYPE, data=file.read())
        for applet in ("sh", "stat", "cat"):
            add(tar, "bin/" + applet, tarfile.SYMTYPE, link="busybox")
        add(tar, "etc/owned", tarfile.REGTYPE, 0o640, b"owned\n", owner=(7, 8))


def uid_of(pid):
    return os.stat(f"/proc/{pid}").st_uid


def check_runs(home):
    tools = next(check for check in home.json("doctor")["checks"] if check["name"] == "tools")
    expect_equal(tools["status"] == "ok", shutil.which("newuidmap") is not None, f"doctor on {tools}")
    home.ramet("image", "build", "busybox", "--from", "busybox", timeout=600)
    out = home.ramet("run", "--rm", "busybox", "--", "sh", "-c", "echo from $(id -u)").out
    expect_equal(out, "from 0\n")
    vm = home.ramet("run", "-d", "--name", "u1", "--json", "busybox").json()
    expect_equal([uid_of(vm[key]) for key in ("qemu_pid", "keeper_pid")], [USER, USER], "user of QEMU and keeper")
    home.ramet("exec", "u1", "--", "sh", "-c", "echo kept >/root/file; sync")
    home.ramet("cp", "u1:/root/file", os.path.join(home.folder, "file"))
    with open(os.path.join(home.folder, "file"), encoding="utf-8") as file:
        expect_equal(file.read(), "kept\n", "the copied file")
    home.ramet("stop", "u1")
    home.ramet("start", "u1")
    expect_equal(home.ramet("exec", "u1", "cat", "/root/file").out, "kept\n", "the file after a stop")
    home.ramet("rm", "-f", "u1")


def check_seed(home):
    """Of a folder whose files belong to others; one that may not be read is named."""
    folder = os.path.join(home.folder, "work")
    os.makedirs(folder)
    for name, mode in (("open", 0o644), ("secret", 0o600)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(name + "\n")
        os.chmod(file.name, mode)
        os.chown(file.name, 7, 8)
    result = home.ramet("seed", "create", "work", "--from", folder, status=1)
    expect_match(result.err, "cannot read .*/work/secret: Permission denied$", "what may not be read")
    os.unlink(os.path.join(folder, "secret"))
    home.ramet("seed", "create", "work", "--from", folder)
    out = home.ramet("run", "--rm", "--seed", "work:/srv", "busybox", "--", "stat", "-c", "%u:%g %a", "/srv/open").out
    expect_equal(out, "7:8 644\n", "owner and mode in the seed")
    home.ramet("image", "rm", "busybox")  # and with it what its boot cache holds
    home.ramet("seed", "rm", "work")


def check_lab(home):
    """Networks and VMs of a lab need no privilege."""
    three = os.path.join(home.folder, "three.yaml")
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/three.yaml"), three)
    home.ramet("lab", "up", three, timeout=600)
    expect_equal(home.ramet("lab", "exec", "three", "client", "--", "wget", "-qO-", "http://server.test/").out, "hello\n")
    home.ramet("lab", "down", "three")
    expect_equal([home.json(what, "ls") for what in ("lab", "network")], [[], []], "what is left of the lab")


def check_import(home):
    tar = os.path.join(home.folder, "root.tar")
    make_root_tar(tar)
    home.ramet("image", "import", "--name", "fromtar", tar, timeout=600)
    out = home.ramet("run", "--rm", "fromtar", "--", "stat", "-c", "%u:%g %a", "/etc/owned", "/bin").out
    expect_equal(out, "7:8 640\n0:0 755\n", "owners and modes in the image")


def check_debian_says_what_is_missing(home):
    result = home.ramet("image", "build", "deb", "--from", "debian", status=None)
    expect(result.status != 0, "a user without a name built Debian")
    expect_match(result.err, "namespace|mmdebstrap is missing|newuidmap is missing", "the error")
    expect_match(result.err, "as root|install the package", "the hint")


def test_unprivileged(_):
    with user_home() as home:
        if not os.path.exists("/bin/busybox"):
            raise Skip("busybox-static is missing")
        check_runs(home)
        check_lab(home)
        check_import(home)
        check_seed(home)
        check_debian_says_what_is_missing(home)
        expect_equal(home.json("ps", "-a"), [], "VMs at the end")
        home.check_no_leftovers()


test_unprivileged.template = None

if __name__ == "__main__":
    harness.main()
