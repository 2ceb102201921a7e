"""The paths of a loopback Hub: what the client asks of one for a dataset repository, and what it expects to be told."""

import hashlib
import json
import math
import os
import re
import uuid
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from hub_http import Answer, Connection, answer_error, answer_json
from hub_store import Refused, blob_id, pointer

READ, CONTRIBUTE, WRITE = "read", "contribute", "write"
"""What a request needs to be let: to see the repository, any write token besides, or its owner's write token."""
ROUTES = []


def route(method, path, need=None):
    """A method of the handler that answers requests of this path, if the one who asks may do what it `need`s."""
    names = {"{repo}": r"(?P<repo>[^/]+/[^/]+?)", "{path}": r"(?P<path>.+)", "{oid}": r"(?P<oid>[0-9a-f]{64})"}
    pattern = re.sub(r"\{\w+\}", lambda name: names.get(name[0], rf"(?P<{name[0][1:-1]}>[^/]+)"), path)

    def register(function):
        ROUTES.append((method, re.compile(pattern), need, function))
        return function

    return register


def asks_private(asked):
    """Whether a repository is to be private; None if that is not said."""
    return asked["visibility"] == "private" if "visibility" in asked else asked.get("private")


def pointer_size(entry):
    return len(pointer(entry["lfs"], entry["size"]))


def dated(commit):
    return {"id": commit["id"], "date": commit["date"]}


def told(repo, asked):
    """A pull request as a list tells it."""
    whose = {"author": {"name": asked["author"]}, "repo": {"name": repo, "type": "dataset"}, "isPullRequest": True}
    return {
        "num": asked["num"],
        "title": asked["title"],
        "status": asked["status"],
        "createdAt": asked["created"],
        **whose,
    }


def folders(path):
    """The folders that a file is in, the outermost first."""
    return [folder.as_posix() for folder in reversed(Path(path).parents) if folder.name]


def sibling(path, entry):
    """A file as `files_metadata` tells it."""
    lfs = {"sha256": entry["lfs"], "size": entry["size"], "pointerSize": pointer_size(entry)}
    found = {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]}
    return {**found, "lfs": lfs} if entry["lfs"] else found


