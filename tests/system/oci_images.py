"""Images of containers for tests: layers and manifests made by hand, folders with them, and registries that serve them."""
import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading

import harness

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
BUSYBOX = "/bin/busybox"
PROGRAMS = ("sh", "cat", "echo", "ls", "stat", "id", "env", "pwd", "sleep", "test", "true", "trap", "kill", "wc", "head",
            "mkdir", "touch", "sync", "nc", "httpd")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, content=b"", **fields):
    """(TarInfo, content): a file, or what `type` says."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o755
    info.mtime = 1600000000
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def layer(*entries):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return stream.getvalue()


def add_to(archive, name, data):
    """A regular file into a tar that is being written."""
    archive.addfile(*(part if isinstance(part, tarfile.TarInfo) else io.BytesIO(part) for part in entry(name, data)))


def base_layer():
    """A static busybox with what tests call, and a user."""
    with open(BUSYBOX, "rb") as file:
        entries = [entry("bin/busybox", file.read())]
    entries += [entry(f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox") for name in PROGRAMS]
    entries += [entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1234::/srv:/bin/sh\n", mode=0o644),
                entry("etc/group", b"root:x:0:\nworker:x:1234:\nstaff:x:50:\n", mode=0o644)]
    return layer(*entries)


def packed(data):
    """The same bytes each time."""
    return gzip.compress(data, mtime=0)


class Image:
    """Blobs by digest, and a manifest."""

    def __init__(self, layers, config=None, compress=packed, architecture="amd64", kind=MANIFEST):
        self.blobs = {}
        stored = [compress(data) for data in layers]
        self.config = {"architecture": architecture, "os": "linux", "config": config or {},
                       "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]}}
        docker = kind == DOCKER
        self.manifest = {
            "schemaVersion": 2, "mediaType": kind,
            "config": self.add(json.dumps(self.config).encode(), "application/vnd.docker.container.image.v1+json" if docker
                               else "application/vnd.oci.image.config.v1+json"),
            "layers": [self.add(data, "application/vnd.docker.image.rootfs.diff.tar.gzip" if docker
                                else "application/vnd.oci.image.layer.v1.tar" + suffix_of(data)) for data in stored]}
        self.top = self.finish()

    def add(self, data, kind):
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def finish(self):
        return self.add(json.dumps(self.manifest).encode(), self.manifest["mediaType"])


def suffix_of(data):
    return "+gzip" if data[:2] == b"\x1f\x8b" else "+zstd" if data[:4] == b"\x28\xb5\x2f\xfd" else ""


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


class Index:
    """Several images for platforms."""

    def __init__(self, images):
        self.blobs = {}
        manifests = []
        for (architecture, variant), image in images.items():
            self.blobs.update(image.blobs)
            platform = {"os": "linux", "architecture": architecture}
            if variant:
                platform["variant"] = variant
            manifests.append(dict(image.top, platform=platform))
        data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
        self.blobs[digest(data)] = data
        self.top = {"mediaType": INDEX, "digest": digest(data), "size": len(data)}


def write_folder(path, images):
    """A folder in the OCI layout: {tag: image}."""
    os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
    manifests = []
    for tag, image in images.items():
        for name, data in image.blobs.items():
            with open(f"{path}/blobs/sha256/{name[7:]}", "wb") as file:
                file.write(data)
        manifests.append(dict(image.top, annotations={"org.opencontainers.image.ref.name": tag}))
    with open(f"{path}/oci-layout", "w", encoding="utf-8") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    with open(f"{path}/index.json", "w", encoding="utf-8") as file:
        json.dump({"schemaVersion": 2, "manifests": manifests}, file)


class Pushed:
    """What lies in a registry, fetched by skopeo: an image that FakeRegistry can serve."""

    def __init__(self, reference):
        with tempfile.TemporaryDirectory(prefix="ramet-pushed-") as folder:
            subprocess.run(["skopeo", "copy", "--quiet", "--preserve-digests", "--src-tls-verify=false", reference,
                            f"oci:{folder}:x"], check=True)
            with open(f"{folder}/index.json", "rb") as file:
                self.top = json.load(file)["manifests"][0]
            self.blobs = {}
            for name in os.listdir(f"{folder}/blobs/sha256"):
                with open(f"{folder}/blobs/sha256/{name}", "rb") as file:
                    self.blobs[f"sha256:{name}"] = file.read()
        self.manifest = json.loads(self.blobs[self.top["digest"]])


class FakeRegistry:
    """Serves images as a registry does. `changed` puts other bytes in the place of a blob's; one in `cut` breaks off half-way,
    one in `held` stops there: `waits` is set then, and it goes on with `go`. `asked` lists what was fetched."""

    def __init__(self, images):
        self.tags = {name: image.top for name, image in images.items()}
        self.blobs = {}
        for image in images.values():
            self.blobs.update(image.blobs)
        self.changed, self.cut, self.held, self.asked = {}, set(), set(), []
        self.waits, self.go = threading.Event(), threading.Event()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                registry.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def find(self, path):
        parts = path.split("/")
        if len(parts) < 5 or parts[-2] not in ("manifests", "blobs"):
            return None, None
        name = parts[-1] if parts[-1].startswith("sha256:") else None
        if not name:
            top = self.tags.get(f"{'/'.join(parts[2:-2])}:{parts[-1]}")
            name = top["digest"] if top else None
        data = self.changed.get(name, self.blobs.get(name))
        kind = "application/octet-stream"
        if data is not None and parts[-2] == "manifests":
            kind = json.loads(data).get("mediaType", MANIFEST)
        return name, (data, kind)

    def answer(self, request):
        if request.path == "/v2/":
            data, kind, name = b"{}", "application/json", None
        else:
            name, found = self.find(request.path)
            if not found or found[0] is None:
                request.send_error(404)
                return
            data, kind = found
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        if name:
            request.send_header("Docker-Content-Digest", name)
        request.end_headers()
        if request.command == "HEAD":
            return
        if name:
            self.asked.append(name)
        if name in self.cut:
            request.wfile.write(data[:len(data) // 2])
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        if name in self.held:
            request.wfile.write(data[:len(data) // 2])
            request.wfile.flush()
            self.waits.set()
            self.go.wait(harness.BOUND)
            data = data[len(data) // 2:]
        with contextlib.suppress(ConnectionError):  # who asked may have been killed
            request.wfile.write(data)

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


# tester:secret
HTPASSWD = "tester:$2y$05$wL0HTS/LK/i20H1BtSWp4ee916BVBllpcp8XJr8lm.1pQK7IlWzuW\n"


class Registry:
    """Debian's docker-registry on loopback; private: with a password."""

    def __init__(self, private=False):
        if not shutil.which("docker-registry"):
            raise harness.Skip("docker-registry is not installed")
        self.folder = tempfile.TemporaryDirectory(prefix="ramet-registry-")
        self.port = harness.free_port()
        self.address = f"127.0.0.1:{self.port}"
        path = self.folder.name
        with open(f"{path}/htpasswd", "w", encoding="utf-8") as file:
            file.write(HTPASSWD)
        config = {"version": "0.1", "storage": {"filesystem": {"rootdirectory": f"{path}/data"}},
                  "http": {"addr": self.address}, "log": {"level": "error"}}
        if private:
            config["auth"] = {"htpasswd": {"realm": "test", "path": f"{path}/htpasswd"}}
        with open(f"{path}/config.yml", "w", encoding="utf-8") as file:
            json.dump(config, file)
        with open(f"{path}/log", "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", f"{path}/config.yml"], stdout=log, stderr=log)
        harness.wait_until(self.answers, "the registry answers")

    def answers(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (200, 401)
        except OSError:
            return False

    def push(self, folder, tag, name, *options):
        subprocess.run(["skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false", *options, f"oci:{folder}:{tag}",
                        f"docker://{self.address}/{name}"], check=True)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()
