"""Users, groups, members of projects, and robots."""

from harborapi.exceptions import BadRequest, Conflict, Forbidden, NotFound, PreconditionFailed, Unauthorized
from harborapi.models import Access, Robot, RobotCreate, RobotPermission, UserCreationReq, UserGroup, UserProfile

from image import Image, Registry


async def users(checks, world):
    admin, password = world.admin, "Passw0rd-1"
    async with world.user("somebody", password) as (user, himself):
        checks.same("his profile", (user.username, user.email), (world.name("somebody"), f"{user.username}@example.com"))
        checks.same("no administrator", (user.sysadmin_flag, user.admin_role_in_auth), (False, False))
        parts = [(one.user_id, one.username) for one in await admin.search_users_by_username(world.run)]
        checks.same("found by a part of his name", parts, [(user.user_id, user.username)])
        checks.same("found by his name", await admin.get_user_by_username(user.username), user)
        checks.same("listed", [one.username for one in await admin.get_users(query=f"username=~{world.run}")], [user.username])
        checks.same("himself", (await himself.get_current_user()).user_id, user.user_id)
        asked = {"username": user.username, "realname": "x", "password": password}
        again = admin.create_user(UserCreationReq(email="other@example.com", **asked))
        await checks.refused("a second of the name", Conflict, again)
        weak = UserCreationReq(username="weak", email="weak@example.com", realname="weak", password="weak")
        await checks.refused("a weak password", BadRequest, admin.create_user(weak))

        await himself.update_user(user.user_id, UserProfile(email=user.email, realname="Some Body", comment="no comment"))
        changed = await admin.get_user(user.user_id)
        checks.same("his new profile", (changed.realname, changed.comment), ("Some Body", "no comment"))
        await checks.refused("not somebody else's", Forbidden, himself.update_user(1, UserProfile(email="a@example.com", realname="a")))
        await passwords(checks, world, user, himself)

        await admin.set_user_admin(user.user_id, True)
        checks.same("an administrator", (await admin.get_user(user.user_id)).sysadmin_flag, True)
        await admin.set_user_admin(user.user_id, False)
        checks.same("no longer", (await admin.get_user(user.user_id)).sysadmin_flag, False)
        await checks.refused("nobody lists users who may not", Forbidden, world.client(user.username, "Passw0rd-3").get_users())
    await checks.refused("who was deleted", NotFound, admin.get_user(user.user_id))


async def passwords(checks, world, user, himself):
    wrong = himself.set_user_password(user.user_id, "Passw0rd-2", old_password="Passw0rd-0")
    await checks.refused("a wrong old password", Forbidden, wrong)
    same = himself.set_user_password(user.user_id, "Passw0rd-1", old_password="Passw0rd-1")
    await checks.refused("the same password again", BadRequest, same)
    await himself.set_user_password(user.user_id, "Passw0rd-2", old_password="Passw0rd-1")
    renewed = world.client(user.username, "Passw0rd-2")
    checks.same("the password that he chose", (await renewed.get_current_user()).username, user.username)
    await world.admin.set_user_password(user.user_id, "Passw0rd-3")
    renewed = world.client(user.username, "Passw0rd-3")
    checks.same("the password that the administrator chose", (await renewed.get_current_user()).username, user.username)
    await checks.refused("the old one is refused", Unauthorized, himself.get_current_user())


