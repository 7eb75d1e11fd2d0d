#!/usr/bin/env python3
"""Images of containers: from folders and registries, what arrives once, who may, what is refused."""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tarfile

import harness
import oci_images
from harness import expect, expect_equal, expect_match
from oci_images import Image, Index, entry, layer


def two_layers():
    return [oci_images.base_layer(),
            layer(entry("srv/one", b"1\n", mode=0o640, uid=1234, gid=50), entry("bin/su-test", b"x", mode=0o4755),
                  entry("dev/zero-test", type=tarfile.CHRTYPE, devmajor=1, devminor=5), entry("gone", b"gone\n"),
                  entry("old/a", b"a"), entry("srv/link", type=tarfile.LNKTYPE, linkname="srv/one"),
                  entry("srv/attributes", b"y", pax_headers={"SCHILY.xattr.user.colour": "blue"}),
                  entry("two\nlines", b"z")),
            layer(entry(".wh.gone"), entry("old/b", b"b"), entry("old/.wh..wh..opq"), entry("srv/two", b"2\n"))]


def run(home, image, *command, status=0):
    return home.ramet("run", "--rm", image, "--", *command, status=status).out


def look(home, image, path):
    """What debugfs says of a path of the image's disk."""
    base = home.json("image", "inspect", image)["path"]
    return subprocess.run(["debugfs", "-R", f'stat "{path}"', base], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=True, encoding="utf-8", errors="replace").stdout


def test_folder(home):
    """All kinds of entries come through, and the image runs."""
    folder = f"{home.path}-layout"
    oci_images.write_folder(folder, {"plain": Image(two_layers(), compress=lambda data: data),
                                     "zstd": Image(two_layers(), compress=oci_images.zstd), "gzip": Image(two_layers())})
    home.ramet("image", "pull", f"oci:{folder}:zstd", "--name", "first")
    base = home.json("image", "inspect", "first")
    subprocess.run(["e2fsck", "-fn", base["path"]], stdout=subprocess.DEVNULL, check=True)
    expect_match(look(home, "first", "/srv/one"), r"Mode: *0640.*\nGen.*\nUser: *1234 *Group: *50 ", "srv/one")
    expect_match(look(home, "first", "/srv/one"), r"Links: 2 ", "links")
    expect_match(look(home, "first", "/bin/su-test"), r"Mode: *04755", "set-user-ID")
    expect_match(look(home, "first", "/dev/zero-test"), r"Device major/minor number: 01:05", "device")
    expect_match(look(home, "first", "/srv/attributes"), "user.colour.*blue", "attribute")
    for path in ("/gone", "/old/a"):
        expect_match(look(home, "first", path), "not found", path)
    out = run(home, "first", "sh", "-c", "cat /srv/link /srv/two; cat /old/b; ls -d /two*; id -u")
    expect_equal(out.split(), ["1", "2", "b/two?lines", "0"], "output")
    # the same layers packed otherwise are other manifests, and the same content
    home.ramet("image", "pull", f"oci:{folder}:gzip", "--name", "second")
    home.ramet("image", "pull", f"oci:{folder}:plain", "--name", "third")
    expect("several" not in home.ramet("image", "pull", f"oci:{folder}:none", status=3).err, "unknown tag")
    home.ramet("image", "pull", f"oci:{folder}", status=2)
    home.ramet("image", "pull", "oci:/nowhere:x", status=3)
    home.ramet("image", "pull", "docker://", status=2)
    for name in ("first", "second", "third"):
        home.ramet("image", "rm", name)


