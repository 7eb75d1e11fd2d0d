#!/usr/bin/env python3
"""The API's description of itself, against what the daemon answers."""
import json
import os
import re
import urllib.parse

import harness
import oci_images
from harness import expect, expect_equal

# What answers have that test_documents_are_as_described would take long to be given.
NOT_MADE = {"GoneVM", "ImageSeed", "Limits", "NamedError", "ProgramEnd", "RecipeStep"}


class Described:
    """The API, with each answer held against the description that the daemon gives of it."""
    TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}

    def __init__(self, home):
        self.home = home
        self.seen = set()  # schemas of which there was a document
        self.paths, self.schemas = {}, {}
        description = self.ask("GET", "/v1/openapi.json")
        self.paths, self.schemas = description["paths"], description["components"]["schemas"]

    def ask(self, method, path, argument="", query="", lines=False, status="200", **body):
        """The answer, or with `lines` a list of those; `argument` takes the place of the path's only parameter."""
        url = re.sub(r"\{\w+\}", urllib.parse.quote(argument, safe=""), path) + query
        connection = harness.LocalConnection(f"{self.home.path}/ramet.sock")
        connection.request(method, url, json.dumps(body) if body else None, {"Accept": "application/x-ndjson"} if lines else {})
        response = connection.getresponse()
        text = response.read().decode()
        expect(response.status == 200 or status == "default", f"{method} {url}: {text}")
        answers = [json.loads(line) for line in text.splitlines()] if lines else [json.loads(text)]
        if self.paths:
            content = self.paths[path][method.lower()]["responses"][status]["content"]
            schema = content["application/x-ndjson" if lines else "application/json"]["schema"]
            for answer in answers:
                wrong = self.find_wrong(schema, answer, url)
                expect(not wrong, wrong)
        return answers if lines else answers[0]

    def find_wrong(self, schema, value, where):
        """None when all that is there is described, all that is required is there, and each is what it is said to be."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            wrong = self.find_wrong(self.schemas[name], value, f"{where} ({name})")
            if not wrong:
                self.seen.add(name)
            return wrong
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            wrongs = [self.find_wrong(choice, value, where) for choice in choices]
            return None if None in wrongs else ", or ".join(wrongs)
        found, types = self.TYPES[type(value)], schema.get("type", [])
        types = types if isinstance(types, list) else [types]
        if found not in types and not (found == "integer" and "number" in types):
            return f"{where} is {found}, not {types}: {value!r}"
        if found == "array":
            wrongs = (self.find_wrong(schema.get("items", {"type": self.TYPES[type(item)]}), item, f"{where}[{i}]")
                      for i, item in enumerate(value))
            return next((wrong for wrong in wrongs if wrong), None)
        if "properties" in schema and found == "object":
            return self.find_wrong_member(schema, value, where)
        return None

    def find_wrong_member(self, schema, value, where):
        for key in schema.get("required", []):
            if key not in value:
                return f"{where}.{key} is missing"
        for key, member in value.items():
            if key not in schema["properties"]:
                return f"{where}.{key} is not described"
            wrong = self.find_wrong(schema["properties"][key], member, f"{where}.{key}")
            if wrong:
                return wrong
        return None


def make_disks(api, folder):
    """Seeds, volumes, an image with a program, and VMs that have them and never ran."""
    os.mkdir(f"{folder}/seed")
    oci_images.write_folder(f"{folder}/oci", {"program": oci_images.Image(
        [oci_images.base_layer()], {"Cmd": ["true"], "Env": ["A=b"], "User": "worker", "Labels": {"role": "test"}})})
    api.ask("POST", "/v1/seeds", name="seed", **{"from": f"{folder}/seed"})
    api.ask("POST", "/v1/volumes", name="empty", size=8 << 20)
    api.ask("POST", "/v1/volumes", name="copy", seed="seed")
    api.ask("POST", "/v1/images/pull", reference=f"oci:{folder}/oci:program", name="program")
    api.ask("POST", "/v1/vms", image="program", name="p", start=False)
    api.ask("POST", "/v1/vms", image="busybox", name="c", start=False, seeds=["seed:/seed"], volumes=["copy:/copy:ro"], env=["A=b"],
            labels={"role": "test"}, forwards=[{"host_port": 0, "guest_port": 80}], restart="always", ttl_ms=3600000)
    for kind, name in (("seed", "seed"), ("volume", "copy")):
        api.ask("GET", f"/v1/{kind}s")
        expect_equal([user["name"] for user in api.ask("GET", f"/v1/{kind}s/{{{kind}}}", name)["users"]], ["c"], f"users of the {kind}")
    image = api.ask("GET", "/v1/images/{image}", "busybox")
    expect_equal(api.ask("GET", "/v1/images/{image}", image["id"]), image, "the image by its id")
    api.ask("GET", "/v1/images")


def use_lab(api):
    """A lab of one VM, which runs, and stops."""
    api.ask("POST", "/v1/labs", name="l", networks=[{"name": "n"}],
            vms=[{"name": "v", "image": "busybox", "networks": ["n"], "net_limit": "in=1G"}])
    for target in ("l/n", "l/v"):
        api.ask("POST", "/v1/networks/{network}/impair", target, latency_us=1000)
    api.ask("GET", "/v1/networks")
    api.ask("GET", "/v1/networks/{network}", "l/n")
    for what in ("", "/agent", "/stages"):
        api.ask("GET", "/v1/vms/{vm}" + what, "l/v")
    api.ask("GET", "/v1/stats", query="?vm=l%2Fv&vm=c&interval_ms=1")
    api.ask("GET", "/v1/vms/{vm}/files/stat", "l/v", query="?path=/bin/sh")
    api.ask("POST", "/v1/vms/{vm}/exec", "l/v", argv=["echo", "a"])
    api.ask("POST", "/v1/vms/{vm}/exec", "l/v", lines=True, argv=["echo", "a"])
    command = api.ask("POST", "/v1/vms/{vm}/exec", "l/v", argv=["sleep", "600"], detach=True)["id"]
    expect_equal([one["id"] for one in api.ask("GET", "/v1/vms/{vm}/exec", "l/v")], [command], "detached commands")
    api.ask("POST", "/v1/vms/{vm}/exec/wait", "l/v", id=command, timeout_s=0)
    api.ask("POST", "/v1/labs/{lab}/snapshot", "l", name="ls")
    api.ask("GET", "/v1/lab-snapshots")
    api.ask("POST", "/v1/lab-fork", source="ls", name="lf", count=1)
    api.ask("POST", "/v1/vms/{vm}/stop", "l/v")
    api.ask("POST", "/v1/vms/{vm}/wait", "l/v")
    api.ask("GET", "/v1/labs/{lab}", "l")


def use_snapshot(api):
    """A snapshot, a pool of its clones, and one of them that runs."""
    api.ask("POST", "/v1/vms", image="busybox", name="v")
    api.ask("POST", "/v1/vms/{vm}/snapshot", "v", name="s")
    api.ask("GET", "/v1/snapshots/{snapshot}", "s")
    api.ask("GET", "/v1/snapshots", query="?all=1")
    api.ask("POST", "/v1/snapshots/{snapshot}/verify", "s")
    api.ask("POST", "/v1/pools", source="s", count=1)
    api.ask("GET", "/v1/pools")
    api.ask("POST", "/v1/fork", source="s", name="f", keep_going=True)
    api.ask("POST", "/v1/pools", source="s", count=0)
    api.ask("GET", "/v1/snapshot-tree")
    api.ask("GET", "/v1/vms", query="?all=1")


def remove_all(api):
    api.ask("GET", "/v1/df")
    api.ask("GET", "/v1/df", query="?items=1")
    api.ask("POST", "/v1/prune", all=True, dry_run=True)
    api.ask("DELETE", "/v1/vms/{vm}", "c")
    api.ask("DELETE", "/v1/vms/{vm}", "v", query="?force=1")
    for lab in ("l", "lf"):
        api.ask("DELETE", "/v1/labs/{lab}", lab)
    api.ask("DELETE", "/v1/lab-snapshots/{snapshot}", "ls")
    gone = api.ask("DELETE", "/v1/snapshots/{snapshot}", "s", query="?cascade=1")
    expect_equal(gone, {"snapshots": ["s"], "vms": ["f"]}, "what went")
    api.ask("POST", "/v1/prune", all=True)


def test_documents_are_as_described(home):
    """What the daemon answers is what it says of itself in /v1/openapi.json."""
    home.ramet("ps")  # starts the daemon
    api = Described(home)
    for path in ("/v1/version", "/v1/doctor"):
        api.ask("GET", path)
    api.ask("GET", "/v1/vms/{vm}", "nosuch", status="default")
    make_disks(api, home.folder)
    use_lab(api)
    use_snapshot(api)
    remove_all(api)
    api.ask("GET", "/v1/events", lines=True)
    answers = set(api.schemas) - {"Exec", "ExecLine", "LabNetwork", "LabVM"}  # those are of requests
    expect_equal(answers - api.seen - NOT_MADE, set(), "what was never answered")


def test_finds_what_is_not_described(home):
    home.ramet("ps")
    api = Described(home)
    version = api.ask("GET", "/v1/version")
    for wrong in ({**version, "more": 1}, {**version, "pid": None}, {**version, "pid": True}, {"version": "1"}, None):
        expect(api.find_wrong({"$ref": "/Version"}, wrong, "it"), f"{wrong} is taken for a version")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
