"""harborapi_client.py URL PASSWORD: the Python library harborapi against a running server whose administrator has this password.

The library reads every answer into models that are made from Harbor's swagger, so a wrong type is an error without a check.
All that is made has names of its own and is deleted again.
"""

import asyncio
import secrets
import sys
from contextlib import asynccontextmanager

from harborapi import HarborAsyncClient
from harborapi.models import ProjectMetadata, ProjectReq, UserCreationReq

import harborapi_images as images
import harborapi_people as people
import harborapi_projects as projects
import harborapi_rules as rules
import harborapi_system as system
from checks import Checks
from image import Registry

SUBJECTS = [
    system.ping_and_health,
    system.systeminfo,
    system.configurations,
    system.permissions,
    system.statistics_and_search,
    system.audit,
    projects.projects,
    projects.lists_of_projects,
    projects.metadata,
    projects.cve_allowlists,
    people.users,
    people.members,
    people.groups,
    people.robots_of_the_system,
    people.robots_of_a_project,
    rules.labels,
    rules.quotas,
    rules.immutable_rules,
    images.repositories,
    images.artifacts,
    images.tags,
    images.labels_on_artifacts,
    images.accessories,
    images.copies,
]


class World:
    """The server, and what the subjects make on it."""

    def __init__(self, url, password):
        self.url = url.rstrip("/")
        self.run = secrets.token_hex(4)
        self.password = password
        self.admin = self.client("admin", password)
        self.registry = Registry(self.url, "admin", password)

    def client(self, name, secret):
        return HarborAsyncClient(url=f"{self.url}/api/v2.0", username=name, secret=secret, retry=None)

    def name(self, word):
        return f"{word}-{self.run}"

    @asynccontextmanager
    async def project(self, word, public="false", **fields):
        asked = ProjectReq(project_name=self.name(word), metadata=ProjectMetadata(public=public), **fields)
        await self.admin.create_project(asked)
        project = await self.admin.get_project(self.name(word))
        yield project
        for repository in await self.admin.get_repositories(project.name):
            await self.admin.delete_repository(project.name, repository.base_name)
        await self.admin.delete_project(project.name)

    @asynccontextmanager
    async def user(self, word, password="Passw0rd-1"):
        name = self.name(word)
        asked = UserCreationReq(username=name, email=f"{name}@example.com", realname=word, password=password)
        where = await self.admin.create_user(asked)
        user = await self.admin.get_user(int(where.rsplit("/", 1)[1]))
        yield user, self.client(name, password)
        await self.admin.delete_user(user.user_id)


async def main(url, password):
    world = World(url, password)
    right = True
    for subject in SUBJECTS:
        named = f"harborapi, {subject.__name__.replace('_', ' ')}"
        right = await Checks(named).run(subject, world) and right
    return right


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(0 if asyncio.run(main(*sys.argv[1:])) else 1)
