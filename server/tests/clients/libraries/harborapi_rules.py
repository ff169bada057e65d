"""Labels, quotas and immutable tags."""

from harborapi.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from harborapi.models import ImmutableRule, ImmutableSelector, Label, QuotaUpdateReq, ResourceList

from image import Image


async def labels(checks, world):
    admin, name = world.admin, world.name("label")
    where = await admin.create_label(Label(name=name, description="first", color="#FF0000", scope="g"))
    number = where.rsplit("/", 1)[1]
    checks.same("the place of a label", (where, number.isdigit()), (f"/api/v2.0/labels/{number}", True))
    found = await admin.get_label(int(number))
    checks.same("what it is", (found.name, found.description, found.color), (name, "first", "#FF0000"))
    checks.same("whose it is", (found.scope, found.project_id or 0), ("g", 0))
    checks.same("listed by a part of the name", await admin.get_labels(scope="g", name=world.run), [found])
    await checks.refused("a second of the name", Conflict, admin.create_label(Label(name=name, scope="g")))
    await checks.refused("a list says of what", BadRequest, admin.get_labels(name=world.run))
    await checks.refused("a scope that there is not", BadRequest, admin.create_label(Label(name=name, scope="x")))
    await admin.update_label(found.id, Label(name=name, description="second", color="#00FF00", scope="g"))
    changed = await admin.get_label(found.id)
    checks.same("what was changed", (changed.name, changed.description, changed.color), (name, "second", "#00FF00"))

    async with world.project("labels") as project:
        where = await admin.create_label(Label(name=name, scope="p", project_id=project.project_id))
        own = await admin.get_label(int(where.rsplit("/", 1)[1]))
        checks.same("a project's", (own.scope, own.project_id), ("p", project.project_id))
        checks.same("listed in its project", await admin.get_labels(scope="p", project_id=project.project_id), [own])
        await checks.refused("of no project", BadRequest, admin.get_labels(scope="p"))
    await admin.delete_label(found.id)
    await checks.refused("what was deleted", NotFound, admin.get_label(found.id))


async def quotas(checks, world):
    admin = world.admin
    async with world.project("quotas", storage_limit=1 << 20) as project:
        mine = {"reference": "project", "reference_id": str(project.project_id)}
        quota, = await admin.get_quotas(**mine)
        checks.same("whose it is", quota.ref.root, {"id": project.project_id, "name": project.name, "owner_name": "admin"})
        checks.same("how much", (quota.hard.root, quota.used.root), ({"storage": 1 << 20}, {"storage": 0}))
        checks.same("the same by its number", await admin.get_quota(quota.id), quota)

        image = Image(world.name("quotas"))
        checks.same("what fits is pushed", world.registry.push(f"{project.name}/app", image, "1").status_code, 201)
        checks.same("and counted", (await admin.get_quota(quota.id)).used.root, {"storage": image.size})
        await admin.update_quota(quota.id, QuotaUpdateReq(hard=ResourceList({"storage": image.size + 10})))
        checks.same("the new limit", (await admin.get_quota(quota.id)).hard.root, {"storage": image.size + 10})
        refused = world.registry.push(f"{project.name}/app", Image(world.name("quotas again")), "2")
        checks.same("what does not fit", (refused.status_code, refused.json()["errors"][0]["code"]), (403, "DENIED"))
        words = "will exceed the configured upper limit of"
        checks.holds("it says why", words in refused.text, refused.text)
        checks.same("it is not counted", (await admin.get_quota(quota.id)).used.root, {"storage": image.size})

        for wrong in (0, -2):
            update = admin.update_quota(quota.id, QuotaUpdateReq(hard=ResourceList({"storage": wrong})))
            await checks.refused(f"a limit of {wrong}", BadRequest, update)
        await admin.update_quota(quota.id, QuotaUpdateReq(hard=ResourceList({"storage": -1})))
        checks.same("no limit", (await admin.get_project_summary(project.name)).quota.hard.root, {"storage": -1})
        most = [one.used.root["storage"] for one in await admin.get_quotas(sort="-used.storage", page_size=5)]
        checks.same("listed by usage", most, sorted(most, reverse=True))
    checks.same("it went with its project", await admin.get_quotas(**mine), [])
    await checks.refused("and is not found", NotFound, admin.get_quota(quota.id))


def immutable(tags, **fields):
    selector = {"kind": "doublestar"}
    return ImmutableRule(
        action="immutable",
        template="immutable_template",
        tag_selectors=[ImmutableSelector(decoration="matches", pattern=tags, **selector)],
        scope_selectors={"repository": [ImmutableSelector(decoration="repoMatches", pattern="**", **selector)]},
        **fields,
    )


async def immutable_rules(checks, world):
    admin = world.admin
    async with world.project("immutable") as project:
        repository = f"{project.name}/app"
        image, other = Image(world.name("immutable")), Image(world.name("immutable again"))
        checks.same("before the rule", world.registry.push(repository, image, "v1").status_code, 201)
        where = await admin.create_project_immutable_tag_rule(project.name, immutable("v*"))
        number = where.rsplit("/", 1)[1]
        checks.same("the place of a rule", where, f"/api/v2.0/projects/{project.name}/immutabletagrules/{number}")
        rule, = await admin.get_project_immutable_tag_rules(project.name)
        checks.same("which it is", (rule.id, rule.action, rule.template), (int(number), "immutable", "immutable_template"))
        tags, repositories = rule.tag_selectors[0], rule.scope_selectors["repository"][0]
        checks.same("of which tags", (tags.kind, tags.decoration, tags.pattern), ("doublestar", "matches", "v*"))
        checks.same("of which repositories", (repositories.decoration, repositories.pattern), ("repoMatches", "**"))
        checks.same("it holds", bool(rule.disabled), False)
        again = admin.create_project_immutable_tag_rule(project.project_id, immutable("v*"))
        await checks.refused("a second of the kind", Conflict, again)

        found = await admin.get_artifact(project.name, "app", "v1", with_immutable_status=True)
        checks.same("the tag is immutable", found.tags[0].immutable, True)
        pushed = world.registry.push(repository, other, "v1")
        checks.same("it is not moved", (pushed.status_code, pushed.json()["errors"][0]["code"]), (412, "PRECONDITION"))
        words = "configured as immutable, cannot be deleted"
        await checks.refused("nor deleted", PreconditionFailed, admin.delete_artifact_tag(project.name, "app", "v1", "v1"), words)
        await checks.refused("nor what it names", PreconditionFailed, admin.delete_artifact(project.name, "app", "v1"), words)
        checks.same("another tag is free", world.registry.push(repository, other, "w1").status_code, 201)

        await admin.update_project_immutable_tag_rule(project.name, rule.id, immutable("v*", id=rule.id, disabled=True))
        rule, = await admin.get_project_immutable_tag_rules(project.name)
        checks.same("it is off", rule.disabled, True)
        checks.same("now the tag moves", world.registry.push(repository, other, "v1").status_code, 201)
        await admin.delete_project_immutable_tag_rule(project.name, rule.id)
        checks.same("it is deleted", await admin.get_project_immutable_tag_rules(project.name), [])
        await checks.refused("once", NotFound, admin.delete_project_immutable_tag_rule(project.name, rule.id))
