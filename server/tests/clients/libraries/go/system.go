package main

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/auditlog"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/configure"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/health"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/permissions"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/ping"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/search"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/statistic"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/systeminfo"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

func pingAndHealth(c *checks, w *world) {
	same(c, "ping", got(w.admin.Ping.GetPing(ctx, ping.NewGetPingParams())).Payload, "Pong")
	found := got(w.admin.Health.GetHealth(ctx, health.NewGetHealthParams())).Payload
	same(c, "health", found.Status, "healthy")
	parts := each(found.Components, func(one *models.ComponentHealthStatus) string { return one.Name })
	c.holds("all parts in order", len(parts) > 1 && sort.StringsAreSorted(parts), parts)
	for _, part := range found.Components {
		same(c, part.Name, part.Status, "healthy")
	}
}

func whatTheSystemIs(c *checks, w *world) {
	info := got(w.admin.Systeminfo.GetSystemInfo(ctx, systeminfo.NewGetSystemInfoParams())).Payload
	same(c, "how people sign in", *info.AuthMode, "db_auth")
	same(c, "who makes projects", *info.ProjectCreationRestriction, "everyone")
	same(c, "what may not be done", []bool{*info.ReadOnly, *info.SelfRegistration}, []bool{false, false})
	c.holds("the version, as clients read it", strings.HasPrefix(*info.HarborVersion, "v2."), *info.HarborVersion)
	c.holds("where it is", !strings.Contains(*info.RegistryURL, "://") && strings.Contains(*info.ExternalURL, "://"), *info.RegistryURL)
	c.holds("what time it is", time.Since(time.Time(*info.CurrentTime)).Abs() < time.Minute, info.CurrentTime)
	volumes := got(w.admin.Systeminfo.GetVolumes(ctx, systeminfo.NewGetVolumesParams())).Payload.Storage
	c.holds("the room of the store", len(volumes) == 1 && 0 < volumes[0].Free && volumes[0].Free <= volumes[0].Total, volumes)
}

func configurations(c *checks, w *world) {
	api := w.admin.Configure
	get := func() *models.ConfigurationsResponse {
		return got(api.GetConfigurations(ctx, configure.NewGetConfigurationsParams())).Payload
	}
	update := func(asked models.Configurations) error {
		_, err := api.UpdateConfigurations(ctx, configure.NewUpdateConfigurationsParams().WithConfigurations(&asked))
		return err
	}
	before := get()
	same(c, "how people sign in", before.AuthMode.Value, "db_auth")
	same(c, "what robots are called", before.RobotNamePrefix.Value, "robot$")
	same(c, "who makes projects", *before.ProjectCreationRestriction, models.StringConfigItem{Value: "everyone", Editable: true})
	minutes := before.TokenExpiration.Value
	changed := models.Configurations{TokenExpiration: ref(minutes + 15), ProjectCreationRestriction: ref("adminonly")}
	same(c, "change two of them", update(changed), nil)
	after := get()
	same(c, "a number", after.TokenExpiration.Value, minutes+15)
	same(c, "a word", after.ProjectCreationRestriction.Value, "adminonly")
	same(c, "what was not named", *after.SessionTimeout, *before.SessionTimeout)
	restricted(c, w)
	same(c, "back", update(models.Configurations{TokenExpiration: &minutes, ProjectCreationRestriction: ref("everyone")}), nil)
	same(c, "it is as it was", get(), before)
	c.refused("tokens last", update(models.Configurations{TokenExpiration: ref(int64(0))}), 400, "BAD_REQUEST")
	_, err := api.GetInternalconfig(ctx, configure.NewGetInternalconfigParams())
	c.refused("nobody is an internal service", err, 401, "UNAUTHORIZED")
}

// restricted: only administrators make projects.
func restricted(c *checks, w *world) {
	_, himself, left := w.user(c, "maker", "Passw0rd-1")
	defer left()
	asked := project.NewCreateProjectParams().WithProject(&models.ProjectReq{ProjectName: w.name("restricted")})
	_, err := himself.Project.CreateProject(ctx, asked)
	c.refused("nobody else makes projects", err, 403, "FORBIDDEN")
	_, err = himself.Configure.GetConfigurations(ctx, configure.NewGetConfigurationsParams())
	c.refused("nor reads settings", err, 403, "FORBIDDEN")
}

func rightsToGive(c *checks, w *world) {
	found := got(w.admin.Permissions.GetPermissions(ctx, permissions.NewGetPermissionsParams())).Payload
	has := func(rights []*models.Permission, resource, action string) bool {
		for _, one := range rights {
			if one.Resource == resource && one.Action == action {
				return true
			}
		}
		return false
	}
	same(c, "rights on the system", has(found.System, "project", "create") && has(found.System, "quota", "update"), true)
	same(c, "rights in a project", has(found.Project, "repository", "push") && has(found.Project, "tag", "delete"), true)
	same(c, "nobody pushes to the system", has(found.System, "repository", "push"), false)
	_, himself, left := w.user(c, "nobody", "Passw0rd-1")
	defer left()
	_, err := himself.Permissions.GetPermissions(ctx, permissions.NewGetPermissionsParams())
	c.refused("nobody else reads them", err, 403, "FORBIDDEN")
}

