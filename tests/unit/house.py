#!/usr/bin/env python3
"""Who uses whom in src, and how large things are: house.py SOURCE_FOLDER BUILD_FOLDER

A file uses another when it includes it, or when its object file has a symbol undefined that the other's defines. A source
and its header of the same name are one. A room is a folder that has a row in docs/architecture.md's table; the last column
says whom it may use. What is wrong is printed, and the exit status is 1.
"""
import collections
import glob
import json
import os
import re
import subprocess
import sys

FILE_LINES, HEADER_LINES, FUNCTION_LINES, FOLDER_LINES = 600, 200, 60, 4000
FLAT_FOLDERS = ("cli",)  # one file a verb
HEADER_USERS = 15  # files of other rooms; who has more is a room's face and is listed


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def list_sources():
    """"base/str.c" …, without src/."""
    return sorted(path.removeprefix("src/") for path in glob.glob("src/**/*.[ch]", recursive=True))


def unit(path):
    """A source and its header."""
    return os.path.splitext(path)[0]


# --- the graph -----------------------------------------------------------------------------------


def includes(sources):
    """(who, whom) as files."""
    known = set(sources)
    for path in sources:
        for name in re.findall(r'^#include "([^"]+)"', read("src/" + path), re.MULTILINE):
            if name in known:
                yield path, name


def objects(build):
    """(object file, source) of all that is built of src, from Meson's list of compilations."""
    for entry in json.loads(read(f"{build}/compile_commands.json")):
        source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), "src")
        output = os.path.join(build, entry["output"])
        if not source.startswith("..") and os.path.exists(output):
            yield output, source


def symbol_uses(build):
    """(who, whom) as files. Of several that define a symbol the one in the user's own part of src is meant: agent links no base."""
    source_of = dict(objects(build))
    defined, wanted = collections.defaultdict(set), collections.defaultdict(set)
    listing = subprocess.run(["nm", "-A", "-g", "-P", *source_of], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        output, symbol, kind = line.split()[:3]
        source = source_of[output.rstrip(":")]
        (wanted if kind in "Uwv" else defined)[symbol].add(source)
    for symbol in wanted:
        for source in wanted[symbol]:
            own = {path for path in defined[symbol] if path.split("/")[0] == source.split("/")[0]}
            for path in (own or defined[symbol]):
                if symbol != "main":
                    yield source, path


def circles(edges):
    """The strongly connected components of more than one (Tarjan)."""
    graph = collections.defaultdict(set)
    for who, whom in edges:
        graph[who].add(whom)
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(component) > 1:
                found.append(sorted(component))
    sys.setrecursionlimit(10000)
    for node in list(graph):
        if node not in index:
            visit(node)
    return found


def check_circles(edges):
    for circle in circles({(unit(who), unit(whom)) for who, whom in edges if unit(who) != unit(whom)}):
        yield "a circle: " + " ".join(circle)


# --- rooms ---------------------------------------------------------------------------------------


def split_table():
    """(room, what it may use) of each row of docs/architecture.md's table of folders."""
    rows = read("docs/architecture.md").split("\n| folder ")[1].split("\n\n")[0].splitlines()[2:]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        yield cells[0], cells[-1]


def expand(word, rooms, user):
    """The rooms that a word of the last column means: a name, for strangers with the rooms in it, "all above", "A … B", "A/…"."""
    if word == "all above":
        return list(rooms)
    if word.endswith("/…"):
        return [room for room in rooms if room.startswith(word[:-1])]
    if " … " in word:
        first, last = (list(rooms).index(end) for end in word.split(" … "))
        return list(rooms)[first:last + 1]
    strangers = not user.startswith(word.split("/")[0] + "/") and user != word.split("/")[0]
    return [word, *(room for room in rooms if strangers and room.startswith(word + "/"))] if word != "–" else []


def read_rooms():
    """{room: {room that it may use: names of units there, or none for all}}"""
    rooms = {}
    for name, column in split_table():
        rooms[name] = {name: []}
        for word in re.findall(r"[^,(]+(?:\([^)]*\))?", column):
            rest = word.partition("(")
            units = [unit(part) for part in re.findall(r"[\w.]+", rest[2])]
            rooms[name].update(dict.fromkeys(expand(rest[0].strip(), rooms, name), units))
    return rooms


def check_rooms(edges):
    rooms = read_rooms()
    for who, whom in edges:
        room, other = os.path.dirname(who), os.path.dirname(whom)
        if room not in rooms:
            yield f"src/{room} has no row in docs/architecture.md"
        elif other not in rooms[room] or rooms[room][other] and unit(os.path.basename(whom)) not in rooms[room][other]:
            yield f"src/{who} uses {whom}, which docs/architecture.md does not allow"
    for room in rooms:
        if not glob.glob(f"src/{room}/*.[ch]"):
            yield f"docs/architecture.md has a row for src/{room}, which is not there"


def check_faces(edges):
    """A header that many rooms know is a door, and doors are listed."""
    listed = re.search(r"^Faces: ((?:.|\n)*?)\n\n", read("docs/architecture.md"), re.MULTILINE)
    faces = set(re.findall(r"`([\w/]+\.h)`", listed[1])) if listed else set()
    users = collections.Counter(whom for who, whom in edges if os.path.dirname(who) != os.path.dirname(whom))
    for path, count in sorted(users.items()):
        if count > HEADER_USERS and path not in faces:
            yield f"src/{path} is included by {count} files of other rooms, and is no face in docs/architecture.md"
    for path in faces:
        if not os.path.exists("src/" + path):
            yield f"docs/architecture.md lists {path} as a face, which is not there"


# --- sizes ---------------------------------------------------------------------------------------


def functions(text):
    """(name, lines) of each function, its signature included."""
    start = None
    for number, line in enumerate(text.splitlines()):
        if re.match(r"[A-Za-z_]", line) and start is None:
            start, head = number, ""
        if start is not None:
            head += line
            if line.endswith(";") and "{" not in head or line == "};":
                start = None
            elif line == "}":
                if "(" in head.split("{")[0] and "=" not in head.split("{")[0]:
                    yield re.findall(r"(\w+)\(", head)[0], number - start + 1
                start = None


def check_sizes(sources):
    folders = collections.Counter()
    for path in sources:
        text = read("src/" + path)
        lines = text.count("\n")
        folders[os.path.dirname(path)] += lines
        limit = HEADER_LINES if path.endswith(".h") else FILE_LINES
        if lines > limit:
            yield f"src/{path} has {lines} lines, more than {limit}: split it"
        for name, length in functions(text):
            if length > FUNCTION_LINES:
                yield f"src/{path}: {name} has {length} lines, more than {FUNCTION_LINES}"
    for folder, lines in folders.items():
        if lines > FOLDER_LINES and folder not in FLAT_FOLDERS:
            yield f"src/{folder} has {lines} lines, more than {FOLDER_LINES}: make rooms of it"


def main(source, build):
    build = os.path.abspath(build)
    os.chdir(source)
    sources = list_sources()
    included = set(includes(sources))
    edges = included | set(symbol_uses(build))
    found = {*check_circles(edges), *check_rooms(edges), *check_faces(included), *check_sizes(sources)}
    wrong = sorted(found)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
