"""Drives ramet-keeper directly, as the daemon does (src/proto/keeper.h): no daemon, no store.

Files come from a test's home: kernel, base disk, and the initramfs of the first run, with the agent of this build over it.
"""
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import uuid

import harness

MIB = 1 << 20
KEEPER = os.path.join(harness.BUILD, "ramet-keeper")
FDS_MAX = 16  # base/fd.h
MAGIC = 0x01544D52
DATA, DATA_ERR, EOF, EOF_ERR, EXIT, ERROR = 48, 49, 50, 51, 56, 81
with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:  # an emulated guest has the host's counter; docs/cold-boot.md
    TSC_KHZ = int(1000 * float(re.search(r"cpu MHz\s*: ([0-9.]+)", cpuinfo.read())[1]))
CMDLINE = f"console=ttyS0 quiet panic=-1 cryptomgr.notests nowatchdog mitigations=off tsc=reliable tsc_early_khz={TSC_KHZ}"
SEALS = 2 | 4 | 8  # SHRINK, GROW, WRITE


class KeeperError(Exception):
    def __init__(self, answer):
        super().__init__(answer["message"])
        self.code, self.hint = answer.get("code"), answer.get("hint")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def frame(kind, payload=b""):
    head = struct.pack("<IIHBBI", MAGIC, 0, 0, kind, 0, len(payload))
    return head + struct.pack("<I", crc32c(head)) + payload


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def seal(path, size):
    """The memory of a snapshot in a memfd that nobody can write again."""
    fd = os.memfd_create("base", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    with open(path, "rb") as file:
        pos = 0
        while True:
            try:
                pos = os.lseek(file.fileno(), pos, os.SEEK_DATA)
            except OSError:
                break
            chunk = os.pread(file.fileno(), MIB, pos)
            os.pwrite(fd, chunk, pos)
            pos += len(chunk)
    fcntl.fcntl(fd, 1033, SEALS)
    return fd


def plan_format():
    header = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "proto", "plan.h")
    with open(header, encoding="utf-8") as file:
        return int(re.search(r"#define PLAN_FORMAT (\d+)", file.read()).group(1))


def qemu_path():
    return os.environ.get("RAMET_QEMU") or shutil.which("qemu-system-x86_64")


