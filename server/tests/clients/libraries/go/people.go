package main

import (
	"fmt"

	harborapi "github.com/goharbor/go-client/pkg/sdk/v2.0/client"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/member"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/user"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/usergroup"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

func users(c *checks, w *world) {
	api := w.admin.User
	made, himself, done := w.user(c, "somebody", "Passw0rd-1")
	defer done()
	same(c, "who he is", []string{made.Username, made.Realname}, []string{w.name("somebody"), "somebody"})
	same(c, "his address", made.Email, made.Username+"@example.com")
	same(c, "no administrator", []bool{made.SysadminFlag, made.AdminRoleInAuth}, []bool{false, false})
	search := user.NewSearchUsersParams().WithUsername(w.run)
	same(c, "found by a part of his name", got(api.SearchUsers(ctx, search)).Payload,
		[]*models.UserSearchRespItem{{UserID: made.UserID, Username: made.Username}})
	listed := got(api.ListUsers(ctx, user.NewListUsersParams().WithQ(ref("username=~"+w.run))))
	same(c, "listed", listed.Payload, []*models.UserResp{made})
	same(c, "and counted", listed.XTotalCount, 1)
	same(c, "himself", whoIs(himself), made.UserID)
	asked := &models.UserCreationReq{Username: made.Username, Email: "other@example.com", Realname: "x", Password: "Passw0rd-1"}
	_, err := api.CreateUser(ctx, user.NewCreateUserParams().WithUserReq(asked))
	c.refused("a second of the name", err, 409, "CONFLICT")
	asked.Username, asked.Password = w.name("weak"), "weak"
	_, err = api.CreateUser(ctx, user.NewCreateUserParams().WithUserReq(asked))
	c.refused("a weak password", err, 400, "BAD_REQUEST")

	profile := &models.UserProfile{Email: made.Email, Realname: "Some Body", Comment: "no comment"}
	got(himself.User.UpdateUserProfile(ctx, user.NewUpdateUserProfileParams().WithUserID(made.UserID).WithProfile(profile)))
	changed := got(api.GetUser(ctx, user.NewGetUserParams().WithUserID(made.UserID))).Payload
	same(c, "his new profile", []string{changed.Realname, changed.Comment}, []string{"Some Body", "no comment"})
	_, err = himself.User.UpdateUserProfile(ctx, user.NewUpdateUserProfileParams().WithUserID(1).WithProfile(profile))
	c.refused("not somebody else's", err, 403, "FORBIDDEN")
	_, err = himself.User.ListUsers(ctx, user.NewListUsersParams())
	c.refused("nobody lists users who may not", err, 403, "FORBIDDEN")
	passwords(c, w, made, himself)
	administrators(c, w, made)
	_, err = api.GetUser(ctx, user.NewGetUserParams().WithUserID(88888888))
	c.refused("nobody of that number", err, 404, "NOT_FOUND")
	_, err = api.DeleteUser(ctx, user.NewDeleteUserParams().WithUserID(1))
	c.refused("the first administrator stays", err, 403, "FORBIDDEN")
	secret := &models.OIDCCliSecretReq{Secret: "Chosen-Secret-1"}
	_, err = himself.User.SetCliSecret(ctx, user.NewSetCliSecretParams().WithUserID(made.UserID).WithSecret(secret))
	c.refused("no secret without OIDC", err, 412, "PRECONDITION")
}

func whoIs(somebody *harborapi.HarborAPI) int64 {
	return got(somebody.User.GetCurrentUserInfo(ctx, user.NewGetCurrentUserInfoParams())).Payload.UserID
}

func passwords(c *checks, w *world, made *models.UserResp, himself *harborapi.HarborAPI) {
	change := func(by *harborapi.HarborAPI, before, after string) error {
		asked := &models.PasswordReq{OldPassword: before, NewPassword: after}
		_, err := by.User.UpdateUserPassword(ctx, user.NewUpdateUserPasswordParams().WithUserID(made.UserID).WithPassword(asked))
		return err
	}
	c.refused("a wrong old password", change(himself, "Passw0rd-0", "Passw0rd-2"), 403, "FORBIDDEN")
	c.refused("the same password again", change(himself, "Passw0rd-1", "Passw0rd-1"), 400, "BAD_REQUEST")
	same(c, "his own change", change(himself, "Passw0rd-1", "Passw0rd-2"), nil)
	same(c, "the password that he chose", whoIs(w.client(made.Username, "Passw0rd-2")), made.UserID)
	same(c, "the administrator's change", change(w.admin, "", "Passw0rd-3"), nil)
	same(c, "the password that the administrator chose", whoIs(w.client(made.Username, "Passw0rd-3")), made.UserID)
	_, err := himself.User.GetCurrentUserInfo(ctx, user.NewGetCurrentUserInfoParams())
	c.refused("the old one", err, 401, "UNAUTHORIZED")
}

func administrators(c *checks, w *world, made *models.UserResp) {
	for _, flag := range []bool{true, false} {
		asked := user.NewSetUserSysAdminParams().WithUserID(made.UserID).WithSysadminFlag(&models.UserSysAdminFlag{SysadminFlag: flag})
		got(w.admin.User.SetUserSysAdmin(ctx, asked))
		found := got(w.admin.User.GetUser(ctx, user.NewGetUserParams().WithUserID(made.UserID))).Payload
		same(c, fmt.Sprintf("an administrator: %t", flag), found.SysadminFlag, flag)
	}
}

func members(c *checks, w *world) {
	made, done := w.project(c, models.ProjectReq{ProjectName: "members"})
	defer done()
	somebody, himself, left := w.user(c, "member", "Passw0rd-1")
	defer left()
	api := w.admin.Member
	create := func(role int64, who models.UserEntity) (*member.CreateProjectMemberCreated, error) {
		asked := &models.ProjectMember{RoleID: role, MemberUser: &who}
		return api.CreateProjectMember(ctx, member.NewCreateProjectMemberParams().WithProjectNameOrID(made.Name).WithProjectMember(asked))
	}
	_, err := himself.Project.GetProject(ctx, project.NewGetProjectParams().WithProjectNameOrID(made.Name))
	c.refused("no stranger looks in", err, 403, "FORBIDDEN")
	where := got(create(2, models.UserEntity{Username: somebody.Username})).Location
	id := c.place("the place of a member", where, "/api/v2.0/projects/"+made.Name+"/members/{}")
	get := member.NewGetProjectMemberParams().WithProjectNameOrID(made.Name).WithMid(id)
	found := got(api.GetProjectMember(ctx, get)).Payload
	same(c, "who he is", *found, models.ProjectMemberEntity{ID: id, ProjectID: int64(made.ProjectID), EntityID: somebody.UserID,
		EntityName: somebody.Username, EntityType: "u", RoleID: 2, RoleName: "developer"})
	list := member.NewListProjectMembersParams().WithProjectNameOrID(made.Name)
	all := got(api.ListProjectMembers(ctx, list))
	names := each(all.Payload, func(one *models.ProjectMemberEntity) string { return one.EntityName + " " + one.RoleName })
	same(c, "all members", names, []string{"admin projectAdmin", somebody.Username + " developer"})
	same(c, "they are counted", all.XTotalCount, 2)
	one := got(api.ListProjectMembers(ctx, list.WithEntityname(&somebody.Username))).Payload
	same(c, "one by name", one, []*models.ProjectMemberEntity{found})
	same(c, "a developer pushes", mayPush(himself, made), true)

	update := member.NewUpdateProjectMemberParams().WithProjectNameOrID(made.Name).WithMid(id)
	got(api.UpdateProjectMember(ctx, update.WithRole(&models.RoleRequest{RoleID: 3})))
	same(c, "another role", got(api.GetProjectMember(ctx, get)).Payload.RoleName, "guest")
	same(c, "a guest does not push", mayPush(himself, made), false)
	_, err = create(1, models.UserEntity{UserID: somebody.UserID})
	c.refused("nobody twice", err, 409, "CONFLICT")
	_, err = create(1, models.UserEntity{Username: "nobody-of-that-name"})
	c.refused("nobody unknown", err, 404, "NOT_FOUND")
	_, err = himself.Member.UpdateProjectMember(ctx, update)
	c.refused("a guest changes no role", err, 403, "FORBIDDEN")
	got(api.DeleteProjectMember(ctx, member.NewDeleteProjectMemberParams().WithProjectNameOrID(made.Name).WithMid(id)))
	_, err = api.GetProjectMember(ctx, get)
	c.refused("who was removed", err, 404, "NOT_FOUND")
	_, err = create(9, models.UserEntity{UserID: somebody.UserID})
	c.refused("no role that there is not", err, 400, "BAD_REQUEST")
}

func groups(c *checks, w *world) {
	api, name := w.admin.Usergroup, w.name("group")
	asked := &models.UserGroup{GroupName: name, GroupType: 3}
	create := usergroup.NewCreateUserGroupParams().WithUsergroup(asked)
	id := c.place("the place of a group", got(api.CreateUserGroup(ctx, create)).Location, "/api/v2.0/usergroups/{}")
	_, err := api.CreateUserGroup(ctx, create)
	c.refused("a second of the name", err, 409, "CONFLICT")
	search := usergroup.NewSearchUserGroupsParams().WithGroupname(w.run)
	same(c, "found by a part of its name", got(api.SearchUserGroups(ctx, search)).Payload,
		[]*models.UserGroupSearchItem{{ID: id, GroupName: name, GroupType: 3}})
	asked.GroupName = w.name("renamed")
	got(api.UpdateUserGroup(ctx, usergroup.NewUpdateUserGroupParams().WithGroupID(id).WithUsergroup(asked)))
	get := usergroup.NewGetUserGroupParams().WithGroupID(id)
	same(c, "its new name", *got(api.GetUserGroup(ctx, get)).Payload, models.UserGroup{GroupName: asked.GroupName, GroupType: 3})
	listed := got(api.ListUserGroups(ctx, usergroup.NewListUserGroupsParams().WithGroupName(&asked.GroupName)))
	same(c, "listed", listed.Payload, []*models.UserGroup{{ID: id, GroupName: asked.GroupName, GroupType: 3}})

	made, done := w.project(c, models.ProjectReq{ProjectName: "grouped"})
	defer done()
	add := member.NewCreateProjectMemberParams().WithProjectNameOrID(made.Name)
	add.SetProjectMember(&models.ProjectMember{RoleID: 4, MemberGroup: &models.UserGroup{ID: id}})
	where := got(w.admin.Member.CreateProjectMember(ctx, add)).Location
	membership := c.place("the place of a member", where, "/api/v2.0/projects/"+made.Name+"/members/{}")
	asMember := member.NewGetProjectMemberParams().WithProjectNameOrID(made.Name).WithMid(membership)
	found := got(w.admin.Member.GetProjectMember(ctx, asMember)).Payload
	same(c, "as a member", *found, models.ProjectMemberEntity{ID: membership, ProjectID: int64(made.ProjectID), EntityID: id,
		EntityName: asked.GroupName, EntityType: "g", RoleID: 4, RoleName: "maintainer"})
	got(api.DeleteUserGroup(ctx, usergroup.NewDeleteUserGroupParams().WithGroupID(id)))
	_, err = api.GetUserGroup(ctx, get)
	c.refused("what was deleted", err, 404, "NOT_FOUND")
	left := got(w.admin.Member.ListProjectMembers(ctx, member.NewListProjectMembersParams().WithProjectNameOrID(made.Name)))
	same(c, "its memberships end", left.XTotalCount, 1)
}

func mayPush(somebody *harborapi.HarborAPI, in *models.Project) bool {
	scope := fmt.Sprintf("/project/%d", in.ProjectID)
	asked := user.NewGetCurrentUserPermissionsParams().WithScope(&scope).WithRelative(ref(true))
	for _, right := range got(somebody.User.GetCurrentUserPermissions(ctx, asked)).Payload {
		if right.Resource == "repository" && right.Action == "push" {
			return true
		}
	}
	return false
}
