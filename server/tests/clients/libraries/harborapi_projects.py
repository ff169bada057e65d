"""Projects, their metadata, and the lists of vulnerabilities that do not count."""

from harborapi.exceptions import BadRequest, Conflict, NotFound, UnprocessableEntity
from harborapi.models import CVEAllowlist, CVEAllowlistItem, ProjectMetadata, ProjectReq


async def projects(checks, world):
    admin, name = world.admin, world.name("projects")
    metadata = ProjectMetadata(public="false", auto_scan="true", severity="high")
    where = await admin.create_project(ProjectReq(project_name=name, metadata=metadata, storage_limit=1 << 30))
    checks.same("the place of a project that was asked for by name", where, f"/api/v2.0/projects/{name}")
    await checks.refused("a second of the name", Conflict, admin.create_project(ProjectReq(project_name=name)), "already exists")
    await checks.refused("a bad name", BadRequest, admin.create_project(ProjectReq(project_name="Not A Name")))

    found = await admin.get_project(name)
    checks.same("its name", found.name, name)
    checks.same("its owner", (found.owner_id, found.owner_name), (1, "admin"))
    checks.same("its repositories", found.repo_count, 0)
    checks.same("the caller's role", (found.current_user_role_id, found.current_user_role_ids), (1, [1]))
    checks.same("public", found.metadata.public, "false")
    checks.same("scanned on push", found.metadata.auto_scan, "true")
    checks.same("severity", found.metadata.severity, "high")
    checks.same("its list of vulnerabilities", (found.cve_allowlist.project_id, found.cve_allowlist.items), (found.project_id, []))
    checks.same("no registry behind it", found.registry_id, None)
    checks.holds("the time it was made", found.creation_time.tzinfo is not None, found.creation_time)
    checks.same("the same by its number", await admin.get_project(found.project_id), found)
    checks.same("it is there", await admin.project_exists(name), True)
    checks.same("another is not", await admin.project_exists(f"{name}-not"), False)

    await admin.update_project(name, ProjectReq(metadata=ProjectMetadata(public="true", auto_scan="false")))
    changed = (await admin.get_project(name)).metadata
    checks.same("what was changed", (changed.public, changed.auto_scan), ("true", "false"))
    checks.same("what was not", changed.severity, "high")
    wrong = ProjectReq(metadata=ProjectMetadata(public="perhaps"))
    await checks.refused("public is true or false", BadRequest, admin.update_project(name, wrong))

    summary = await admin.get_project_summary(found.project_id)
    checks.same("the summary's quota", summary.quota.hard.root, {"storage": 1 << 30})
    checks.same("the summary's usage", summary.quota.used.root, {"storage": 0})
    counts = (summary.repo_count, summary.project_admin_count, summary.developer_count or 0)
    checks.same("the summary's counts", counts, (0, 1, 0))

    deletable = await admin.get_project_deletable(name)
    checks.same("it can be deleted", deletable.deletable, True)
    await admin.delete_project(found.project_id)
    checks.same("it is gone", await admin.project_exists(name), False)
    await checks.refused("it is not found", NotFound, admin.get_project(name))
    await checks.refused("nor deleted again", NotFound, admin.delete_project(found.project_id))


async def lists_of_projects(checks, world):
    admin = world.admin
    async with world.project("list-a"), world.project("list-b", public="true"), world.project("list-c"):
        names = [world.name(f"list-{letter}") for letter in "abc"]
        of_run = f"name=~{world.run}"

        async def listed(**asked):
            return [project.name for project in await admin.get_projects(**asked)]

        checks.same("all, along the links of two pages", await listed(query=of_run, page_size=2), names)
        checks.same("the second page", await listed(query=of_run, page=2, page_size=2), names[2:])
        checks.same("a page after the last", await listed(query=of_run, page=9, page_size=2), [])
        checks.same("backwards", await listed(query=of_run, sort="-name"), names[::-1])
        checks.same("by an exact name", await listed(query=f"name={names[1]}"), names[1:2])
        checks.same("by one of two names", await listed(query=f"name={{'{names[0]}' '{names[2]}'}}", page_size=1), names[::2])
        checks.same("by a part of the name", await listed(name=f"b-{world.run}"), names[1:2])
        checks.same("by two keys", await listed(query=f"{of_run},owner_id=1", page_size=1), names)
        checks.same("public ones", await listed(query=of_run, public=True), names[1:2])
        checks.same("private ones", await listed(query=of_run, public=False), names[::2])
        checks.same("of an owner", await listed(query=of_run, owner="admin"), names)
        checks.same("of nobody", await listed(query=of_run, owner="nobody"), [])
        await checks.refused("a page that is too long", UnprocessableEntity, admin.get_projects(page_size=101))
        plain = (await admin.get_projects(query=of_run, with_detail=False))[0]
        checks.same("without details", (plain.name, plain.metadata, plain.owner_name), (names[0], None, None))


async def metadata(checks, world):
    admin = world.admin
    async with world.project("metadata") as project:
        await admin.set_project_metadata(project.name, ProjectMetadata(auto_scan="true"))
        all_of_it = await admin.get_project_metadata(project.name)
        checks.same("what was added", (all_of_it.public, all_of_it.auto_scan), ("false", "true"))
        again = admin.set_project_metadata(project.name, ProjectMetadata(auto_scan="true"))
        await checks.refused("nothing is added twice", Conflict, again)
        await admin.update_project_metadata_entry(project.name, "auto_scan", {"auto_scan": "false"})
        one = await admin.get_project_metadata_entry(project.name, "auto_scan")
        checks.same("what was changed", one, {"auto_scan": "false"})
        await admin.delete_project_metadata_entry(project.name, "auto_scan")
        checks.same("what was forgotten", (await admin.get_project_metadata(project.name)).auto_scan, None)
        two = admin.set_project_metadata(project.name, ProjectMetadata(auto_scan="true", severity="low"))
        await checks.refused("one key at a time", BadRequest, two)


async def cve_allowlists(checks, world):
    admin = world.admin
    before = await admin.get_cve_allowlist()
    items = [CVEAllowlistItem(cve_id="CVE-2026-0001"), CVEAllowlistItem(cve_id="CVE-2026-0002")]
    await admin.update_cve_allowlist(CVEAllowlist(items=items, expires_at=4102444800))
    found = await admin.get_cve_allowlist()
    checks.same("the system's list", [item.cve_id for item in found.items], ["CVE-2026-0001", "CVE-2026-0002"])
    checks.same("when it expires", found.expires_at, 4102444800)
    await admin.update_cve_allowlist(CVEAllowlist(items=before.items or [], expires_at=before.expires_at))
    checks.same("it is as it was", (await admin.get_cve_allowlist()).items, before.items)

    async with world.project("allowlist") as project:
        asked = ProjectReq(metadata=ProjectMetadata(reuse_sys_cve_allowlist="false"), cve_allowlist=CVEAllowlist(items=items[:1]))
        await admin.update_project(project.project_id, asked)
        changed = await admin.get_project(project.name)
        checks.same("a project's list", [item.cve_id for item in changed.cve_allowlist.items], ["CVE-2026-0001"])
        checks.same("which counts", changed.metadata.reuse_sys_cve_allowlist, "false")
        other = CVEAllowlist(project_id=project.project_id + 1, items=[])
        await checks.refused("no other project's", BadRequest, admin.update_project(project.name, ProjectReq(cve_allowlist=other)))
