#!/usr/bin/env python3
"""Keeps the database of the schema as it is now, as fixtures that later versions migrate: db/tests/fixtures/NNNN.<engine>.sql.

    cargo build -p server && testkit/with-postgres.sh scripts/keep-schema.py NNNN

It starts a server on each engine, fills it with something of everything that a row can be, stops it and dumps. A later schema adds
its own to `fill`, and asks for it in db/tests/db/fixtures.rs.
"""

import base64, hashlib, json, os, re, signal, subprocess, sys, tempfile, time
import urllib.parse, urllib.request

PASSWORD = "Harbor12345"
FIXTURES = os.path.join(os.path.dirname(__file__), "../db/tests/fixtures")
BINARY = os.path.abspath(os.environ.get("SEAWALL_BIN", "target/debug/seawall"))
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Server:
    def __init__(self, home, settings):
        env = {**os.environ, **settings, "SEAWALL_ADMIN_PASSWORD": PASSWORD, "SEAWALL_TRASH__KEEP": "1d"}
        self.out = open(f"{home}/out", "w+")
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data", f"{home}/data"]
        self.process = subprocess.Popen(command, env=env, stdout=self.out, stderr=subprocess.STDOUT)
        self.url = None
        while not self.url:
            if self.process.poll() is not None:
                sys.exit(open(f"{home}/out").read())
            found = re.search(r" is ready at (http:\S+)", open(f"{home}/out").read())
            self.url = found and found.group(1)
            time.sleep(0.05)

    def ask(self, method, path, body=None, kind="application/json"):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": kind}
        url = path if path.startswith("http") else self.url + path
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)) as answer:
            return answer.headers, answer.read()

    def api(self, method, path, body=None):
        return self.ask(method, f"/api/v2.0{path}", body)

    def blob(self, name, content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", content, "application/octet-stream")
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def manifest(self, name, reference, **fields):
        config = self.blob(name, b'{"architecture":"amd64","os":"linux"}')
        config["mediaType"] = "application/vnd.oci.image.config.v1+json"
        layer = self.blob(name, b"layer")
        text = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], **fields}
        content = json.dumps(text).encode()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.ask("PUT", f"/v2/{name}/manifests/{reference or digest}", content, MANIFEST)
        return {"mediaType": MANIFEST, "digest": digest, "size": len(content)}

    def ended(self, path, field):
        while True:
            shown = json.loads(self.api("GET", path)[1])
            shown = shown[0] if isinstance(shown, list) else shown
            if shown[field] not in ("Pending", "Running"):
                return
            time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait() != 0:
            sys.exit(self.out.read())


def selectors(pattern):
    return {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": pattern}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }


def fill(server):
    api = server.api
    # What db/tests/db/fixtures.rs asks of every version.
    api("POST", "/projects", {"project_name": "team", "metadata": {"auto_scan": "true"}, "storage_limit": 1 << 30})
    api("POST", "/users", {"username": "alice", "email": "alice@example.com", "realname": "Alice", "password": PASSWORD})
    api("POST", "/projects/team/members", {"role_id": 2, "member_user": {"username": "alice"}})
    api("POST", "/usergroups", {"group_name": "crew", "group_type": 3})
    api("POST", "/projects/team/members", {"role_id": 3, "member_group": {"id": 1}})
    robot = {"kind": "project", "namespace": "library", "access": [{"resource": "repository", "action": "pull"}]}
    api("POST", "/robots", {"name": "ci", "level": "project", "duration": 30, "permissions": [robot]})
    app = server.manifest("library/app", "v1")
    server.manifest("library/app", None, subject=app, artifactType="application/vnd.example.sbom")
    artifact = "/projects/library/repositories/app/artifacts/v1"
    api("POST", "/labels", {"name": "good", "color": "#00FF00", "scope": "g"})
    api("POST", f"{artifact}/labels", {"id": 1})
    rule = {"template": "immutable_template", "action": "immutable", **selectors("v*")}
    api("POST", "/projects/library/immutabletagrules", rule)
    api("PUT", "/system/CVEAllowlist", {"items": [{"cve_id": "CVE-2024-1"}]})
    api("PUT", "/configurations", {"banner_message": '{"message":"hello"}', "robot_token_duration": 7})
    api("PUT", "/projects/library/repositories/app", {"description": "an app"})
    server.ask("GET", "/v2/library/app/manifests/v1")
    # Since the third: policies, schedules, executions with tasks, and the trash.
    policy = {
        "algorithm": "or",
        "rules": [{"template": "always", "action": "retain", "params": {}, **selectors("**")}],
        "trigger": {"kind": "Schedule", "references": {}, "settings": {"cron": "0 0 3 * * *"}},
        "scope": {"level": "project", "ref": 1},
    }
    api("POST", "/retentions", policy)
    api("POST", "/retentions/1/executions", {"dry_run": False})
    server.ended("/retentions/1/executions", "status")
    api("POST", "/system/gc/schedule", {"schedule": {"type": "Weekly", "cron": "0 0 0 * * 0"}, "parameters": {"delete_untagged": True}})
    api("POST", "/system/purgeaudit/schedule", {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True, "audit_retention_hour": 24, "include_event_types": "create_artifact"}})
    server.ended("/system/purgeaudit", "job_status")
    api("PUT", "/jobservice/queues/SCRUB", {"action": "pause"})
    server.manifest("library/app", "gone", annotations={"what": "goes"})
    api("DELETE", "/projects/library/repositories/app/artifacts/gone")
    api("POST", "/projects", {"project_name": "past"})
    api("POST", "/projects/past/members", {"role_id": 2, "member_user": {"username": "alice"}})
    api("DELETE", "/projects/past")


def keep(version, engine, settings, dump):
    with tempfile.TemporaryDirectory() as home:
        server = Server(home, settings)
        fill(server)
        server.stop()
        text = subprocess.run(dump(home), check=True, capture_output=True, text=True).stdout
    # What psql alone understands.
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("\\"))
    with open(f"{FIXTURES}/{version}.{engine}.sql", "w") as file:
        file.write(text)


def main():
    if len(sys.argv) != 2 or not re.fullmatch(r"\d{4}", sys.argv[1]):
        sys.exit(__doc__)
    version = sys.argv[1]
    keep(version, "sqlite", {}, lambda home: ["sqlite3", f"{home}/data/seawall.sqlite", ".dump"])
    server = os.environ["TEST_POSTGRES_URL"]
    subprocess.run(["psql", "--quiet", server, "-c", "CREATE DATABASE kept"], check=True)
    url = with_database(server, "kept")
    dump = ["pg_dump", "--inserts", "--no-owner", url]
    keep(version, "postgres", {"SEAWALL_DATABASE__URL": url}, lambda home: dump)


def with_database(url, name):
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=f"/{name}"))


main()
