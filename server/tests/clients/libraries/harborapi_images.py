"""Repositories, and what is in them."""

from harborapi.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from harborapi.models import Label, Repository, Tag

from image import CREATED, OCI, Image

# A name with a slash: it is escaped twice in every path.
NAME = "team/app"


def push(checks, world, project, *tags, name=NAME, text=""):
    """One image under all these tags."""
    image = Image(world.name(project.name + text))
    for tag in tags:
        checks.same(f"push {tag}", world.registry.push(f"{project.name}/{name}", image, tag).status_code, 201)
    return image


async def repositories(checks, world):
    admin = world.admin
    async with world.project("repositories", public="true") as project:
        push(checks, world, project, "1")
        push(checks, world, project, "1", name="other", text="other")
        found = await admin.get_repository(project.name, NAME)
        checks.same("its name", (found.name, found.base_name), (f"{project.name}/{NAME}", NAME))
        checks.same("its counts", (found.artifact_count, found.pull_count), (1, 0))
        checks.same("whose it is", found.project_id, project.project_id)
        names = [one.name for one in await admin.get_repositories(project.name, sort="name", page_size=1)]
        checks.same("all of the project, along the links", names, [f"{project.name}/other", f"{project.name}/{NAME}"])
        names = [one.name for one in await admin.get_repositories(query=f"name=~{project.name}/team")]
        checks.same("of all projects", names, [f"{project.name}/{NAME}"])
        checks.same("those of a project are counted", (await admin.get_project(project.name)).repo_count, 2)
        await admin.update_repository(project.name, NAME, Repository(description="# Read me"))
        checks.same("its description", (await admin.get_repository(project.name, NAME)).description, "# Read me")

        blocked = await admin.get_project_deletable(project.name)
        checks.same("its project cannot be deleted", (blocked.deletable or False, "repositories" in blocked.message), (False, True))
        words = "the project contains repositories, can not be deleted"
        await checks.refused("nor is it", PreconditionFailed, admin.delete_project(project.name), words)
        await admin.delete_repository(project.name, NAME)
        await checks.refused("what was deleted", NotFound, admin.get_repository(project.name, NAME))
        await checks.refused("is not deleted again", NotFound, admin.delete_repository(project.name, NAME))


async def artifacts(checks, world):
    admin = world.admin
    async with world.project("artifacts") as project:
        image = push(checks, world, project, "v1", "latest")
        found, = await admin.get_artifacts(project.name, NAME)
        checks.same("which it is", (found.digest, found.size), (image.digest, image.size))
        checks.same("of what kind", (found.type, found.media_type), ("IMAGE", f"{OCI}.config.v1+json"))
        checks.same("its manifest", found.manifest_media_type, f"{OCI}.manifest.v1+json")
        checks.same("where it is", (found.repository_name, found.project_id), (f"{project.name}/{NAME}", project.project_id))
        checks.same("its tags", sorted(tag.name for tag in found.tags), ["latest", "v1"])
        checks.same("its annotations", found.annotations.root, {"org.example.text": world.name(project.name)[:20]})
        of_image = {key: found.extra_attrs.root[key] for key in ("architecture", "os", "author", "created")}
        wanted = {"architecture": "arm64", "os": "linux", "author": "somebody@example.com", "created": CREATED}
        checks.same("what its configuration says", of_image, wanted)
        checks.same("what it runs", found.extra_attrs.root["config"]["Cmd"], ["/hello"])
        checks.same("the same by a tag", await admin.get_artifact(project.name, NAME, "v1"), found)
        checks.same("the same by its digest", await admin.get_artifact(project.name, NAME, image.digest), found)
        await additions(checks, world, project, found)

        second = push(checks, world, project, "v2", text="second")
        both = [second, image]
        for query, wanted in [("tags=v2", [second]), ("tags=*", both), ("tags=~v", both), ("tags=nil", []), ("type=CHART", [])]:
            digests = [one.digest for one in await admin.get_artifacts(project.name, NAME, query=query, page_size=1)]
            checks.same(f"those with {query}", digests, [one.digest for one in wanted])
        everything = [one.digest for one in await admin.get_project_artifacts(project.name, with_tag=True)]
        checks.same("those of the project", everything, [second.digest, image.digest])
        checks.same("none of a repository that there is not", await admin.get_artifacts(project.name, "nothing"), [])

        await admin.delete_artifact(project.name, NAME, "v2")
        await checks.refused("what was deleted", NotFound, admin.get_artifact(project.name, NAME, second.digest))
        checks.same("is not pulled", world.registry.pull(f"{project.name}/{NAME}", "v2").status_code, 404)
        checks.same("the other is", world.registry.pull(f"{project.name}/{NAME}", "v1").status_code, 200)