class World:
    """A folder for one test: base disk, kernel, initramfs; makes VMs."""

    def __init__(self, home, memory=256 * MIB, network="dgram"):
        self.memory, self.network = memory, network
        if not glob.glob(home.path + "/initramfs/*.cpio"):
            home.ramet("run", "--rm", "busybox", "--", "true")
        self.folder = tempfile.mkdtemp(prefix="ramet-keeper-")
        self.base = glob.glob(home.path + "/images/*.raw")[0]
        self.kernel = glob.glob(home.path + "/kernels/*/vmlinux")[0]
        initramfs = glob.glob(home.path + "/initramfs/*.cpio")
        self.initramfs = self.add_agent(max(initramfs, key=os.path.getmtime))
        self.vms, self.snapshots, self.numbers = [], 0, 0

    def add_agent(self, initramfs):
        """The initramfs with the agent of this build: the kernel unpacks one archive after the other."""
        path = os.path.join(self.folder, "initramfs.cpio")
        with open(path, "wb") as out, open(initramfs, "rb") as old:
            out.write(old.read())
            out.write(b"\0" * (-out.tell() % 512))
            with open(os.path.join(harness.BUILD, "ramet-agent"), "rb") as agent:
                for name, mode, data in (("init", 0o100755, agent.read()), ("TRAILER!!!", 0, b"")):
                    head = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
                    out.write(b"070701" + b"".join(b"%08x" % n for n in head) + name.encode() + b"\0")
                    out.write(b"\0" * (-out.tell() % 4) + data)
                    out.write(b"\0" * (-out.tell() % 4))
        return path

    def overlay(self, name, backing, kind):
        path = os.path.join(self.folder, name)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", backing, path], check=True)
        return path

    def vm(self, **options):
        vm = VM(self, **options)
        self.vms.append(vm)
        return vm

    def close(self):
        for vm in self.vms:
            vm.close()
        shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class VM:
    """A keeper and what it is given. chain: files of the disk, overlay first; None: a fresh overlay over the base."""

    def __init__(self, world, chain=None, keeper_fds=()):
        world.numbers += 1
        self.world, self.name, self.number = world, f"vm{world.numbers}", world.numbers
        self.folder = os.path.join(world.folder, self.name)
        os.mkdir(self.folder)
        if chain is None:
            chain = [(world.base, "raw")]
        self.chain = [(world.overlay(self.name + ".qcow2", *chain[0]), "qcow2")] + chain
        self.stages = []
        self.switched = False
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.path = os.path.join(self.folder, "keeper.sock")
        listener.bind(self.path)
        listener.listen(16)
        os.set_inheritable(listener.fileno(), True)
        with open(os.path.join(self.folder, "keeper.log"), "wb") as log:
            self.process = subprocess.Popen([KEEPER, "--listen-fd", str(listener.fileno())], close_fds=True,
                                            pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        listener.close()

    def log(self, name="keeper.log"):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read().decode(errors="replace")

    def call(self, request, fds=()):
        fds = list(fds)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(harness.BOUND)
            sock.connect(self.path)
            while len(fds) > FDS_MAX:
                socket.send_fds(sock, [json.dumps({"fds": FDS_MAX}).encode()], fds[:FDS_MAX])
                fds = fds[FDS_MAX:]
            self.began = time.monotonic()
            socket.send_fds(sock, [json.dumps(request).encode()], fds)
            while True:
                text = sock.recv(1 << 20)
                if not text:
                    raise harness.Failure(f"the keeper is gone: {self.log()}")
                answer = json.loads(text)
                if answer.get("event") == "stage":
                    self.stages.append((answer["name"], answer["at_us"]))
                elif answer.get("event") == "disks_switched":
                    self.switched = True
                elif "ok" in answer:
                    self.ended = time.monotonic()
                    return answer["ok"]
                elif "error" in answer:
                    raise KeeperError(answer["error"])

    def identity(self, clone=True):
        return {"hostname": self.name, "machine_id": uuid.uuid4().hex, "boot_id": str(uuid.uuid4()),
                "mac": f"0200000000{self.number:02x}", "ip": "10.0.2.15", "prefix": 24, "gateway": "10.0.2.2",
                "dns": "10.0.2.3", "new_ssh_keys": True, "run_hooks": True, "grow_root": False, "clone": clone}

    def plan(self, fds, **more):
        def give(path, flags=os.O_RDONLY):
            fds.append(os.open(path, flags | os.O_CLOEXEC) if isinstance(path, str) else os.dup(path))
            return len(fds) - 1
        files = [{"fd": give(path), "fd_write": give(path, os.O_RDWR) if i == 0 else -1, "format": kind}
                 for i, (path, kind) in enumerate(self.chain)]
        world, identity = self.world, self.identity()
        cards = []
        if world.network != "none":
            with contextlib.ExitStack() as ends:
                cards = [{"network": world.network, "mac": identity["mac"]} |
                         {key: give(ends.enter_context(end).fileno())
                          for key, end in zip(("fd", "peer_fd"), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))}]
        plan = {"format": plan_format(), "vm_id": self.name, "name": self.name, "qemu": qemu_path(), "accel": "tcg", "machine": "microvm",
                "memory_bytes": world.memory, "cpus": 1, "cards": cards, "identity": identity,
                "disks": [{"serial": "root", "read_only": False, "files": files}], "console_dir_fd": give(self.folder), "console_max_bytes": MIB,
                "ready_timeout_usec": harness.BOUND * 1000000, "patch_fds": []}
        plan.update({k: give(*v) if isinstance(v, tuple) else [give(*f) for f in v] if k == "patch_fds" else v
                     for k, v in more.items()})
        return plan

    def start(self, plan, fds):
        self.stages.clear()
        try:
            self.ok = self.call({"op": "start", "plan": plan}, fds)
        finally:
            for fd in fds:
                os.close(fd)
        return self.ok

    def boot(self):
        blank = os.path.join(self.world.folder, self.name + ".blank")
        with open(blank, "wb") as file:
            file.truncate(self.world.memory)
        os.chmod(blank, 0o644)
        fds = []
        plan = self.plan(fds, boot="cold", kernel_fd=(self.world.kernel,), initrd_fd=(self.world.initramfs,),
                         memory_fd=(blank, os.O_RDWR), cmdline=CMDLINE)
        return self.start(plan, fds)

    def restore(self, snapshot, **more):
        fds = []
        plan = self.plan(fds, boot="restore", state_fd=(snapshot.state,), memory_fd=(snapshot.base,),
                         patch_fds=[(p,) for p in snapshot.patches], marker=snapshot.told["marker"],
                         ram_nonce=snapshot.told["ram_nonce"], counter=snapshot.told["counter"],
                         mailbox=snapshot.told["mailbox"])
        plan["identity"]["clone"] = more.pop("clone", True)
        plan.update(more)
        return self.start(plan, fds)

    def snapshot(self, disks=True, **options):
        return Snapshot(self, disks, options)

    def status(self):
        return self.call({"op": "status"})

    def sh(self, script, check=True):
        """Runs a shell script in the guest; gives its output."""
        ours, theirs = socket.socketpair()
        ours.settimeout(harness.BOUND)
        with ours:
            with theirs:
                self.call({"op": "exec", "argv": ["/bin/sh", "-c", script], "stdin": False}, [theirs.fileno()])
            out, rest = b"", b""
            while True:
                while len(rest) < 20 or len(rest) < 20 + struct.unpack_from("<I", rest, 12)[0]:
                    more = ours.recv(1 << 16)
                    if not more:
                        raise harness.Failure("the stream ended early")
                    rest += more
                kind, size = rest[10], struct.unpack_from("<I", rest, 12)[0]
                payload, rest = rest[20:20 + size], rest[20 + size:]
                if kind in (DATA, DATA_ERR):
                    out += payload
                elif kind == EXIT:
                    status = payload[-8] if len(payload) >= 8 else 0
                    if check and status:
                        raise harness.Failure(f"{script!r} ended with {status}: {out}")
                    return out.decode().strip()
                elif kind == ERROR:
                    raise harness.Failure(payload.decode())

    def exit(self):
        self.process.wait(harness.BOUND)
        with open(os.path.join(self.folder, "exit.json"), encoding="utf-8") as file:
            return json.load(file)

    def close(self):
        if self.process.poll() is None:
            try:
                self.call({"op": "kill"})
            except (KeeperError, harness.Failure, OSError):
                pass
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def capture_memfd(size):
    """What a keeper copies the memory into."""
    fd = os.memfd_create("capture")
    os.ftruncate(fd, size)
    return fd