async def members(checks, world):
    admin = world.admin
    async with world.project("members") as project, world.user("member") as (user, himself):
        place, scope = f"/api/v2.0/projects/{project.name}/members/", f"/project/{project.project_id}"
        await checks.refused("no stranger looks in", Forbidden, himself.get_project(project.name))
        where = await admin.add_project_member_user(project.name, user.username, 2)
        checks.holds("the place of a member", where.startswith(place) and where[len(place):].isdigit(), where)
        number = int(where.rsplit("/", 1)[1])
        one = await admin.get_project_member(project.name, number)
        checks.same("who he is", (one.entity_name, one.entity_id, one.entity_type), (user.username, user.user_id, "u"))
        checks.same("what he is", (one.role_id, one.role_name, one.project_id), (2, "developer", project.project_id))
        checks.same("the same by the project's number", await admin.get_project_member(project.project_id, number), one)
        everybody = [(member.entity_name, member.role_name) for member in await admin.get_project_members(project.name)]
        checks.same("all members", everybody, [("admin", "projectAdmin"), (user.username, "developer")])
        checks.same("by name", await admin.get_project_members(project.name, entity_name=user.username), [one])
        rights = [(right.resource, right.action) for right in await himself.get_current_user_permissions(scope, relative=True)]
        checks.holds("a developer pushes", ("repository", "push") in rights, rights)

        await admin.update_project_member_role(project.name, number, 4)
        checks.same("another role", (await admin.get_project_member(project.name, number)).role_name, "maintainer")
        await admin.update_project_member_role(project.name, number, 3)
        checks.same("his own role", (await himself.get_project(project.name)).current_user_role_id, 3)
        rights = [(right.resource, right.action) for right in await himself.get_current_user_permissions(scope, relative=True)]
        checks.holds("a guest does not", ("repository", "pull") in rights and ("repository", "push") not in rights, rights)

        await checks.refused("nobody twice", Conflict, admin.add_project_member_user(project.name, user.user_id, 1))
        await checks.refused("nobody unknown", NotFound, admin.add_project_member_user(project.name, "nobody-of-that-name", 1))
        await admin.remove_project_member(project.name, number)
        await checks.refused("who was removed", NotFound, admin.get_project_member(project.name, number))
        await checks.refused("no role that there is not", BadRequest, admin.add_project_member_user(project.name, user.username, 9))


async def groups(checks, world):
    admin, name = world.admin, world.name("group")
    where = await admin.create_usergroup(UserGroup(group_name=name, group_type=3))
    number = where.rsplit("/", 1)[1]
    checks.same("the place of a group", (where, number.isdigit()), (f"/api/v2.0/usergroups/{number}", True))
    await checks.refused("a second of the name", Conflict, admin.create_usergroup(UserGroup(group_name=name, group_type=3)))
    found, = await admin.search_usergroups(world.run)
    checks.same("found by a part of its name", (found.id, found.group_name, found.group_type), (int(number), name, 3))
    await admin.update_usergroup(found.id, UserGroup(group_name=world.name("renamed")))
    checks.same("its new name", (await admin.get_usergroup(found.id)).group_name, world.name("renamed"))
    listed = [(group.id, group.group_type) for group in await admin.get_usergroups(group_name=world.run)]
    checks.same("listed", listed, [(found.id, 3)])
    async with world.project("grouped") as project:
        where = await admin.add_project_member_group(project.name, found.id, 4)
        member = await admin.get_project_member(project.name, int(where.rsplit("/", 1)[1]))
        who = (member.entity_name, member.entity_id, member.entity_type, member.role_name)
        checks.same("as a member", who, (world.name("renamed"), found.id, "g", "maintainer"))
        await admin.delete_usergroup(found.id)
        names = [one.entity_name for one in await admin.get_project_members(project.name)]
        checks.same("its memberships end", names, ["admin"])
    await checks.refused("what was deleted", NotFound, admin.get_usergroup(found.id))


def rights(kind, namespace, *pairs):
    return RobotPermission(kind=kind, namespace=namespace, access=[Access(resource=resource, action=action) for resource, action in pairs])


async def robots_of_the_system(checks, world):
    admin, name = world.admin, world.name("system")
    both = [
        rights("system", "/", ("project", "list"), ("label", "read")),
        rights("project", "*", ("repository", "pull"), ("repository", "push")),
    ]
    asked = RobotCreate(name=name, description="for the tests", level="system", duration=30, permissions=both)
    made = await admin.create_robot(asked)
    checks.same("its name", made.name, f"robot${name}")
    checks.same("its secret's length", len(made.secret), 32)
    lasts = made.expires_at - made.creation_time.timestamp()
    checks.holds("when it expires", abs(lasts - 30 * 24 * 3600) < 5, lasts)
    await checks.refused("a second of the name", Conflict, admin.create_robot(asked))
    for what, wrong in [("no right", []), ("a right that there is not", [rights("system", "/", ("moon", "read"))])]:
        await checks.refused(what, BadRequest, admin.create_robot(RobotCreate(name="wrong", level="system", duration=1, permissions=wrong)))
    endless = RobotCreate(name=world.name("zero"), level="system", duration=0, permissions=both)
    await checks.refused("a duration of nothing", BadRequest, admin.create_robot(endless))

    found = await admin.get_robot(made.id)
    checks.same("what it is", (found.name, found.level, found.description), (made.name, "system", "for the tests"))
    checks.same("how long", (found.duration, found.expires_at), (30, made.expires_at))
    checks.same("whether it works", (found.disable, found.editable), (False, True))
    checks.same("who made it", (found.creator_type, found.creator_ref), ("local", 1))
    told = {(one.kind, one.namespace, len(one.access)) for one in found.permissions}
    checks.same("its rights", told, {("system", "/", 2), ("project", "*", 2)})
    checks.same("no secret", found.secret or "", "")
    checks.same("listed by a part of the name", await admin.get_robots(query=f"name=~{world.run}"), [found])

    itself = world.client(made.name, made.secret)
    checks.holds("it lists projects", "library" in [one.name for one in await itself.get_projects(name="library")], "no library")
    await checks.refused("it has no other right", Forbidden, itself.get_users())
    await checks.refused("it is no user", PreconditionFailed, itself.get_current_user())
    await secrets_of(checks, world, found, made.secret)
    await admin.delete_robot(made.id)
    await checks.refused("what was deleted", NotFound, admin.get_robot(made.id))