async def additions(checks, world, project, artifact):
    admin = world.admin
    place = f"/api/v2.0/projects/{project.name}/repositories/team%252Fapp/artifacts/{artifact.digest}/additions/build_history"
    link = artifact.addition_links.root["build_history"]
    checks.same("where its history is", (link.href, link.absolute), (place, False))
    history = [(entry.created_by, entry.empty_layer) for entry in await admin.get_artifact_build_history(project.name, NAME, "v1")]
    checks.same("its history", history, [("COPY hello /hello", False), ('CMD ["/hello"]', True)])
    icon = await admin.get_icon(artifact.icon)
    checks.same("its picture", (icon.content_type, bool(icon.content)), ("image/png", True))
    reports = await admin.get_artifact_vulnerability_reports(project.name, NAME, "v1")
    checks.same("nobody scanned it", dict(reports), {})


async def tags(checks, world):
    admin = world.admin
    async with world.project("tags") as project:
        image = push(checks, world, project, "v1")
        where = await admin.create_artifact_tag(project.name, NAME, image.digest, Tag(name="stable"))
        checks.same("a tag has no place of its own", where, "")
        listed = await admin.get_artifact_tags(project.name, NAME, "v1", sort="name", with_immutable_status=True)
        checks.same("the tags", [(tag.name, tag.immutable) for tag in listed], [("stable", False), ("v1", False)])
        artifact = await admin.get_artifact(project.name, NAME, "stable")
        checks.same("whose they are", {(tag.artifact_id, tag.repository_id) for tag in listed}, {(artifact.id, artifact.repository_id)})
        checks.same("one by name", [tag.name for tag in await admin.get_artifact_tags(project.name, NAME, "v1", query="name=v1")], ["v1"])
        checks.same("it is pulled by it", world.registry.pull(f"{project.name}/{NAME}", "stable").status_code, 200)
        other = push(checks, world, project, "v2", text="other")
        taken = admin.create_artifact_tag(project.name, NAME, other.digest, Tag(name="stable"))
        await checks.refused("a tag is not moved so", Conflict, taken)
        await checks.refused("a bad name", BadRequest, admin.create_artifact_tag(project.name, NAME, "v1", Tag(name="not a tag")))
        await checks.refused("of nothing", NotFound, admin.create_artifact_tag(project.name, NAME, "v9", Tag(name="ninth")))

        await admin.delete_artifact_tag(project.name, NAME, "v1", "stable")
        checks.same("what is left", [tag.name for tag in await admin.get_artifact_tags(project.name, NAME, "v1")], ["v1"])
        await checks.refused("it is not deleted twice", NotFound, admin.delete_artifact_tag(project.name, NAME, "v1", "stable"))
        await checks.refused("nor that of another", NotFound, admin.delete_artifact_tag(project.name, NAME, "v1", "v2"))
        await admin.delete_artifact_tag(project.name, NAME, "v1", "v1")
        bare = await admin.get_artifact(project.name, NAME, image.digest)
        checks.same("without tags it stays", (bare.digest, bare.tags or []), (image.digest, []))
        untagged = [one.digest for one in await admin.get_artifacts(project.name, NAME, query="tags=nil")]
        checks.same("and is listed", untagged, [image.digest])


