package main

import (
	"fmt"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/artifact"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/immutable"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/label"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/quota"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

func (w *world) createLabel(asked models.Label) (*label.CreateLabelCreated, error) {
	return w.admin.Label.CreateLabel(ctx, label.NewCreateLabelParams().WithLabel(&asked))
}

func (w *world) getLabel(id int64) (*models.Label, error) {
	answer, err := w.admin.Label.GetLabelByID(ctx, label.NewGetLabelByIDParams().WithLabelID(id))
	if err != nil {
		return nil, err
	}
	return answer.Payload, valid(answer)
}

func labels(c *checks, w *world) {
	api, name := w.admin.Label, w.name("label")
	asked := models.Label{Name: name, Description: "first", Color: "#FF0000", Scope: "g"}
	id := c.place("the place of a label", got(w.createLabel(asked)).Location, "/api/v2.0/labels/{}")
	found := got(w.getLabel(id))
	same(c, "what it is", []string{found.Name, found.Description, found.Color}, []string{name, "first", "#FF0000"})
	same(c, "whose it is", []any{found.Scope, found.ProjectID}, []any{"g", int64(0)})
	listed := got(api.ListLabels(ctx, label.NewListLabelsParams().WithScope(ref("g")).WithName(&w.run)))
	same(c, "listed by a part of the name", listed.Payload, []*models.Label{found})
	same(c, "and counted", listed.XTotalCount, 1)
	_, err := w.createLabel(asked)
	c.refused("a second of the name", err, 409, "CONFLICT")
	_, err = api.ListLabels(ctx, label.NewListLabelsParams())
	c.refused("a list says of what", err, 400, "BAD_REQUEST")
	_, err = w.createLabel(models.Label{Name: name, Scope: "x"})
	c.refused("a scope that there is not", err, 400, "BAD_REQUEST")
	asked.Description, asked.Color = "second", "#00FF00"
	got(api.UpdateLabel(ctx, label.NewUpdateLabelParams().WithLabelID(id).WithLabel(&asked)))
	changed := got(w.getLabel(id))
	same(c, "what was changed", []string{changed.Name, changed.Description, changed.Color}, []string{name, "second", "#00FF00"})

	made, done := w.project(c, models.ProjectReq{ProjectName: "labels"})
	defer done()
	of := int64(made.ProjectID)
	where := got(w.createLabel(models.Label{Name: name, Scope: "p", ProjectID: of})).Location
	own := got(w.getLabel(c.place("the place of a project's", where, "/api/v2.0/labels/{}")))
	same(c, "a project's", []any{own.Scope, own.ProjectID}, []any{"p", of})
	ofProject := label.NewListLabelsParams().WithScope(ref("p")).WithProjectID(&of)
	same(c, "listed in its project", got(api.ListLabels(ctx, ofProject)).Payload, []*models.Label{own})
	got(api.DeleteLabel(ctx, label.NewDeleteLabelParams().WithLabelID(id)))
	_, err = w.getLabel(id)
	c.refused("what was deleted", err, 404, "NOT_FOUND")
}

func quotas(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "quotas", StorageLimit: ref(int64(1 << 20))})
	defer done()
	api, repository := w.admin.Quota, made.Name+"/app"
	list := quota.NewListQuotasParams().WithReference(ref("project")).WithReferenceID(ref(fmt.Sprint(made.ProjectID)))
	listed := got(api.ListQuotas(ctx, list)).Payload
	same(c, "one of a project", len(listed), 1)
	get := func() *models.Quota {
		return got(api.GetQuota(ctx, quota.NewGetQuotaParams().WithID(listed[0].ID))).Payload
	}
	same(c, "the same by its number", get(), listed[0])
	of, _ := listed[0].Ref.(map[string]any)
	same(c, "whose it is", fmt.Sprint(of["id"], of["name"], of["owner_name"]), fmt.Sprint(made.ProjectID, made.Name, "admin"))
	same(c, "how much", []models.ResourceList{listed[0].Hard, listed[0].Used}, []models.ResourceList{{"storage": 1 << 20}, {"storage": 0}})

	first := newImage(w.name("quotas"), nil)
	same(c, "what fits is pushed", w.registry.push(repository, first, "1").status, 201)
	same(c, "and counted", get().Used["storage"], first.size)
	update := func(limit int64) error {
		asked := &models.QuotaUpdateReq{Hard: models.ResourceList{"storage": limit}}
		_, err := api.UpdateQuota(ctx, quota.NewUpdateQuotaParams().WithID(listed[0].ID).WithHard(asked))
		return err
	}
	same(c, "a new limit", update(first.size+10), nil)
	same(c, "it is there", get().Hard["storage"], first.size+10)
	refused := w.registry.push(repository, newImage(w.name("quotas again"), nil), "2")
	same(c, "what does not fit", fmt.Sprint(refused.status, refused.code()), fmt.Sprint(403, "DENIED"))
	c.holds("it says why", strings.Contains(string(refused.body), "will exceed the configured upper limit of"), string(refused.body))
	copied := artifact.NewCopyArtifactParams().WithProjectName(made.Name).WithRepositoryName("other").WithFrom(repository + ":1")
	got(w.admin.Artifact.CopyArtifact(ctx, copied))
	same(c, "what is there already costs nothing again", get().Used["storage"], first.size)
	c.refused("a limit of nothing", update(0), 400, "BAD_REQUEST")
	same(c, "no limit", update(-1), nil)
	same(c, "it is so", get().Hard["storage"], -1)
	_, err := api.GetQuota(ctx, quota.NewGetQuotaParams().WithID(88888888))
	c.refused("one that there is not", err, 404, "NOT_FOUND")
}

