"""The system: whether it works, its settings, its numbers, what was done."""

import datetime

from harborapi.exceptions import BadRequest, Forbidden
from harborapi.models import Configurations

from image import Image


async def ping_and_health(checks, world):
    checks.same("ping", await world.admin.ping(), "Pong")
    health = await world.admin.health_check()
    checks.same("health", health.status, "healthy")
    parts = {part.name: part.status for part in health.components}
    checks.same("the database", parts.get("database"), "healthy")
    checks.same("all parts", set(parts.values()), {"healthy"})
    checks.same("their order", list(parts), sorted(parts))


async def systeminfo(checks, world):
    info = await world.admin.get_system_info()
    checks.same("how people sign in", (info.auth_mode, info.self_registration), ("db_auth", False))
    checks.same("what may be done", (info.project_creation_restriction, info.read_only), ("everyone", False))
    checks.holds("the version, as clients read it", info.harbor_version.startswith("v2."), info.harbor_version)
    checks.holds("where it is", "://" not in info.registry_url and "://" in info.external_url, (info.registry_url, info.external_url))
    late = abs(datetime.datetime.now(datetime.timezone.utc) - info.current_time).total_seconds()
    checks.holds("what time it is", late < 60, info.current_time)
    volumes = await world.admin.get_system_volume_info()
    room = volumes.storage[0]
    checks.holds("the room of the store", 0 < room.free <= room.total, room)


async def configurations(checks, world):
    admin = world.admin
    before = await admin.get_config()
    checks.same("how people sign in", before.auth_mode.value, "db_auth")
    checks.same("what robots are called", before.robot_name_prefix.value, "robot$")
    makers = before.project_creation_restriction
    checks.same("who makes projects", (makers.value, makers.editable), ("everyone", True))
    checks.same("no limit", before.storage_per_project.value, -1)
    minutes = before.token_expiration.value
    await admin.update_config(Configurations(token_expiration=minutes + 15, project_creation_restriction="adminonly"))
    after = await admin.get_config()
    checks.same("a number", after.token_expiration.value, minutes + 15)
    checks.same("a word", after.project_creation_restriction.value, "adminonly")
    checks.same("what was not named", after.session_timeout, before.session_timeout)
    checks.same("everybody sees it", (await admin.get_system_info()).project_creation_restriction, "adminonly")
    await admin.update_config(Configurations(token_expiration=minutes, project_creation_restriction="everyone"))
    checks.same("it is as it was", await admin.get_config(), before)
    await checks.refused("tokens last", BadRequest, admin.update_config(Configurations(token_expiration=0)))
    await checks.refused("storage of nothing", BadRequest, admin.update_config(Configurations(storage_per_project=0)))
    async with world.user("reader") as (_, himself):
        await checks.refused("nobody else reads it", Forbidden, himself.get_config())


async def permissions(checks, world):
    all_of_them = await world.admin.get_permissions()
    of_system = {(right.resource, right.action) for right in all_of_them.system}
    of_project = {(right.resource, right.action) for right in all_of_them.project}
    checks.holds("rights on the system", {("project", "create"), ("robot", "create"), ("quota", "update")} <= of_system, of_system)
    checks.holds("rights in a project", {("repository", "push"), ("tag", "delete"), ("label", "create")} <= of_project, of_project)
    checks.same("nobody pushes to the system", ("repository", "push") in of_system, False)
    own = {(right.resource, right.action) for right in await world.admin.get_current_user_permissions("/system", relative=True)}
    checks.holds("the administrator's own", ("project", "create") in own, sorted(own)[:5])
    async with world.user("nobody") as (_, himself):
        await checks.refused("nobody else reads them", Forbidden, himself.get_permissions())


async def statistics_and_search(checks, world):
    admin = world.admin
    before = await admin.get_statistics()
    async with world.project("numbers", public="true") as project:
        image = Image(world.name("numbers"))
        checks.same("push", world.registry.push(f"{project.name}/found", image, "1").status_code, 201)
        after = await admin.get_statistics()
        checks.same("all projects", after.total_project_count, before.total_project_count + 1)
        checks.same("public projects", after.public_project_count, before.public_project_count + 1)
        checks.same("private projects", after.private_project_count, before.private_project_count)
        checks.same("all repositories", after.total_repo_count, before.total_repo_count + 1)
        checks.same("all bytes", after.total_storage_consumption, before.total_storage_consumption + image.size)

        found = await admin.search(project.name)
        checks.same("the project", [(one.name, one.project_id) for one in found.project], [(project.name, project.project_id)])
        one, = found.repository
        checks.same("the repository", (one.repository_name, one.project_name), (f"{project.name}/found", project.name))
        checks.same("of it", (one.project_id, one.project_public, one.artifact_count), (project.project_id, True, 1))
        nothing = await admin.search(world.name("never"))
        checks.same("nothing", (nothing.project, nothing.repository), ([], []))


async def audit(checks, world):
    admin = world.admin
    async with world.project("audited") as project:
        image = Image(world.name("audited"))
        checks.same("push", world.registry.push(f"{project.name}/app", image, "v1").status_code, 201)
        lines = await admin.get_project_logs(project.name, sort="op_time")
        what = [(line.operation, line.resource_type, line.resource, line.username) for line in lines]
        checks.holds("the project", ("create", "project", project.name, "admin") in what, what)
        checks.holds("the push", ("create", "artifact", f"{project.name}/app:v1", "admin") in what, what)
        everywhere = await admin.get_audit_logs(query=f"resource={project.name},operation=create")
        checks.same("found among all", [line.id for line in everywhere], [line.id for line in lines if line.resource == project.name])
        newer = await admin.get("/auditlog-exts", params={"q": f"resource={project.name}"})
        told = [(line["operation"], line["operation_result"], line["resource_type"]) for line in newer]
        checks.same("in the newer form", told, [("create", True, "project")])
        types = [one["event_type"] for one in await admin.get("/auditlog-exts/events")]
        checks.holds("the types of events", "create_artifact" in types, types)
    gone = await admin.get_audit_logs(query=f"resource={project.name},operation=delete")
    checks.same("that it was deleted", [(line.resource_type, line.username) for line in gone], [("project", "admin")])
