// goclient URL PASSWORD: Harbor's own Go library goharbor/go-client against a running server whose administrator has this password.
//
// The library is generated from Harbor's swagger: a status that the document does not tell is an error. All that is made has
// names of its own and is deleted again.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"

	httptransport "github.com/go-openapi/runtime/client"
	"github.com/goharbor/go-client/pkg/harbor"
	harborapi "github.com/goharbor/go-client/pkg/sdk/v2.0/client"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/repository"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/user"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

var subjects = []struct {
	name string
	run  func(*checks, *world)
}{
	{"ping and health", pingAndHealth},
	{"systeminfo", whatTheSystemIs},
	{"configurations", configurations},
	{"permissions", rightsToGive},
	{"strangers", strangers},
	{"statistics and search", statisticsAndSearch},
	{"audit", audit},
	{"projects", projects},
	{"lists of projects", listsOfProjects},
	{"names that are numbers", namesThatAreNumbers},
	{"metadata", metadata},
	{"CVE allowlists", cveAllowlists},
	{"users", users},
	{"members", members},
	{"groups", groups},
	{"robots of the system", robotsOfTheSystem},
	{"robots of a project", robotsOfAProject},
	{"robots that make robots", robotsThatMakeRobots},
	{"labels", labels},
	{"quotas", quotas},
	{"immutable rules", immutableRules},
	{"repositories", repositories},
	{"artifacts", artifacts},
	{"tags", tags},
	{"labels on artifacts", labelsOnArtifacts},
	{"accessories", accessories},
	{"copies", copies},
}

var ctx = context.Background()

// world is the server, and what the subjects make on it.
type world struct {
	url, run string
	seen     *witness
	admin    *harborapi.HarborAPI
	registry registry
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "goclient URL PASSWORD")
		os.Exit(2)
	}
	run := make([]byte, 4)
	_, _ = rand.Read(run)
	w := &world{url: strings.TrimRight(os.Args[1], "/"), run: fmt.Sprintf("%x", run), seen: &witness{}}
	w.admin = w.client("admin", os.Args[2])
	w.registry = registry{w.url, "admin", os.Args[2]}
	status := 0
	for _, subject := range subjects {
		c := &checks{subject: "go-client, " + subject.name, seen: w.seen}
		if !c.run(subject.run, w) {
			status = 1
		}
	}
	os.Exit(status)
}

// client of somebody, or of nobody.
func (w *world) client(name, secret string) *harborapi.HarborAPI {
	where, err := url.Parse(w.url)
	if err != nil {
		panic(err)
	}
	config := harbor.Config{URL: where, Transport: w.seen}
	if name != "" {
		config.AuthInfo = httptransport.BasicAuth(name, secret)
	}
	return harborapi.New(config.ToV2Config())
}

func (w *world) name(word string) string {
	return word + "-" + w.run
}

// project makes one, and says how it is deleted with all that it holds.
func (w *world) project(c *checks, asked models.ProjectReq) (*models.Project, func()) {
	asked.ProjectName = w.name(asked.ProjectName)
	if asked.Metadata == nil {
		asked.Metadata = &models.ProjectMetadata{Public: "false"}
	}
	got(w.admin.Project.CreateProject(ctx, project.NewCreateProjectParams().WithProject(&asked)))
	made := got(w.admin.Project.GetProject(ctx, project.NewGetProjectParams().WithProjectNameOrID(asked.ProjectName))).Payload
	return made, func() {
		list := repository.NewListRepositoriesParams().WithProjectName(made.Name)
		for _, one := range got(w.admin.Repository.ListRepositories(ctx, list)).Payload {
			remove := repository.NewDeleteRepositoryParams().WithProjectName(made.Name)
			remove.SetRepositoryName(inPath(strings.TrimPrefix(one.Name, made.Name+"/")))
			got(w.admin.Repository.DeleteRepository(ctx, remove))
		}
		if _, err := w.admin.Project.DeleteProject(ctx, project.NewDeleteProjectParams().WithProjectNameOrID(made.Name)); err != nil {
			c.fail("delete "+made.Name, err.Error())
		}
	}
}

func (w *world) user(c *checks, word, password string) (*models.UserResp, *harborapi.HarborAPI, func()) {
	name := w.name(word)
	asked := &models.UserCreationReq{Username: name, Email: name + "@example.com", Realname: word, Password: password}
	where := got(w.admin.User.CreateUser(ctx, user.NewCreateUserParams().WithUserReq(asked))).Location
	id := c.place("the place of a user", where, "/api/v2.0/users/{}")
	made := got(w.admin.User.GetUser(ctx, user.NewGetUserParams().WithUserID(id))).Payload
	return made, w.client(name, password), func() {
		if _, err := w.admin.User.DeleteUser(ctx, user.NewDeleteUserParams().WithUserID(id)); err != nil {
			c.fail("delete "+name, err.Error())
		}
	}
}

// inPath escapes a repository's name for the first of two times; the library does the second.
func inPath(name string) string {
	return url.PathEscape(name)
}

func ref[T any](value T) *T {
	return &value
}

// each is one field of every row.
func each[T, F any](rows []T, field func(T) F) []F {
	found := make([]F, 0, len(rows))
	for _, row := range rows {
		found = append(found, field(row))
	}
	return found
}
