"""What a loopback Hub keeps on disk: repositories, their refs and commits, and the objects that they are made of.

repos/USER/NAME.json    private or not, when it was made, and its refs
commits/ID.json         parent, message and the whole tree: path -> {oid, size, lfs}
objects/OID             a regular file, by its git blob id
lfs/SHA256              an LFS object
incoming/               uploads that have not ended, and parts
"""

import base64
import fnmatch
import hashlib
import json
import os
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path

LFS_ENDINGS = ("parquet", "arrow", "bin", "gz", "zip", "tar", "npy", "safetensors", "jpg", "jpeg", "png", "webp")
ATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_ENDINGS).encode()
"""The .gitattributes that a repository is created with."""


class Refused(Exception):
    """A request that is answered by an error, as the client reads it: a status, a message and an X-Error-Code."""

    def __init__(self, status, message, code=None, **fields):
        super().__init__(message)
        self.status, self.message, self.code, self.fields = status, message, code, fields


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def blob_id(content):
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256, size):
    """The text that git keeps in place of an LFS object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def write(path, content):
    """All of a file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    new.write_bytes(content)
    os.replace(new, path)


class Store:
    """The state of a Hub. Whatever changes it holds its lock, and is on disk when it returns."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.lock = threading.RLock()
        for name in ("repos", "commits", "objects", "lfs", "incoming"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        records = (self.folder / "repos").glob("*/*.json")
        self.repos = {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in records}
        self.commits = {path.stem: json.loads(path.read_text()) for path in (self.folder / "commits").glob("*.json")}

    def save(self, repo):
        write(self.folder / "repos" / f"{repo}.json", json.dumps(self.repos[repo], indent=1).encode())

    def create(self, repo, private, user):
        """A repository as the Hub makes it: with a first commit that holds .gitattributes."""
        with self.lock:
            self.repos[repo] = {"private": private, "created": now(), "refs": {}}
            tree = {".gitattributes": self.add_regular(ATTRIBUTES)}
            self.repos[repo]["refs"]["refs/heads/main"] = self.add_commit(repo, None, tree, "initial commit", "", user)
            self.save(repo)

    def lfs(self, sha256):
        return self.folder / "lfs" / sha256

    def path(self, entry):
        """Where the content of a file of a tree is."""
        return self.lfs(entry["lfs"]) if entry["lfs"] else self.folder / "objects" / entry["oid"]

    def add_regular(self, content):
        oid = blob_id(content)
        write(self.folder / "objects" / oid, content)
        return {"oid": oid, "size": len(content), "lfs": None}

    def add_lfs(self, sha256):
        """An LFS object in a tree; it must have been uploaded before."""
        if not self.lfs(sha256).exists():
            raise Refused(400, f"LFS pointer pointed to a file that does not exist: {sha256}")
        size = self.lfs(sha256).stat().st_size
        return {"oid": blob_id(pointer(sha256, size)), "size": size, "lfs": sha256}

    def is_lfs(self, tree, path, size, threshold):
        """Whether a file is kept by LFS: because of .gitattributes, or for its size."""
        lines = self.path(tree[".gitattributes"]).read_text().splitlines() if ".gitattributes" in tree else []
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line.split()[1:]]
        return size >= threshold or any(fnmatch.fnmatch(path.rpartition("/")[2], pattern) for pattern in patterns)

    def ref(self, repo, revision):
        """The full name of a branch, tag or pull request; None if there is none."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        return next((name for name in names if name in self.repos[repo]["refs"]), None)

    def resolve(self, repo, revision):
        """The commit of a branch, tag or pull request, or of (the beginning of) a commit id."""
        if name := self.ref(repo, revision):
            return self.commits[self.repos[repo]["refs"][name]]
        for oid, commit in list(self.commits.items()):
            if len(revision) >= 5 and oid.startswith(revision) and commit["repo"] == repo:
                return commit
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def set_ref(self, repo, name, revision):
        """A new branch or tag."""
        with self.lock:
            refs = self.repos[repo]["refs"]
            if name in refs:
                raise Refused(409, f"Reference already exists: {name}")
            refs[name] = self.resolve(repo, revision)["id"]
            self.save(repo)

    def drop_ref(self, repo, name):
        with self.lock:
            if self.repos[repo]["refs"].pop(name, None) is None:
                raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
            self.save(repo)

    def history(self, repo, revision):
        """The commits of a revision, the newest first."""
        commit = self.resolve(repo, revision)
        while commit:
            yield commit
            commit = self.commits.get(commit["parent"])

    def commit(self, repo, revision, operations, message, description, user, parent=None, create_pr=False):
        """Commit onto a branch or pull request, or onto a pull request of its own: (commit, ref)."""
        with self.lock:
            name, base = self.ref(repo, revision), self.resolve(repo, revision)
            if create_pr:
                base = self.resolve(repo, parent) if parent else base
                name = f"refs/pr/{self.ask(repo, message, user, self.ref(repo, revision) or revision)}"
            elif name is None or name.startswith("refs/tags/"):
                raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            elif parent and not base["id"].startswith(parent):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            tree = dict(base["tree"])
            for kind, value in operations:
                self.apply(tree, kind, value)
            oid = self.add_commit(repo, base, tree, message, description, user)
            self.repos[repo]["refs"][name] = oid
            self.save(repo)
            return self.commits[oid], name

    def ask(self, repo, title, user, base):
        """Open a pull request; returns its number."""
        known = self.repos[repo].setdefault("requests", [])
        known.append({"num": 1 + len(known), "title": title, "author": user, "base": base, "status": "open"})
        known[-1]["created"] = now()
        return len(known)

    def merge(self, repo, number, user):
        """Bring onto main what a pull request changed since it left it, as one commit."""
        with self.lock:
            asked, main = self.resolve(repo, f"refs/pr/{number}"), self.resolve(repo, "main")
            known = {commit["id"] for commit in self.history(repo, "main")}
            base = next(commit for commit in self.history(repo, f"refs/pr/{number}") if commit["id"] in known)
            tree = {
                path: entry for path, entry in main["tree"].items() if path in asked["tree"] or path not in base["tree"]
            }
            tree |= {path: entry for path, entry in asked["tree"].items() if base["tree"].get(path) != entry}
            oid = self.add_commit(repo, main, tree, f"Merge pull request {number}", "", user)
            self.repos[repo]["refs"][self.ref(repo, "main")] = oid
            self.repos[repo]["requests"][int(number) - 1]["status"] = "merged"
            self.save(repo)

    def apply(self, tree, kind, value):
        """One line of a commit's body, done to a tree."""
        path = value["path"]
        if kind == "file":
            tree[path] = self.add_regular(base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            tree[path] = self.add_lfs(value["oid"])
        elif kind in ("deletedFile", "deletedFolder"):
            folder = path.rstrip("/") + "/"
            gone = [p for p in tree if (p.startswith(folder) if kind == "deletedFolder" else p == path)]
            if not gone:
                raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for name in gone:
                del tree[name]
        else:
            raise Refused(400, f"unknown operation: {kind}")

    def add_commit(self, repo, base, tree, message, description, user):
        """Write a commit; returns its id."""
        before = base["tree"] if base else {}
        commit = {
            "repo": repo,
            "parent": base["id"] if base else None,
            "message": message,
            "description": description,
            "user": user,
            "date": now(),
            "added": sorted(path for path in tree if tree[path] != before.get(path)),
            "deleted": sorted(before.keys() - tree.keys()),
            "tree": dict(sorted(tree.items())),
        }
        oid = hashlib.sha1(json.dumps([len(self.commits), commit]).encode()).hexdigest()
        self.commits[oid] = {"id": oid, **commit}
        write(self.folder / "commits" / f"{oid}.json", json.dumps(self.commits[oid], indent=1).encode())
        return oid