class Handler(Connection):
    """The routes, each a method of its own."""

    def routed(self):
        url = urlsplit(self.path)
        if url.netloc or self.command == "CONNECT":
            raise Refused(404, "the loopback Hub is no way out")
        self.query = dict(parse_qsl(url.query))
        self.user, self.role = self.identity()
        for method, pattern, need, function in ROUTES:
            match = pattern.fullmatch(url.path)
            if match and method == self.command.replace("HEAD", "GET"):
                values = {name: unquote(value) for name, value in match.groupdict().items()}
                self.allow(values.get("repo"), need)
                return function(self, **values)
        raise Refused(404, f"the loopback Hub has no {self.command} {url.path}")

    def identity(self):
        """Who asks, and in which role; nobody without a token."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.record["user"] = self.hub.tokens[token][0] if token else None
        return self.hub.tokens[token] if token else (None, None)

    def allow(self, repo, need):
        """Refuse who may not.

        A 401 says RepoNotFound, because the client would take it for that at an https address only.
        """
        if need is None:
            return
        known = self.store.repos.get(repo)
        owner = self.user == repo.partition("/")[0]
        if known is None or (known["private"] and not owner):
            raise Refused(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if need != READ and self.user is None:
            raise Refused(401, "Invalid username or password.", "RepoNotFound")
        if need != READ and self.role != "write":
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        if need == WRITE and not owner:
            raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")

    def page(self, items):
        """A page of a list, and a link to the next one."""
        begin, size = int(self.query.get("cursor", 0)), self.hub.page_size
        headers = {}
        if begin + size < len(items):
            query = urlencode({**self.query, "cursor": begin + size})
            headers["Link"] = f'<{self.hub.endpoint}{urlsplit(self.path).path}?{query}>; rel="next"'
        return answer_json(items[begin : begin + size], **headers)

    # Users and repositories

    @route("GET", "/api/whoami-v2")
    def whoami(self):
        if self.user is None:
            raise Refused(401, "Invalid username or password.")
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.role}}
        names = {"id": self.user, "name": self.user, "fullname": self.user}
        return answer_json({"type": "user", **names, "isPro": False, "orgs": [], "auth": token})

    @route("POST", "/api/repos/create")
    def create(self):
        asked = self.json()
        owner = asked.get("organization") or self.user
        repo = f"{owner}/{asked['name']}"
        if self.user is None:
            raise Refused(401, "Invalid username or password.")
        if self.role != "write" or owner != self.user:
            raise Refused(403, f'You don\'t have the rights to create a dataset under the namespace "{owner}"')
        if asked.get("type") != "dataset":
            raise Refused(400, "the loopback Hub holds datasets only")
        url = f"{self.hub.endpoint}/datasets/{repo}"
        with self.store.lock:
            if repo in self.store.repos:
                raise Refused(409, f"You already created this dataset repo: {repo}", url=url)
            self.store.create(repo, asks_private(asked) or False, self.user)
        return answer_json({"url": url, "name": repo, "id": repo})

    @route("GET", "/api/datasets/{repo}", READ)
    @route("GET", "/api/datasets/{repo}/revision/{revision}", READ)
    def info(self, repo, revision="main"):
        known, commit = self.store.repos[repo], self.store.resolve(repo, revision)
        siblings = [{"rfilename": path} for path in commit["tree"]]
        if self.query.get("blobs", "").lower() == "true":
            siblings = [sibling(path, entry) for path, entry in commit["tree"].items()]
        data = {"_id": blob_id(repo.encode())[:24], "id": repo, "author": repo.partition("/")[0], "sha": commit["id"]}
        data |= {"private": known["private"], "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        data |= {"createdAt": known["created"], "lastModified": commit["date"], "siblings": siblings}
        return answer_json({**data, "usedStorage": sum(entry["size"] for entry in commit["tree"].values())})

    @route("GET", "/api/datasets/{repo}/auth-check", READ)
    @route("GET", "/api/datasets/{repo}/auth-check/write", WRITE)
    def auth_check(self, repo):
        return answer_json({})

    @route("PUT", "/api/datasets/{repo}/settings", WRITE)
    def settings(self, repo):
        private = asks_private(self.json())
        with self.store.lock:
            if private is not None:
                self.store.repos[repo]["private"] = private
            self.store.save(repo)
        return answer_json({"private": self.store.repos[repo]["private"]})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        return answer_json(self.hub.validation, 400 if self.hub.validation["errors"] else 200)

    # Revisions

    @route("GET", "/api/datasets/{repo}/refs", READ)
    def refs(self, repo):
        found = {"refs/heads/": [], "refs/tags/": [], "refs/pr/": []}
        for ref, oid in dict(self.store.repos[repo]["refs"]).items():
            kind = next(kind for kind in found if ref.startswith(kind))
            found[kind].append({"name": ref.removeprefix(kind), "ref": ref, "targetCommit": oid})
        data = {"branches": found["refs/heads/"], "converts": [], "tags": found["refs/tags/"]}
        return answer_json({**data, **({"pullRequests": found["refs/pr/"]} if "include_prs" in self.query else {})})

    @route("POST", "/api/datasets/{repo}/tag/{revision}", WRITE)
    def tag(self, repo, revision):
        self.store.set_ref(repo, f"refs/tags/{self.json()['tag']}", revision)
        return answer_json({})

    @route("DELETE", "/api/datasets/{repo}/tag/{tag}", WRITE)
    def drop_tag(self, repo, tag):
        self.store.drop_ref(repo, f"refs/tags/{tag}")
        return answer_json({})

    @route("POST", "/api/datasets/{repo}/branch/{branch}", WRITE)
    def branch(self, repo, branch):
        if branch.startswith("refs/"):
            raise Refused(400, f"Invalid reference for a branch: {branch}")
        self.store.set_ref(repo, f"refs/heads/{branch}", self.json().get("startingPoint", "main"))
        return answer_json({})

    @route("DELETE", "/api/datasets/{repo}/branch/{branch}", WRITE)
    def drop_branch(self, repo, branch):
        if branch == "main":
            raise Refused(403, "Cannot delete refs/heads/main")
        self.store.drop_ref(repo, f"refs/heads/{branch}")
        return answer_json({})

    @route("GET", "/api/datasets/{repo}/commits/{revision}", READ)
    def commits(self, repo, revision):
        return self.page(
            [
                {"title": c["message"], "message": c["description"], "authors": [{"user": c["user"]}], **dated(c)}
                for c in self.store.history(repo, revision)
            ]
        )

    # Files

    @route("GET", "/api/datasets/{repo}/tree/{revision}", READ)
    @route("GET", "/api/datasets/{repo}/tree/{revision}/{path}", READ)
    def tree(self, repo, revision, path=""):
        entries = self.entries(repo, revision)
        inside = {name: entry for name, entry in entries.items() if name.startswith(f"{path}/" if path else "")}
        if path and not inside:
            raise Refused(404, f"{path} does not exist on {revision}", "EntryNotFound")
        if self.query.get("recursive", "").lower() != "true":
            inside = {name: entry for name, entry in inside.items() if name.rpartition("/")[0] == path}
        return self.page(list(inside.values()))

    @route("POST", "/api/datasets/{repo}/paths-info/{revision}", READ)
    def paths_info(self, repo, revision):
        form = parse_qs(b"".join(self.body).decode())
        self.query["expand"] = form.get("expand", [""])[0]
        entries = self.entries(repo, revision)
        return answer_json([entries[path.rstrip("/")] for path in form["paths"] if path.rstrip("/") in entries])

    def entries(self, repo, revision):
        """Every file and folder of a revision, as the client reads it, by path."""
        found = {}
        for path, entry in self.store.resolve(repo, revision)["tree"].items():
            for folder in folders(path):
                oid = blob_id(f"{revision}/{folder}".encode())
                found.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
            found[path] = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
            if entry["lfs"]:
                found[path]["lfs"] = {"oid": entry["lfs"], "size": entry["size"], "pointerSize": pointer_size(entry)}
        if self.query.get("expand", "").lower() == "true":
            for commit in self.store.history(repo, revision):
                for path in commit["added"]:
                    for name in [*folders(path), path]:
                        found.get(name, {}).setdefault("lastCommit", {"title": commit["message"], **dated(commit)})
        return found

    @route("GET", "/datasets/{repo}/resolve/{revision}/{path}", READ)
    def resolve(self, repo, revision, path):
        """A file: a regular one itself, of an LFS object a redirect to where it lies, which is another origin."""
        commit = self.store.resolve(repo, revision)
        entry = commit["tree"].get(path)
        headers = {"X-Repo-Commit": commit["id"]}
        if entry is None:
            answer = answer_error(404, "Entry not found", "EntryNotFound")
            answer.headers |= headers
            return answer
        headers["ETag"] = f'"{entry["oid"]}"'
        if not entry["lfs"]:
            return self.content(self.store.path(entry), headers)
        headers |= {"X-Linked-Etag": f'"{entry["lfs"]}"', "X-Linked-Size": entry["size"]}
        return Answer(302, headers={**headers, "Location": f"{self.hub.storage}/{entry['lfs']}"})

    # Commits

    def needed(self):
        """What an upload needs to be let: anybody's write token, if a pull request is to hold it."""
        return CONTRIBUTE if "create_pr" in self.query else WRITE

    @route("POST", "/api/datasets/{repo}/preupload/{revision}")
    def preupload(self, repo, revision):
        self.allow(repo, self.needed())
        tree = self.store.resolve(repo, revision)["tree"]
        files = []
        for file in self.json()["files"]:
            there = tree.get(file["path"])
            lfs = self.store.is_lfs(tree, file["path"], file["size"], self.hub.lfs_threshold)
            files.append({"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False})
            files[-1] |= {"oid": there["lfs"] or there["oid"]} if there else {}
        return answer_json({"files": files})

    @route("POST", "/api/datasets/{repo}/commit/{revision}")
    def commit(self, repo, revision):
        self.allow(repo, self.needed())
        lines = [json.loads(line) for line in b"".join(self.body).splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        operations = [(line["key"], line["value"]) for line in lines if line["key"] != "header"]
        texts = header["summary"], header.get("description", "")
        parent, pr = header.get("parentCommit"), "create_pr" in self.query
        commit, ref = self.store.commit(repo, revision, operations, *texts, self.user, parent, pr)
        url = f"{self.hub.endpoint}/datasets/{repo}"
        data = {"success": True, "commitOid": commit["id"], "commitUrl": f"{url}/commit/{commit['id']}"}
        return answer_json({**data, **({"pullRequestUrl": f"{url}/discussions/{Path(ref).name}"} if pr else {})})

    @route("GET", "/api/datasets/{repo}/discussions", READ)
    def discussions(self, repo):
        """The pull requests: there are no other discussions here."""
        known = self.store.repos[repo].get("requests", [])
        wanted = {name: self.query[name] for name in ("author", "status") if name in self.query}
        found = [asked for asked in known if wanted.items() <= asked.items()]
        return answer_json({"discussions": [told(repo, asked) for asked in found], "count": len(found), "start": 0})

    @route("GET", "/api/datasets/{repo}/discussions/{number}", READ)
    def discussion(self, repo, number):
        known = self.store.repos[repo].get("requests", [])
        if not 0 < int(number) <= len(known):
            raise Refused(404, "Discussion not found")
        asked = known[int(number) - 1]
        details = {"events": [], "filesWithConflicts": [], "changes": {"base": asked["base"]}}
        return answer_json({**told(repo, asked), **details})

    @route("POST", "/api/datasets/{repo}/discussions/{number}/merge")
    def merge(self, repo, number):
        self.allow(repo, WRITE)
        self.store.merge(repo, number, self.user)
        return answer_json({})

    # LFS

    @route("POST", "/datasets/{repo}.git/info/lfs/objects/batch", CONTRIBUTE)
    def batch(self, repo):
        objects = []
        for asked in self.json()["objects"]:
            objects.append({"oid": asked["oid"], "size": asked["size"]})
            if not self.store.lfs(asked["oid"]).exists():
                verify = {"href": f"{self.hub.endpoint}/datasets/{repo}.git/info/lfs/verify"}
                objects[-1]["actions"] = {"upload": self.upload_action(**asked), "verify": verify}
        parts = any("chunk_size" in made["actions"]["upload"]["header"] for made in objects if "actions" in made)
        return answer_json({"transfer": "multipart" if parts else "basic", "objects": objects})

    def upload_action(self, oid, size):
        """Where an object's bytes go: to one address, or in parts to several."""
        href, part_size = f"{self.hub.storage}/{oid}", self.hub.part_size
        if part_size is None or size <= part_size:
            return {"href": href, "header": {}}
        upload = uuid.uuid4().hex
        numbers = range(1, math.ceil(size / part_size) + 1)
        header = {f"{number:05d}": f"{href}?uploadId={upload}&partNumber={number}" for number in numbers}
        complete = f"{self.hub.endpoint}/api/complete_multipart?uploadId={upload}"
        return {"href": complete, "header": {"chunk_size": str(part_size), **header}}

    @route("PUT", "/lfs/{oid}")
    def put_object(self, oid):
        """The bytes of an object or of a part of it, which count once all have come; an object's must be its own."""
        incoming = self.store.folder / "incoming" / f"{uuid.uuid4().hex}.tmp"
        sha256, md5 = hashlib.sha256(), hashlib.md5()
        try:
            with incoming.open("wb") as file:
                for piece in self.body:
                    sha256.update(piece)
                    md5.update(piece)
                    file.write(piece)
            if "uploadId" in self.query:
                os.replace(incoming, self.part(self.query["partNumber"]))
            elif sha256.hexdigest() == oid:
                os.replace(incoming, self.store.lfs(oid))
            else:
                raise Refused(400, "BadDigest")
        finally:
            incoming.unlink(missing_ok=True)
        return Answer(headers={"ETag": f'"{md5.hexdigest()}"'})

    def part(self, number):
        return self.store.folder / "incoming" / f"{self.query['uploadId']}.{number}"

    @route("POST", "/api/complete_multipart")
    def complete(self):
        """Put the parts together that the client says it sent."""
        asked = self.json()
        paths = [self.part(part["partNumber"]) for part in asked["parts"]]
        for path, part in zip(paths, asked["parts"], strict=True):
            if not path.exists() or hashlib.md5(path.read_bytes()).hexdigest() != part["etag"].strip('"'):
                raise Refused(400, f"InvalidPart: {part['partNumber']}")
        whole = self.part("whole")
        with whole.open("wb") as file:
            for path in paths:
                file.write(path.read_bytes())
        if hashlib.sha256(whole.read_bytes()).hexdigest() != asked["oid"]:
            raise Refused(400, "BadDigest")
        os.replace(whole, self.store.lfs(asked["oid"]))
        for path in paths:
            path.unlink()
        return answer_json({"success": True})

    @route("POST", "/datasets/{repo}.git/info/lfs/verify", CONTRIBUTE)
    def verify(self, repo):
        asked = self.json()
        path = self.store.lfs(asked["oid"])
        if not path.exists() or path.stat().st_size != asked["size"]:
            raise Refused(404, f"Object not found: {asked['oid']}")
        return answer_json({})

    @route("GET", "/lfs/{oid}")
    def get_object(self, oid):
        if not self.store.lfs(oid).exists():
            raise Refused(404, "NoSuchKey")
        return self.content(self.store.lfs(oid), {"ETag": f'"{oid}"'})
