package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project_metadata"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/system_cve_allowlist"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

func (w *world) getProject(nameOrID string) (*models.Project, error) {
	answer, err := w.admin.Project.GetProject(ctx, project.NewGetProjectParams().WithProjectNameOrID(nameOrID))
	if err != nil {
		return nil, err
	}
	return answer.Payload, valid(answer)
}

func projects(c *checks, w *world) {
	name := w.name("projects")
	metadata := &models.ProjectMetadata{Public: "false", AutoScan: ref("true"), Severity: ref("high")}
	asked := &models.ProjectReq{ProjectName: name, Metadata: metadata, StorageLimit: ref(int64(1 << 30))}
	create := project.NewCreateProjectParams().WithProject(asked)
	id := c.place("the place of a project", got(w.admin.Project.CreateProject(ctx, create)).Location, "/api/v2.0/projects/{}")
	_, err := w.admin.Project.CreateProject(ctx, create)
	c.refused("a second of the name", err, 409, "CONFLICT")
	wrong := &models.ProjectReq{ProjectName: "Not A Name"}
	_, err = w.admin.Project.CreateProject(ctx, project.NewCreateProjectParams().WithProject(wrong))
	c.refused("a bad name", err, 400, "BAD_REQUEST")

	found := got(w.getProject(name))
	same(c, "which it is", []any{found.Name, int64(found.ProjectID), found.OwnerName, found.OwnerID}, []any{name, id, "admin", int32(1)})
	same(c, "the caller's roles", found.CurrentUserRoleIds, []int32{1})
	shown := []string{found.Metadata.Public, *found.Metadata.AutoScan, *found.Metadata.Severity}
	same(c, "its metadata", shown, []string{"false", "true", "high"})
	same(c, "its list of vulnerabilities", []any{found.CVEAllowlist.ProjectID, len(found.CVEAllowlist.Items)}, []any{id, 0})
	c.holds("the time it was made", time.Since(time.Time(found.CreationTime)).Abs() < time.Minute, found.CreationTime)
	same(c, "the same by its number", got(w.getProject(fmt.Sprint(id))), found)
	got(w.admin.Project.HeadProject(ctx, project.NewHeadProjectParams().WithProjectName(name)))
	_, err = w.admin.Project.HeadProject(ctx, project.NewHeadProjectParams().WithProjectName(name+"-not"))
	_, missing := err.(*project.HeadProjectNotFound)
	c.holds("another is not there", missing, err)

	update := project.NewUpdateProjectParams().WithProjectNameOrID(name).WithXIsResourceName(ref(true))
	changes := &models.ProjectMetadata{Public: "true", AutoScan: ref("false")}
	got(w.admin.Project.UpdateProject(ctx, update.WithProject(&models.ProjectReq{Metadata: changes})))
	changed := got(w.getProject(name)).Metadata
	same(c, "what was changed", []string{changed.Public, *changed.AutoScan}, []string{"true", "false"})
	same(c, "what was not", *changed.Severity, "high")
	_, err = w.admin.Project.UpdateProject(ctx, update.WithProject(&models.ProjectReq{Metadata: &models.ProjectMetadata{Public: "perhaps"}}))
	c.refused("public is true or false", err, 400, "BAD_REQUEST")

	summary := got(w.admin.Project.GetProjectSummary(ctx, project.NewGetProjectSummaryParams().WithProjectNameOrID(name))).Payload
	quota := []models.ResourceList{summary.Quota.Hard, summary.Quota.Used}
	same(c, "the summary's quota", quota, []models.ResourceList{{"storage": 1 << 30}, {"storage": 0}})
	same(c, "the summary's counts", []int64{summary.RepoCount, summary.ProjectAdminCount, summary.DeveloperCount}, []int64{0, 1, 0})
	deletable := got(w.admin.Project.GetProjectDeletable(ctx, project.NewGetProjectDeletableParams().WithProjectNameOrID(name))).Payload
	same(c, "it can be deleted", deletable.Deletable, true)
	remove := project.NewDeleteProjectParams().WithProjectNameOrID(fmt.Sprint(id))
	got(w.admin.Project.DeleteProject(ctx, remove))
	_, err = w.getProject(name)
	c.refused("what was deleted", err, 404, "NOT_FOUND")
	_, err = w.admin.Project.DeleteProject(ctx, remove)
	c.refused("is not deleted again", err, 404, "NOT_FOUND")
}

func listsOfProjects(c *checks, w *world) {
	names := []string{w.name("list-a"), w.name("list-b"), w.name("list-c")}
	for _, letter := range "abc" {
		public := &models.ProjectMetadata{Public: fmt.Sprint(letter == 'b')}
		_, done := w.project(c, models.ProjectReq{ProjectName: "list-" + string(letter), Metadata: public})
		defer done()
	}
	listed := func(what string, params *project.ListProjectsParams, wanted []string) *project.ListProjectsOK {
		answer := got(w.admin.Project.ListProjects(ctx, params))
		same(c, what, each(answer.Payload, func(one *models.Project) string { return one.Name }), wanted)
		return answer
	}
	ofRun := func() *project.ListProjectsParams {
		return project.NewListProjectsParams().WithQ(ref("name=~" + w.run))
	}
	page := func(number int64) *project.ListProjectsParams {
		return ofRun().WithPage(&number).WithPageSize(ref(int64(2)))
	}

	first := listed("the first page", page(1), names[:2])
	same(c, "all are counted", first.XTotalCount, 3)
	next := strings.HasPrefix(first.Link, "</api/v2.0/projects?") && strings.HasSuffix(first.Link, `; rel="next"`)
	c.holds("it links to the next", next, first.Link)
	second := listed("the second page", page(2), names[2:])
	c.holds("it links to the first", strings.HasSuffix(second.Link, `; rel="prev"`) && !strings.Contains(second.Link, "next"), second.Link)
	listed("a page after the last", page(9), []string{})
	listed("all at once", ofRun().WithPageSize(ref(int64(0))), names)
	listed("backwards", ofRun().WithSort(ref("-name")), []string{names[2], names[1], names[0]})
	listed("by a part of the name", project.NewListProjectsParams().WithName(ref("b-"+w.run)), names[1:2])
	listed("public ones", ofRun().WithPublic(ref(true)), names[1:2])
	listed("of an owner", ofRun().WithOwner(ref("admin")), names)
	_, err := w.admin.Project.ListProjects(ctx, page(1).WithPageSize(ref(int64(101))))
	c.refused("a page that is too long", err, 422, "UNPROCESSABLE_ENTITY")
	plain := listed("without details", ofRun().WithWithDetail(ref(false)), names).Payload[0]
	c.holds("they are left out", plain.Metadata == nil && plain.OwnerName == "", plain)
}

