package main

import (
	"fmt"
	"time"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/repository"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/robot"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/user"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

func rights(kind, namespace string, access ...*models.Access) *models.RobotPermission {
	return &models.RobotPermission{Kind: kind, Namespace: namespace, Access: access}
}

func right(resource, action string) *models.Access {
	return &models.Access{Resource: resource, Action: action}
}

func (w *world) createRobot(asked models.RobotCreate) (*robot.CreateRobotCreated, error) {
	return w.admin.Robot.CreateRobot(ctx, robot.NewCreateRobotParams().WithRobot(&asked))
}

func (w *world) getRobot(id int64) (*models.Robot, error) {
	answer, err := w.admin.Robot.GetRobotByID(ctx, robot.NewGetRobotByIDParams().WithRobotID(id))
	if err != nil {
		return nil, err
	}
	return answer.Payload, valid(answer)
}

func (w *world) listRobots(q string) []*models.Robot {
	return got(w.admin.Robot.ListRobot(ctx, robot.NewListRobotParams().WithQ(&q).WithSort(ref("name")))).Payload
}

func robotsOfTheSystem(c *checks, w *world) {
	both := []*models.RobotPermission{
		rights("system", "/", right("project", "list"), right("label", "read")),
		rights("project", "*", right("repository", "pull"), right("repository", "push")),
	}
	asked := models.RobotCreate{Name: w.name("system"), Description: "for the tests", Level: "system", Duration: 30, Permissions: both}
	answer := got(w.createRobot(asked))
	made := answer.Payload
	same(c, "its place", c.place("the place of a robot", answer.Location, "/api/v2.0/robots/{}"), made.ID)
	same(c, "its name", made.Name, "robot$"+asked.Name)
	same(c, "its secret's length", len(made.Secret), 32)
	lasts := time.Unix(made.ExpiresAt, 0).Sub(time.Time(made.CreationTime))
	c.holds("when it expires", (lasts-30*24*time.Hour).Abs() < 5*time.Second, lasts)
	_, err := w.createRobot(asked)
	c.refused("a second of the name", err, 409, "CONFLICT")
	wrong := asked
	// The library leaves a duration of 0 out, which stands for the setting's.
	wrong.Name, wrong.Duration = w.name("wrong"), -2
	_, err = w.createRobot(wrong)
	c.refused("a duration before now", err, 400, "BAD_REQUEST")
	wrong.Duration, wrong.Permissions = 1, []*models.RobotPermission{rights("system", "/", right("moon", "read"))}
	_, err = w.createRobot(wrong)
	c.refused("a right that there is not", err, 400, "BAD_REQUEST")

	found := got(w.getRobot(made.ID))
	same(c, "what it is", []string{found.Name, found.Level, found.Description}, []string{made.Name, "system", "for the tests"})
	same(c, "how long", *found.Duration, 30)
	same(c, "whether it works", []bool{found.Disable, found.Editable}, []bool{false, true})
	same(c, "who made it", []any{found.CreatorType, found.CreatorRef}, []any{"local", int64(1)})
	same(c, "its rights", len(found.Permissions), 2)
	same(c, "no secret", found.Secret, "")
	same(c, "listed by a part of the name", w.listRobots("name=~"+w.run), []*models.Robot{found})

	itself := w.client(made.Name, made.Secret)
	listed := got(itself.Project.ListProjects(ctx, project.NewListProjectsParams().WithName(ref("library")))).Payload
	same(c, "it lists projects", each(listed, func(one *models.Project) string { return one.Name }), []string{"library"})
	_, err = itself.User.ListUsers(ctx, user.NewListUsersParams())
	c.refused("it has no other right", err, 403, "FORBIDDEN")
	// harbor-cli takes this answer as the sign of a robot, and goes on with a ping.
	_, err = itself.User.GetCurrentUserInfo(ctx, user.NewGetCurrentUserInfoParams())
	c.refused("it is no user", err, 412, "PRECONDITION")
	secrets(c, w, found, made.Secret)
	got(w.admin.Robot.DeleteRobot(ctx, robot.NewDeleteRobotParams().WithRobotID(made.ID)))
	_, err = w.getRobot(made.ID)
	c.refused("what was deleted", err, 404, "NOT_FOUND")
	_, err = w.admin.Robot.DeleteRobot(ctx, robot.NewDeleteRobotParams().WithRobotID(made.ID))
	c.refused("is not deleted again", err, 404, "NOT_FOUND")
}

// A secret is made anew, chosen, and refused while the robot is disabled.
func secrets(c *checks, w *world, of *models.Robot, first string) {
	login := func(secret string) int { return registry{w.url, of.Name, secret}.login() }
	refresh := func(secret string) (*robot.RefreshSecOK, error) {
		asked := robot.NewRefreshSecParams().WithRobotID(of.ID).WithRobotSec(&models.RobotSec{Secret: secret})
		return w.admin.Robot.RefreshSec(ctx, asked)
	}
	same(c, "it logs in", login(first), 200)
	second := got(refresh("")).Payload.Secret
	c.holds("a new secret", len(second) == 32 && second != first, second)
	same(c, "it logs in by it", login(second), 200)
	same(c, "no longer by the first", login(first), 401)
	same(c, "a secret that was chosen is not shown", got(refresh("Chosen-Secret-1")).Payload.Secret, "")
	same(c, "it logs in by what was chosen", login("Chosen-Secret-1"), 200)
	_, err := refresh("weak")
	c.refused("a weak one", err, 400, "BAD_REQUEST")

	update := func(changed models.Robot) error {
		_, err := w.admin.Robot.UpdateRobot(ctx, robot.NewUpdateRobotParams().WithRobotID(of.ID).WithRobot(&changed))
		return err
	}
	changed := *of
	changed.Disable, changed.Duration, changed.Description = true, ref(int64(-1)), "changed"
	same(c, "disable it", update(changed), nil)
	found := got(w.getRobot(of.ID))
	same(c, "disabled, and for ever", []any{found.Disable, *found.Duration, found.ExpiresAt}, []any{true, int64(-1), int64(-1)})
	same(c, "its description", found.Description, "changed")
	same(c, "a robot that is disabled", login("Chosen-Secret-1"), 401)
	changed.Disable = false
	same(c, "enable it", update(changed), nil)
	same(c, "it logs in again", login("Chosen-Secret-1"), 200)
	changed.Name = "another"
	c.refused("its name stays", update(changed), 400, "BAD_REQUEST")
}

func robotsOfAProject(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "robots"})
	defer done()
	other, gone := w.project(c, models.ProjectReq{ProjectName: "others"})
	defer gone()
	create := func(name string, access ...*models.Access) *models.RobotCreated {
		asked := models.RobotCreate{Name: name, Level: "project", Duration: -1}
		asked.Permissions = []*models.RobotPermission{rights("project", made.Name, access...)}
		return got(w.createRobot(asked)).Payload
	}
	pushing := create("push", right("repository", "pull"), right("repository", "push"))
	pulling := create("pull", right("repository", "pull"), right("repository", "read"))
	same(c, "its name, and how long", []any{pushing.Name, pushing.ExpiresAt}, []any{"robot$" + made.Name + "+push", int64(-1)})
	ofProject := fmt.Sprintf("Level=project,ProjectID=%d", made.ProjectID)
	nameOf := func(one *models.Robot) string { return one.Name }
	same(c, "those of the project", each(w.listRobots(ofProject), nameOf), []string{pulling.Name, pushing.Name})
	same(c, "one of them", each(w.listRobots(ofProject+",name=~push"), nameOf), []string{pushing.Name})
	same(c, "none of another", len(w.listRobots(fmt.Sprintf("Level=project,ProjectID=%d", other.ProjectID))), 0)
	_, err := w.admin.Robot.ListRobot(ctx, robot.NewListRobotParams().WithQ(ref("Level=project")))
	c.refused("a level without a project", err, 400, "BAD_REQUEST")

	pushed := newImage(w.name("robots"), nil)
	pusher, puller := registry{w.url, pushing.Name, pushing.Secret}, registry{w.url, pulling.Name, pulling.Secret}
	same(c, "it pushes", pusher.push(made.Name+"/app", pushed, "1").status, 201)
	same(c, "not elsewhere", pusher.push(other.Name+"/app", pushed, "1").status, 401)
	same(c, "the other one pulls", puller.pull(made.Name+"/app", "1").header.Get("Docker-Content-Digest"), pushed.digest)
	same(c, "and pushes nothing", puller.push(made.Name+"/app", pushed, "2").status, 401)
	itself := w.client(pulling.Name, pulling.Secret)
	get := repository.NewGetRepositoryParams().WithProjectName(made.Name).WithRepositoryName("app")
	same(c, "it reads the repository", got(itself.Repository.GetRepository(ctx, get)).Payload.ArtifactCount, 1)
	remove := repository.NewDeleteRepositoryParams().WithProjectName(made.Name).WithRepositoryName("app")
	_, err = itself.Repository.DeleteRepository(ctx, remove)
	c.refused("it deletes nothing", err, 403, "FORBIDDEN")
}