def test_registry(home):
    """From Debian's registry, with an index; a second pull fetches nothing."""
    registry = oci_images.Registry()
    try:
        ours = Image(two_layers() + [layer(entry("which", b"amd64"))])
        other = Image([oci_images.base_layer(), layer(entry("which", b"arm64"))], architecture="arm64")
        folder = f"{home.path}-layout"
        oci_images.write_folder(folder, {"both": Index({("arm64", "v8"): other, ("amd64", None): ours}),
                                         "other": Index({("arm64", "v8"): other})})
        registry.push(folder, "both", "team/web:1")
        registry.push(folder, "other", "team/other:1")
        reference = f"docker://{registry.address}/team/web:1"
        error = home.ramet("image", "pull", reference, status=1).err
        expect_match(error, "--insecure", "hint for plain http")
        expect_equal(home.ramet("image", "pull", reference, "--insecure").out, "web\n", "name")
        image = home.json("image", "inspect", "web")
        expect_equal(run(home, "web", "cat", "/which"), "amd64", "platform")
        home.ramet("image", "pull", reference, "--insecure")
        expect_equal(home.json("image", "inspect", "web")["digest"], image["digest"], "digest")
        by_digest = f"docker://{registry.address}/team/web@sha256:{image['manifest']}"
        home.ramet("image", "pull", by_digest, "--name", "same")
        expect_equal(home.json("image", "inspect", "same")["digest"], image["digest"], "digest by digest")
        error = home.ramet("image", "pull", f"docker://{registry.address}/team/other:1", "--insecure", status=3).err
        expect_match(error, "none for linux/amd64; there are: linux/arm64/v8", "platforms")
        home.ramet("image", "pull", f"docker://{registry.address}/team/other:1", "--insecure", "--platform", "linux/arm64")
        error = home.ramet("image", "pull", f"docker://{registry.address}/team/none:1", "--insecure", status=3).err
        expect_match(error, "(manifest|name) unknown", "unknown image")
        for name in ("web", "same", "other"):
            home.ramet("image", "rm", name)
        check_fetched(home)
        home.ramet("image", "pull", reference, "--insecure")
    finally:
        registry.close()


def check_fetched(home):
    """What the registry gave takes room, and goes when nobody pulls."""
    folder = f"{home.path}/oci/sha256"
    fetched, = (kind for kind in home.json("df")["kinds"] if kind["kind"] == "fetched")
    expect_equal((fetched["count"], fetched["reclaimable_bytes"]), (len(os.listdir(folder)), fetched["bytes"]), "what was fetched")
    pull = os.open(folder, os.O_RDONLY)
    fcntl.flock(pull, fcntl.LOCK_SH)
    expect_equal(home.json("prune", "--all")["fetched"], 0, "what goes beside a pull")
    os.close(pull)
    expect_equal(home.json("prune", "--all")["fetched"], fetched["count"])
    expect_equal(os.listdir(folder), [])


def save(folder, tag, kind, file, name=""):
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{folder}:{tag}", f"{kind}:{file}{name}"], check=True)


def of_docker(file, images):
    """What docker save wrote before it knew the OCI layout: {name: image}."""
    with tarfile.open(file, "w") as archive:
        said = []
        for name, image in images.items():
            config, layers = json.dumps(image.config).encode(), [image.blobs[one["digest"]] for one in image.manifest["layers"]]
            names = [f"{oci_images.digest(data)[7:]}.tar" for data in layers]
            for path, data in [(f"{oci_images.digest(config)[7:]}.json", config), *zip(names, layers)]:
                oci_images.add_to(archive, path, data)
            said.append({"Config": f"{oci_images.digest(config)[7:]}.json", "RepoTags": [name], "Layers": names})
        oci_images.add_to(archive, "manifest.json", json.dumps(said).encode())