async def labels_on_artifacts(checks, world):
    admin = world.admin
    async with world.project("labelled") as project:
        image = push(checks, world, project, "v1")
        push(checks, world, project, "v2", text="other")
        where = await admin.create_label(Label(name="tested", color="#00FF00", scope="p", project_id=project.project_id))
        label = await admin.get_label(int(where.rsplit("/", 1)[1]))
        await admin.add_artifact_label(project.name, NAME, "v1", Label(id=label.id))
        found = await admin.get_artifact(project.name, NAME, "v1", with_label=True)
        checks.same("it is there", [(one.id, one.name, one.color) for one in found.labels], [(label.id, "tested", "#00FF00")])
        labelled = await admin.get_artifacts(project.name, NAME, query=f"labels=({label.id})", with_label=True)
        checks.same("found by it", [one.digest for one in labelled], [image.digest])
        checks.same("the other is not", (await admin.get_artifact(project.name, NAME, "v2", with_label=True)).labels or [], [])
        await checks.refused("not twice", Conflict, admin.add_artifact_label(project.name, NAME, "v1", Label(id=label.id)))
        await checks.refused("none that there is not", NotFound, admin.add_artifact_label(project.name, NAME, "v1", Label(id=88888888)))
        await admin.delete_artifact_label(project.name, NAME, "v1", label.id)
        checks.same("taken off", (await admin.get_artifact(project.name, NAME, "v1", with_label=True)).labels or [], [])
        await checks.refused("once", NotFound, admin.delete_artifact_label(project.name, NAME, "v1", label.id))


async def accessories(checks, world):
    admin = world.admin
    async with world.project("accessories") as project:
        image = push(checks, world, project, "v1")
        note = Image(world.name("a note"), subject=image)
        pushed = world.registry.push(f"{project.name}/{NAME}", note)
        checks.same("push a note", (pushed.status_code, pushed.headers.get("OCI-Subject")), (201, image.digest))
        found, = await admin.get_artifact_accessories(project.name, NAME, "v1")
        checks.same("what it is", (found.type, found.digest, found.size), ("subject.accessory", note.digest, note.size))
        whose = (found.subject_artifact_digest, found.subject_artifact_repo)
        checks.same("whose it is", whose, (image.digest, f"{project.name}/{NAME}"))
        artifact, = await admin.get_artifacts(project.name, NAME, with_accessory=True)
        checks.same("it is no artifact of the list", artifact.digest, image.digest)
        checks.same("but the image's", [one.digest for one in artifact.accessories], [note.digest])
        await admin.delete_artifact(project.name, NAME, "v1")
        await checks.refused("it goes with its image", NotFound, admin.get_artifact(project.name, NAME, note.digest))


async def copies(checks, world):
    admin = world.admin
    async with world.project("copies") as project, world.project("target") as target:
        image = push(checks, world, project, "v1")
        source, place = f"{project.name}/{NAME}", f"/api/v2.0/projects/{target.name}/repositories"
        where = await admin.copy_artifact(target.name, "by-tag", f"{source}:v1")
        checks.same("the place of a copy", where, f"{place}/by-tag/artifacts/v1")
        copied = await admin.get_artifact(target.name, "by-tag", "v1")
        checks.same("it is the same", (copied.digest, copied.size, [tag.name for tag in copied.tags]), (image.digest, image.size, ["v1"]))
        where = await admin.copy_artifact(target.name, "by-digest", f"{source}@{image.digest}")
        checks.same("the place of a copy by digest", where, f"{place}/by-digest/artifacts/{image.digest}")
        copied = await admin.get_artifact(target.name, "by-digest", image.digest)
        checks.same("its tags come along", [tag.name for tag in copied.tags], ["v1"])
        checks.same("it is pulled", world.registry.pull(f"{target.name}/by-tag", "v1").content, image.manifest)
        await checks.refused("of nothing", NotFound, admin.copy_artifact(target.name, "by-tag", f"{source}:none"))
        await checks.refused("of no name", BadRequest, admin.copy_artifact(target.name, "by-tag", "not a reference"))