class Snapshot:
    """What a snapshot of a VM froze: files for restores, and the chain for forks' disks."""

    def __init__(self, vm, disks, options):
        world = self.world = vm.world
        world.snapshots += 1
        name = os.path.join(world.folder, f"s{world.snapshots}")
        self.state, self.memory = name + ".state", name + ".memory"
        flags = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fds = [os.open(self.state, flags | os.O_WRONLY, 0o644), os.open(self.memory, flags | os.O_RDWR, 0o644)]
        fds.append(capture_memfd(world.memory))
        request = {"op": "snapshot", "state_fd": 0, "memory_fd": 1, "capture_fd": 2, "disks": [], **options}
        self.chain = list(vm.chain)
        if disks:
            overlay = world.overlay(f"s{world.snapshots}.next.qcow2", *vm.chain[0])
            fds += [os.open(overlay, os.O_RDONLY | os.O_CLOEXEC), os.open(overlay, os.O_RDWR | os.O_CLOEXEC)]
            request["disks"] = [{"fd": 3, "fd_write": 4}]
        vm.stages.clear()
        vm.switched = False
        try:
            self.told = vm.call(request, fds)
        finally:
            for fd in fds:
                os.close(fd)
            if vm.switched:
                vm.chain = [(overlay, "qcow2")] + vm.chain
        if self.told["kind"] == "full":
            self.base, self.patches = seal(self.memory, world.memory), []
        else:
            self.base, self.patches = vm.base, [self.memory]

    def fork(self, **more):
        vm = self.begin()
        vm.restore(self, **more)
        return vm

    def begin(self):
        vm = self.world.vm(chain=self.chain)
        vm.base = self.base
        return vm