def test_archives(home):
    """Files as docker save, podman save and skopeo write them."""
    folder, files = f"{home.path}-layout", os.path.join(home.folder, "files")
    os.makedirs(files)
    oci_images.write_folder(folder, {"web": Image(two_layers(), {"Entrypoint": ["/bin/cat", "/srv/two"]})})
    for kind, file, name in (("docker-archive", f"{files}/one.tar", ":web:1"), ("oci-archive", f"{files}/two.tar", ":v1")):
        save(folder, "web", kind, file, name)
        made = os.path.basename(file)[:3]
        expect_equal(home.ramet("image", "pull", f"{kind}:{os.path.relpath(file)}").out, made + "\n", "name")
        expect_equal(home.ramet("run", "--rm", made).out, "2\n", kind)
        error = home.ramet("image", "import", file, "--name", "wrong", status=2).err
        expect_match(error, f"image pull {kind}:FILE", "hint of an import")
        subprocess.run(["gzip", "-k", file], check=True)
        home.ramet("image", "pull", f"{kind}:{file}.gz{name}", "--name", made)
        home.ramet("image", "pull", f"{kind}:{file}:none", "--name", "wrong", status=3)
        with open(file, "rb+") as cut:
            cut.truncate(os.path.getsize(file) // 2)
        home.ramet("image", "pull", f"{kind}:{file}", "--name", "wrong", status=1)
        home.ramet("image", "pull", f"{kind}:{files}/none.tar", status=3)
        home.ramet("image", "pull", f"{kind}:{files}", "--name", "wrong", status=1)
    of_docker(f"{files}/both.tar", {"a:1": Image([oci_images.base_layer(), layer(entry("srv/which", b"a"))], compress=bytes),
                                    "b:1": Image([oci_images.base_layer(), layer(entry("srv/which", b"b"))], compress=bytes)})
    home.ramet("image", "pull", f"docker-archive:{files}/both.tar:b:1", "--name", "both")
    expect_equal(run(home, "both", "cat", "/srv/which"), "b", "one of two")
    home.ramet("image", "pull", f"docker-archive:{files}/both.tar", "--name", "wrong", status=2)
    with tarfile.open(f"{files}/out.tar", "w") as archive:
        link = tarfile.TarInfo("index.json")
        link.type, link.linkname = tarfile.SYMTYPE, f"{folder}/index.json"
        archive.addfile(link)
        oci_images.add_to(archive, "../../escaped", b"x")
    home.ramet("image", "pull", f"oci-archive:{files}/out.tar", "--name", "wrong", status=3)
    home.ramet("image", "inspect", "wrong", status=3)
    expect_equal(os.listdir(f"{home.path}/tmp"), [], "what was left")
    expect(not os.path.exists(f"{home.path}/escaped"), "an archive led out")
    for name in ("one", "two", "both"):
        home.ramet("image", "rm", name)


def test_private(home):
    """A registry that asks for a password, which comes from the caller's auth.json."""
    registry = oci_images.Registry(private=True)
    try:
        folder = f"{home.path}-layout"
        oci_images.write_folder(folder, {"x": Image([oci_images.base_layer()])})
        registry.push(folder, "x", "secret:1", "--dest-creds", "tester:secret")
        reference = f"docker://{registry.address}/secret:1"
        error = home.ramet("image", "pull", reference, "--insecure", status=1).err
        expect_match(error, "skopeo login", "hint")
        authfile = f"{home.path}-auth.json"
        subprocess.run(["podman", "login", "--tls-verify=false", "--authfile", authfile, "-u", "tester", "--password-stdin",
                        registry.address], input=b"secret", stdout=subprocess.DEVNULL, check=True)
        home.ramet("image", "pull", reference, "--insecure", env={"REGISTRY_AUTH_FILE": authfile})
        home.ramet("image", "pull", reference, "--insecure", "--authfile", authfile, "--name", "again")
        pushed = f"docker://{registry.address}/out:1"
        expect_match(home.ramet("image", "push", "again", pushed, "--insecure", status=1).err, "skopeo login", "hint of a push")
        home.ramet("image", "push", "again", pushed, "--tls-verify=false", "--authfile", authfile)
        home.ramet("image", "pull", pushed, "--tls-verify=false", "--authfile", authfile)
        home.ramet("image", "rm", "out")
        os.unlink(authfile)
        home.ramet("image", "rm", "secret")
        home.ramet("image", "rm", "again")
    finally:
        registry.close()


def test_policy(home):
    """What the host's policy refuses is refused also when all of it is there already."""
    registry = oci_images.FakeRegistry({"app:1": Image([oci_images.base_layer()])})
    user = f"{home.folder}/user/.config/containers"
    os.makedirs(user)

    def set_policy(**scopes):
        policy = {"default": [{"type": "insecureAcceptAnything"}],
                  "transports": {"docker": {scope: [{"type": kind}] for scope, kind in scopes.items()}}}
        with open(f"{user}/policy.json", "w", encoding="utf-8") as file:
            json.dump(policy, file)

    reference = f"docker://{registry.address}/app:1"
    home.ramet("daemon", "stop", status=None)
    home.env["HOME"] = f"{home.folder}/user"
    try:
        set_policy()
        home.ramet("image", "pull", reference, "--insecure")
        set_policy(**{f"{registry.address}/app": "reject"})
        for name in ("app", "other"):
            error = home.json("image", "pull", reference, "--insecure", "--name", name, status=1)["error"]
            expect_equal((error["code"], "policy.json" in error["hint"]), ("permission", True), str(error))
        expect_equal([image["name"] for image in home.json("image", "ls")], ["app", "busybox"], "images")
        set_policy(**{f"{registry.address}/another": "reject"})
        home.ramet("image", "pull", reference, "--insecure", "--name", "other")
        home.ramet("image", "rm", "app", "other")
    finally:
        registry.close()


def test_cut(home):
    """A registry that breaks off: the next pull fetches what is missing, and a layer of another image is there already."""
    layers = [oci_images.base_layer(), layer(entry("big", os.urandom(1 << 20))), layer(entry("small", b"s"))]
    first = Image(layers, kind=oci_images.DOCKER)
    second = Image(layers + [layer(entry("more", b"m"))])
    registry = oci_images.FakeRegistry({"app:1": first, "app:2": second})
    try:
        big = first.manifest["layers"][1]["digest"]
        registry.cut.add(big)
        error = home.ramet("image", "pull", f"docker://{registry.address}/app:1", "--insecure", status=1).err
        expect("app:1" in error, error)
        registry.cut.clear()
        registry.asked.clear()
        home.ramet("image", "pull", f"docker://{registry.address}/app:1", "--insecure")
        expect_match(look(home, "app", "/big"), f"Size: {1 << 20}", "the layer that broke off")
        expect(big in registry.asked, "the layer that broke off was fetched")
        expect(first.manifest["layers"][0]["digest"] not in registry.asked, "the layer that had come was fetched again")
        registry.asked.clear()
        home.ramet("image", "pull", f"docker://{registry.address}/app:2", "--insecure", "--name", "app2")
        for item in second.manifest["layers"][:-1]:
            expect(item["digest"] not in registry.asked, f"{item['digest']} came again")
        registry.asked.clear()
        home.ramet("image", "pull", f"docker://{registry.address}/app:2", "--insecure", "--name", "app2")
        expect_equal(registry.asked, [second.top["digest"]], "what a second pull asks for")
        home.ramet("image", "rm", "app")
        home.ramet("image", "rm", "app2")
    finally:
        registry.close()


def skopeos(home):
    """The ids of the home's skopeo processes."""
    found = []
    for pid in harness.processes_of(home.path):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                found += [pid] if file.read() == "skopeo\n" else []
    return found


def test_killed(home):
    """kill -9 of skopeo, and of the daemon, while a layer comes: it is told, nothing is half made, and the next pull succeeds."""
    image = Image([oci_images.base_layer(), layer(entry("big", os.urandom(1 << 20)))])
    registry = oci_images.FakeRegistry({"app:1": image})
    reference = f"docker://{registry.address}/app:1"
    big = image.manifest["layers"][1]["digest"]

    def begin():
        registry.held.add(big)
        registry.waits.clear()
        registry.go.clear()
        pull = home.start("image", "pull", reference, "--insecure")
        expect(registry.waits.wait(harness.BOUND), "the layer was not asked for")
        return pull

    def end(pull):
        error = pull.communicate(timeout=harness.BOUND)[1].decode()
        expect_equal(pull.returncode, 1, error)
        registry.held.clear()
        registry.go.set()
        harness.wait_until(lambda: not skopeos(home), "the end of skopeo")
        home.ramet("image", "inspect", "app", status=3)
        expect_equal(os.listdir(f"{home.path}/tmp"), [], "scratch")
        return error
    try:
        pull = begin()
        for pid in skopeos(home):
            os.kill(pid, signal.SIGKILL)
        expect_match(end(pull), "app:1.*skopeo.*signal", "what is told of skopeo's end")
        pull = begin()
        base = image.manifest["layers"][0]["digest"]
        cached = f"{home.path}/oci/sha256/{base.removeprefix('sha256:')}"
        harness.wait_until(lambda: os.path.exists(cached), "the layer that is not held")
        home.kill_daemon()
        end(pull)
        registry.asked.clear()
        home.ramet("image", "pull", reference, "--insecure")
        expect(base not in registry.asked, "the layer that had come was fetched again")
        expect_match(look(home, "app", "/big"), f"Size: {1 << 20}", "the layer")
        home.ramet("image", "rm", "app")
    finally:
        registry.close()


@contextlib.contextmanager
def little_room(folder, size):
    """A file system of that size in the place of a folder."""
    os.makedirs(folder, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder],
                                           check=False).returncode != 0:
        raise harness.Skip("a small file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_no_room(home):
    """A full disk, where the layers come to and where the image's disk is made."""
    folder = f"{home.path}-layout"
    image = Image([layer(entry("big", os.urandom(4 << 20)))])
    oci_images.write_folder(folder, {"x": image})
    registry = oci_images.FakeRegistry({"app:1": image})
    references = [[f"docker://{registry.address}/app:1", "--insecure"], [f"oci:{folder}:x", "--name", "app"]]
    home.ramet("image", "ls")
    try:
        for reference in references:
            with little_room(f"{home.path}/tmp", "3m"):
                error = home.ramet("image", "pull", *reference, "--json", status=1).json()["error"]
                expect_equal((error["code"], "room" in error.get("hint", "")), ("no_space", True), f"{error}")
                expect_equal(os.listdir(f"{home.path}/tmp"), [], "scratch")
        expect_equal([image["name"] for image in home.json("image", "ls")], ["busybox"], "images")
        home.ramet("image", "pull", *references[0])
        home.ramet("image", "rm", "app")
    finally:
        registry.close()


def umoci(*words):
    rootless = ["--rootless"] if os.geteuid() != 0 and words[0] == "unpack" else []
    subprocess.run(["umoci", *words[:1], *rootless, *words[1:]], stdout=subprocess.DEVNULL, check=True)


def test_umoci(home):
    """An image as umoci(1) makes it, one layer over the other."""
    folder, bundle = f"{home.path}-umoci", f"{home.path}-bundle"
    root = f"{bundle}/rootfs"
    umoci("init", "--layout", folder)
    umoci("new", "--image", f"{folder}:one")
    umoci("unpack", "--image", f"{folder}:one", bundle)
    for name in ("bin", "old", "kept"):
        os.mkdir(f"{root}/{name}")
    shutil.copy(oci_images.BUSYBOX, f"{root}/bin/busybox")
    for name in ("sh", "cat"):
        os.link(f"{root}/bin/busybox", f"{root}/bin/{name}")
    for name in ("gone", "old/a", "kept/a", "kept/b"):
        with open(f"{root}/{name}", "w", encoding="utf-8") as file:
            file.write("one\n")
    os.setxattr(f"{root}/kept/a", "user.colour", b"blue")
    umoci("repack", "--image", f"{folder}:one", bundle)
    shutil.rmtree(bundle)
    umoci("unpack", "--image", f"{folder}:one", bundle)
    os.unlink(f"{root}/gone")
    shutil.rmtree(f"{root}/old")
    os.unlink(f"{root}/kept/b")
    os.symlink("/bin/cat", f"{root}/old")
    umoci("repack", "--image", f"{folder}:two", bundle)
    umoci("config", "--image", f"{folder}:two", "--config.cmd", "/bin/cat", "--config.cmd", "/kept/a")
    home.ramet("image", "pull", f"oci:{folder}:two", "--name", "two")
    expect_match(look(home, "two", "/bin/cat"), "Links: 3", "hard links")
    expect_match(look(home, "two", "/old"), "Type: symlink", "a folder that became a link")
    expect_match(look(home, "two", "/kept/a"), "user.colour.*blue", "attribute")
    for path in ("/gone", "/kept/b"):
        expect_match(look(home, "two", path), "not found", path)
    expect_equal(home.json("image", "inspect", "two")["config"]["command"], ["/bin/cat", "/kept/a"], "command")
    home.ramet("image", "rm", "two")
    shutil.rmtree(bundle)


def test_lies(home):
    """Digests that lie are found out wherever they are."""
    folder = f"{home.path}-lies"
    image = Image([oci_images.base_layer(), layer(entry("x", b"x"))])
    names = {"manifest": image.top["digest"], "config": image.manifest["config"]["digest"],
             "layer": image.manifest["layers"][1]["digest"]}
    for what, name in names.items():
        changed = Image([oci_images.base_layer(), layer(entry("x", b"x"))])
        data = changed.blobs[name]
        changed.blobs[name] = data.replace(b'"amd64"', b'"AMD64"') if what == "config" else \
            data.replace(b'"layers"', b' "layers"') if what == "manifest" else layer(entry("x", b"evil"))
        oci_images.write_folder(folder, {what: changed})
        error = home.ramet("image", "pull", f"oci:{folder}:{what}", "--name", "liar", status=1).err
        expect_match(error, "digest", what)
    changed = Image([oci_images.base_layer()])
    changed.config["rootfs"]["diff_ids"] = [oci_images.digest(b"other")]
    changed.manifest["config"] = changed.add(json.dumps(changed.config).encode(), image.manifest["config"]["mediaType"])
    changed.top = changed.finish()
    oci_images.write_folder(folder, {"decoded": changed})
    expect_match(home.ramet("image", "pull", f"oci:{folder}:decoded", "--name", "liar", status=1).err, "decodes to", "diff_id")
    registry = oci_images.FakeRegistry({"liar:1": image})
    try:
        registry.changed[image.top["digest"]] = image.blobs[image.top["digest"]].replace(b'"layers"', b' "layers"')
        home.ramet("image", "pull", f"docker://{registry.address}/liar@{image.top['digest']}", "--insecure", status=1)
    finally:
        registry.close()


def test_hostile(home):
    """What a layer must not do is an error that names the entry, and nothing stays."""
    folder = f"{home.path}-hostile"
    hostile = {
        "out": [entry("../../out", b"x")],
        "whiteout": [entry("a/.wh...")],
        "link": [entry("l", type=tarfile.LNKTYPE, linkname="../../../etc/passwd")],
        "loop": [entry("a", type=tarfile.SYMTYPE, linkname="b"), entry("b", type=tarfile.SYMTYPE, linkname="a"),
                 entry("a/x", b"x")],
        "deep": [entry("d/" * 300 + "f", b"x")],
    }
    for what, entries in hostile.items():
        oci_images.write_folder(folder, {what: Image([oci_images.base_layer(), layer(*entries)])})
        error = home.ramet("image", "pull", f"oci:{folder}:{what}", "--name", "hostile", status=1).err
        expect_match(error, "entry ", what)
    # a link to the host's root leads to the guest's
    oci_images.write_folder(folder, {"host": Image([oci_images.base_layer(), layer(
        entry("up", type=tarfile.SYMTYPE, linkname="../../../../../../tmp"), entry("up/ramet-was-here", b"in\n"))])})
    home.ramet("image", "pull", f"oci:{folder}:host", "--name", "hostile")
    expect(not os.path.exists("/tmp/ramet-was-here"), "a file outside")
    expect_match(look(home, "hostile", "/tmp/ramet-was-here"), "Size: 3", "inside")
    home.ramet("image", "rm", "hostile")
    expect(not [name for name in os.listdir(f"{home.path}/tmp") if name.startswith("oci")], "scratch stays")


if __name__ == "__main__":
    harness.main()