// A name of digits is a name where the client says so, and a number where it does not.
func namesThatAreNumbers(c *checks, w *world) {
	name := fmt.Sprint(time.Now().UnixNano())
	asked := &models.ProjectReq{ProjectName: name}
	create := project.NewCreateProjectParams().WithProject(asked).WithXResourceNameInLocation(ref(true))
	where := got(w.admin.Project.CreateProject(ctx, create)).Location
	c.place("the place of a project that was asked for by name", where, "/api/v2.0/projects/"+name)
	byName := project.NewGetProjectParams().WithProjectNameOrID(name).WithXIsResourceName(ref(true))
	same(c, "by name", got(w.admin.Project.GetProject(ctx, byName)).Payload.Name, name)
	_, err := w.getProject(name)
	c.refused("by number", err, 404, "NOT_FOUND")
	got(w.admin.Project.DeleteProject(ctx, project.NewDeleteProjectParams().WithProjectNameOrID(name).WithXIsResourceName(ref(true))))
}

func metadata(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "metadata"})
	defer done()
	api := w.admin.ProjectMetadata
	add := project_metadata.NewAddProjectMetadatasParams().WithProjectNameOrID(made.Name)
	got(api.AddProjectMetadatas(ctx, add.WithMetadata(map[string]string{"auto_scan": "true"})))
	all := func() map[string]string {
		return got(api.ListProjectMetadatas(ctx, project_metadata.NewListProjectMetadatasParams().WithProjectNameOrID(made.Name))).Payload
	}
	same(c, "what was added", all()["auto_scan"], "true")
	_, err := api.AddProjectMetadatas(ctx, add)
	c.refused("nothing is added twice", err, 409, "CONFLICT")
	_, err = api.AddProjectMetadatas(ctx, add.WithMetadata(map[string]string{"moon": "full"}))
	c.refused("nothing that nobody knows", err, 400, "BAD_REQUEST")
	update := project_metadata.NewUpdateProjectMetadataParams().WithProjectNameOrID(made.Name).WithMetaName("auto_scan")
	got(api.UpdateProjectMetadata(ctx, update.WithMetadata(map[string]string{"auto_scan": "false"})))
	one := project_metadata.NewGetProjectMetadataParams().WithProjectNameOrID(made.Name).WithMetaName("auto_scan")
	same(c, "what was changed", got(api.GetProjectMetadata(ctx, one)).Payload, map[string]string{"auto_scan": "false"})
	remove := project_metadata.NewDeleteProjectMetadataParams().WithProjectNameOrID(made.Name).WithMetaName("auto_scan")
	got(api.DeleteProjectMetadata(ctx, remove))
	_, kept := all()["auto_scan"]
	same(c, "it is gone", kept, false)
}

func cveAllowlists(c *checks, w *world) {
	api := w.admin.SystemCVEAllowlist
	system := func() *models.CVEAllowlist {
		return got(api.GetSystemCVEAllowlist(ctx, system_cve_allowlist.NewGetSystemCVEAllowlistParams())).Payload
	}
	put := func(list *models.CVEAllowlist) {
		got(api.PutSystemCVEAllowlist(ctx, system_cve_allowlist.NewPutSystemCVEAllowlistParams().WithAllowlist(list)))
	}
	before := system()
	items := []*models.CVEAllowlistItem{{CVEID: "CVE-2026-0001"}, {CVEID: "CVE-2026-0002"}}
	put(&models.CVEAllowlist{Items: items, ExpiresAt: ref(int64(4102444800))})
	found := system()
	same(c, "the system's list", found.Items, items)
	same(c, "when it expires", *found.ExpiresAt, 4102444800)
	put(&models.CVEAllowlist{Items: before.Items, ExpiresAt: before.ExpiresAt})
	same(c, "it is as it was", len(system().Items), len(before.Items))

	made, done := w.project(c, models.ProjectReq{ProjectName: "allowlist"})
	defer done()
	metadata := &models.ProjectMetadata{Public: "false", ReuseSysCVEAllowlist: ref("false")}
	update := project.NewUpdateProjectParams().WithProjectNameOrID(made.Name)
	own := &models.ProjectReq{Metadata: metadata, CVEAllowlist: &models.CVEAllowlist{ProjectID: int64(made.ProjectID), Items: items[:1]}}
	got(w.admin.Project.UpdateProject(ctx, update.WithProject(own)))
	changed := got(w.getProject(made.Name))
	same(c, "a project's list", changed.CVEAllowlist.Items, items[:1])
	same(c, "which counts", *changed.Metadata.ReuseSysCVEAllowlist, "false")
	own.CVEAllowlist.ProjectID++
	_, err := w.admin.Project.UpdateProject(ctx, update.WithProject(own))
	c.refused("no other project's", err, 400, "BAD_REQUEST")
}