// strangers bring no name.
func strangers(c *checks, w *world) {
	public, done := w.project(c, models.ProjectReq{ProjectName: "public", Metadata: &models.ProjectMetadata{Public: "true"}})
	defer done()
	private, gone := w.project(c, models.ProjectReq{ProjectName: "private"})
	defer gone()
	w.push(c, public, "", "1")
	nobody := w.client("", "")
	listed := got(nobody.Project.ListProjects(ctx, project.NewListProjectsParams().WithQ(ref("name=~"+w.run)))).Payload
	same(c, "they see what is public", each(listed, func(one *models.Project) string { return one.Name }), []string{public.Name})
	same(c, "and what is in it", digests(w.listArtifactsAs(nobody, public, "")), digests(w.listArtifacts(public, "")))
	_, err := nobody.Project.GetProject(ctx, project.NewGetProjectParams().WithProjectNameOrID(private.Name))
	c.refused("nothing private", err, 401, "UNAUTHORIZED")
	_, err = nobody.Statistic.GetStatistic(ctx, statistic.NewGetStatisticParams())
	c.refused("no numbers", err, 401, "UNAUTHORIZED")
	_, err = nobody.Auditlog.ListAuditLogExts(ctx, auditlog.NewListAuditLogExtsParams())
	c.refused("nothing that was done", err, 401, "UNAUTHORIZED")
	_, err = nobody.Project.CreateProject(ctx, project.NewCreateProjectParams().WithProject(&models.ProjectReq{ProjectName: w.name("x")}))
	c.refused("they make nothing", err, 401, "UNAUTHORIZED")
	info := got(nobody.Systeminfo.GetSystemInfo(ctx, systeminfo.NewGetSystemInfoParams())).Payload
	same(c, "how they sign in", *info.AuthMode, "db_auth")
	same(c, "not which version it is", info.HarborVersion, nil)
	same(c, "ping", got(nobody.Ping.GetPing(ctx, ping.NewGetPingParams())).Payload, "Pong")
}

func statisticsAndSearch(c *checks, w *world) {
	count := func() *models.Statistic {
		return got(w.admin.Statistic.GetStatistic(ctx, statistic.NewGetStatisticParams())).Payload
	}
	wanted := count()
	made, done := w.project(c, models.ProjectReq{ProjectName: "numbers"})
	defer done()
	pushed := w.push(c, made, "", "1")
	wanted.TotalProjectCount++
	wanted.PrivateProjectCount++
	wanted.TotalRepoCount++
	wanted.PrivateRepoCount++
	wanted.TotalStorageConsumption += pushed.size
	same(c, "the numbers", *count(), *wanted)

	found := got(w.admin.Search.Search(ctx, search.NewSearchParams().WithQ(made.Name))).Payload
	same(c, "the project", each(found.Project, func(one *models.Project) int32 { return one.ProjectID }), []int32{made.ProjectID})
	same(c, "one repository", len(found.Repository), 1)
	same(c, "which it is", *found.Repository[0], models.SearchRepository{
		ProjectID: int64(made.ProjectID), ProjectName: made.Name, RepositoryName: made.Name + "/" + nested, ArtifactCount: 1})
	nothing := got(w.admin.Search.Search(ctx, search.NewSearchParams().WithQ(w.name("never")))).Payload
	same(c, "nothing", len(nothing.Project)+len(nothing.Repository), 0)
}

func audit(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "audited"})
	defer done()
	w.push(c, made, "", "v1")
	ofProject := got(w.admin.Project.GetLogExts(ctx, project.NewGetLogExtsParams().WithProjectName(made.Name).WithSort(ref("op_time"))))
	told := each(ofProject.Payload, func(one *models.AuditLogExt) string {
		return fmt.Sprint(one.Username, " ", one.Operation, " ", one.ResourceType, " ", one.Resource, " ", one.OperationResult)
	})
	all := strings.Join(told, "\n")
	c.holds("the project", strings.Contains(all, "admin create project "+made.Name+" true"), told)
	c.holds("the push", strings.Contains(all, "admin create artifact "+made.Name+"/"+nested+":v1 true"), told)
	same(c, "they are counted", ofProject.XTotalCount, int64(len(told)))
	older := got(w.admin.Project.GetLogs(ctx, project.NewGetLogsParams().WithProjectName(made.Name))).Payload
	same(c, "the same in the older form", len(older), len(told))
	q := "operation=create,resource=" + made.Name
	lines := got(w.admin.Auditlog.ListAuditLogExts(ctx, auditlog.NewListAuditLogExtsParams().WithQ(&q))).Payload
	same(c, "found among all", each(lines, func(one *models.AuditLogExt) string { return one.ResourceType }), []string{"project"})
	c.holds("when it was", time.Since(time.Time(lines[0].OpTime)).Abs() < time.Minute, lines[0].OpTime)
	olderLines := got(w.admin.Auditlog.ListAuditLogs(ctx, auditlog.NewListAuditLogsParams().WithQ(&q))).Payload
	same(c, "found in the older form", each(olderLines, func(one *models.AuditLog) int64 { return one.ID }), []int64{lines[0].ID})
	types := got(w.admin.Auditlog.ListAuditLogEventTypes(ctx, auditlog.NewListAuditLogEventTypesParams())).Payload
	names := each(types, func(one *models.AuditLogEventType) string { return one.EventType })
	c.holds("the types of events", strings.Contains(strings.Join(names, " "), "create_artifact"), names)
}