func immutableRules(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "immutable"})
	defer done()
	api, repository := w.admin.Immutable, made.Name+"/app"
	first, second := newImage(w.name("immutable"), nil), newImage(w.name("immutable again"), nil)
	same(c, "before the rule", w.registry.push(repository, first, "v1").status, 201)
	rule := &models.ImmutableRule{
		Action: "immutable", Template: "immutable_template",
		TagSelectors:   []*models.ImmutableSelector{{Kind: "doublestar", Decoration: "matches", Pattern: "v*"}},
		ScopeSelectors: map[string][]models.ImmutableSelector{"repository": {{Kind: "doublestar", Decoration: "repoMatches", Pattern: "**"}}},
	}
	create := immutable.NewCreateImmuRuleParams().WithProjectNameOrID(made.Name).WithImmutableRule(rule)
	where := got(api.CreateImmuRule(ctx, create)).Location
	id := c.place("the place of a rule", where, "/api/v2.0/projects/"+made.Name+"/immutabletagrules/{}")
	list := func() []*models.ImmutableRule {
		return got(api.ListImmuRules(ctx, immutable.NewListImmuRulesParams().WithProjectNameOrID(made.Name))).Payload
	}
	rule.ID = id
	found := list()
	same(c, "one rule", len(found), 1)
	same(c, "which it is", []any{found[0].ID, found[0].Disabled}, []any{id, false})
	same(c, "what it does", []string{found[0].Action, found[0].Template}, []string{"immutable", "immutable_template"})
	same(c, "of which tags", found[0].TagSelectors[0].Pattern, "v*")
	same(c, "of which repositories", found[0].ScopeSelectors["repository"][0].Pattern, "**")
	_, err := api.CreateImmuRule(ctx, create)
	c.refused("a second of the kind", err, 409, "CONFLICT")

	pushed := w.registry.push(repository, second, "v1")
	same(c, "the tag is not moved", fmt.Sprint(pushed.status, pushed.code()), fmt.Sprint(412, "PRECONDITION"))
	remove := artifact.NewDeleteTagParams().WithProjectName(made.Name).WithRepositoryName("app").WithReference("v1").WithTagName("v1")
	_, err = w.admin.Artifact.DeleteTag(ctx, remove)
	c.refused("nor deleted", err, 412, "PRECONDITION")
	rule.Disabled = true
	update := immutable.NewUpdateImmuRuleParams().WithProjectNameOrID(made.Name).WithImmutableRuleID(id).WithImmutableRule(rule)
	got(api.UpdateImmuRule(ctx, update))
	other := *rule
	other.ID = id + 1
	_, err = api.UpdateImmuRule(ctx, update.WithImmutableRule(&other))
	c.refused("another number in the body", err, 400, "BAD_REQUEST")
	same(c, "it is off", list()[0].Disabled, true)
	same(c, "now the tag moves", w.registry.push(repository, second, "v1").status, 201)
	_, err = api.UpdateImmuRule(ctx, update.WithImmutableRuleID(other.ID))
	c.refused("a rule that there is not", err, 404, "NOT_FOUND")
	gone := immutable.NewDeleteImmuRuleParams().WithProjectNameOrID(made.Name).WithImmutableRuleID(id)
	got(api.DeleteImmuRule(ctx, gone))
	same(c, "it is deleted", len(list()), 0)
	_, err = api.DeleteImmuRule(ctx, gone)
	c.refused("once", err, 404, "NOT_FOUND")
}