async def secrets_of(checks, world, robot, first):
    """A secret is made anew, chosen, and refused while the robot is disabled."""
    admin = world.admin

    def login(secret):
        return Registry(world.url, robot.name, secret).login()

    checks.same("it logs in", login(first), 200)
    second = (await admin.refresh_robot_secret(robot.id, "")).secret
    checks.same("it logs in by a new secret", (second != first, login(second)), (True, 200))
    checks.same("no longer by the first", login(first), 401)
    chosen = await admin.refresh_robot_secret(robot.id, "Chosen-Secret-1")
    checks.same("a secret that was chosen is not shown", chosen.secret or "", "")
    await checks.refused("a weak one is refused", BadRequest, admin.refresh_robot_secret(robot.id, "weak"))
    disabled = Robot(name=robot.name, level=robot.level, duration=-1, disable=True, permissions=robot.permissions)
    await admin.update_robot(robot.id, disabled)
    found = await admin.get_robot(robot.id)
    checks.same("disabled, and for ever", (found.disable, found.duration, found.expires_at), (True, -1, -1))
    checks.same("a robot that is disabled", login("Chosen-Secret-1"), 401)
    disabled.disable = False
    await admin.update_robot(robot.id, disabled)
    checks.same("it logs in by what was chosen", login("Chosen-Secret-1"), 200)
    disabled.name = "another"
    await checks.refused("its name stays", BadRequest, admin.update_robot(robot.id, disabled))


async def robots_of_a_project(checks, world):
    admin = world.admin
    async with world.project("robots") as project, world.project("others") as other:
        async def made(name, *pairs):
            asked = RobotCreate(name=name, level="project", duration=-1, permissions=[rights("project", project.name, *pairs)])
            return await admin.create_robot(asked)

        pushing = await made("push", ("repository", "pull"), ("repository", "push"))
        pulling = await made("pull", ("repository", "pull"), ("repository", "read"))
        checks.same("its name", pushing.name, f"robot${project.name}+push")
        checks.same("it never expires", pushing.expires_at, -1)
        of_project = f"Level=project,ProjectID={project.project_id}"
        names = [robot.name for robot in await admin.get_robots(query=of_project, sort="name")]
        checks.same("those of the project", names, [pulling.name, pushing.name])
        names = [robot.name for robot in await admin.get_robots(query=f"{of_project},name=~push")]
        checks.same("one of them", names, [pushing.name])
        checks.same("none of another", await admin.get_robots(query=f"Level=project,ProjectID={other.project_id}"), [])
        await checks.refused("a level without a project", BadRequest, admin.get_robots(query="Level=project"))

        repository, image = f"{project.name}/app", Image(world.name("robots"))
        robot = Registry(world.url, pushing.name, pushing.secret)
        checks.same("it pushes", robot.push(repository, image, "1").status_code, 201)
        checks.same("not elsewhere", robot.push(f"{other.name}/app", image, "1").status_code, 401)
        robot = Registry(world.url, pulling.name, pulling.secret)
        checks.same("the other one pulls", robot.pull(repository, "1").headers.get("Docker-Content-Digest"), image.digest)
        checks.same("and pushes nothing", robot.push(repository, image, "2").status_code, 401)
        itself = world.client(pulling.name, pulling.secret)
        checks.same("it reads the repository", (await itself.get_repository(project.name, "app")).artifact_count, 1)
        await checks.refused("it deletes nothing", Forbidden, itself.delete_repository(project.name, "app"))
    await checks.refused("robots go with their project", NotFound, admin.get_robot(pushing.id))