// A robot gives no right that it has not.
func robotsThatMakeRobots(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "offspring"})
	defer done()
	both := []*models.RobotPermission{
		rights("system", "/", right("robot", "create"), right("robot", "read"), right("robot", "delete")),
		rights("project", "*", right("repository", "pull"), right("robot", "create")),
	}
	parent := got(w.createRobot(models.RobotCreate{Name: w.name("parent"), Level: "system", Duration: 1, Permissions: both})).Payload
	itself := w.client(parent.Name, parent.Secret)
	create := func(name string, access *models.Access) (*robot.CreateRobotCreated, error) {
		asked := &models.RobotCreate{Name: name, Level: "project", Duration: 1}
		asked.Permissions = []*models.RobotPermission{rights("project", made.Name, access)}
		return itself.Robot.CreateRobot(ctx, robot.NewCreateRobotParams().WithRobot(asked))
	}
	child := got(w.getRobot(got(create("child", right("repository", "pull"))).Payload.ID))
	same(c, "who made it", []any{child.CreatorType, child.CreatorRef}, []any{"robot", parent.ID})
	_, err := create("other", right("repository", "push"))
	c.refused("a right that it has not", err, 403, "DENIED")
	got(w.admin.Robot.DeleteRobot(ctx, robot.NewDeleteRobotParams().WithRobotID(parent.ID)))
	same(c, "the child stays", got(w.getRobot(child.ID)).Name, "robot$"+made.Name+"+child")
}
