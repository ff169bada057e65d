//! What belongs to a project: its metadata, its allowlist, members that are groups.

use db::{
    Db, cve_allowlists,
    members::{self, Candidate, Entity},
    project_metadata, projects, rights,
};
use model::{
    Error,
    id::{GroupId, UserId},
    metadata::Metadata,
    role::Role,
};

use crate::given::{NOW, assert_kind, changes, later, project, user};

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn group(db: &Db, name: &'static str, people: &[UserId]) -> GroupId {
    let people = people.to_vec();
    transact!(db, [people], |tx| {
        let id = tx
            .row(
                "INSERT INTO user_groups (uid, name, kind, created_at, updated_at) VALUES ($1, $1, 3, 0, 0) RETURNING id",
                &[name.into()],
                |row| Ok(GroupId(row.int(0)?)),
            )
            .await?
            .unwrap();
        for person in people {
            let pair = [id.into(), person.into()];
            tx.execute("INSERT INTO group_users (group_id, user_id) VALUES ($1, $2)", &pair)
                .await?;
        }
        Ok(id)
    })
    .unwrap()
}

#[test]
fn roles_of_groups_add_to_ones_own() {
    testkit::on_both(async |test| {
        let (library, bob) = (
            project(&test.db, "library").await,
            user(&test.db, "bob").await,
        );
        let other = project(&test.db, "other").await;
        let (makers, readers) = (
            group(&test.db, "makers", &[bob.id]).await,
            group(&test.db, "readers", &[bob.id]).await,
        );
        transact!(test.db, [library, other, bob], |tx| {
            for (id, name, role) in [
                (makers, "makers", Role::Developer),
                (readers, "readers", Role::Guest),
            ] {
                members::insert(tx, &library, Candidate::Group { id, name }, role, NOW).await?;
            }
            let guest = Candidate::User(&bob);
            members::insert(tx, &library, guest, Role::LimitedGuest, NOW).await?;
            let admins = Candidate::Group {
                id: makers,
                name: "makers",
            };
            members::insert(tx, &other, admins, Role::ProjectAdmin, NOW).await
        })
        .unwrap();
        let reader = &mut *test.db.reader().await.unwrap();
        let standing = rights::standing(reader, "library", Some(bob.id)).await;
        let all = [Role::Developer, Role::Guest, Role::LimitedGuest];
        assert_eq!(standing.unwrap().unwrap().roles, all);
        let roles = members::roles_of(reader, bob.id, &[library.id, other.id])
            .await
            .unwrap();
        assert_eq!(roles[&library.id.0], all);
        assert_eq!(roles[&other.id.0], [Role::ProjectAdmin]);
        assert!(rights::is_some_project_admin(reader, bob.id).await.unwrap());
    });
}

#[test]
fn a_member_is_one_once_and_listed_by_name() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let id = group(&test.db, "makers", &[]).await;
        let makers = Candidate::Group { id, name: "makers" };
        let join = async || {
            transact!(test.db, [library], |tx| {
                members::insert(tx, &library, makers, Role::Guest, NOW).await
            })
        };
        let member = join().await.unwrap();
        assert_kind(join().await, |error| matches!(error, Error::Conflict(_)));
        let reader = &mut *test.db.reader().await.unwrap();
        let names = async |reader: &mut db::Conn, name: &str, offset| {
            let page = members::page(reader, library.id, name, offset, 10).await;
            let names = page.unwrap().into_iter().map(|member| member.name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(reader, "", 0).await, ["alice", "makers"]);
        assert_eq!(names(reader, "", 1).await, ["makers"]);
        assert_eq!(names(reader, "makers", 0).await, ["makers"]);
        assert!(names(reader, "make", 0).await.is_empty());
        let found = members::find(reader, library.id, member).await.unwrap();
        assert_eq!(found.unwrap().entity, Entity::Group(id));
        let count = members::count(reader, library.id).await.unwrap();
        assert_eq!((count[&Role::ProjectAdmin], count[&Role::Guest]), (1, 1));
    });
}

#[test]
fn metadata_is_set_key_by_key_and_the_row_says_the_same() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let row = async || {
            let reader = &mut *test.db.reader().await.unwrap();
            let sql = "SELECT public, trust FROM projects WHERE id = $1";
            let found = reader
                .row(sql, &[library.id.into()], |row| {
                    Ok((row.bool(0)?, row.int(1)?))
                })
                .await;
            found.unwrap().unwrap()
        };
        let set = async |pairs: &[(&str, &str)]| {
            let wanted = metadata(pairs);
            transact!(test.db, [library, wanted], |tx| project_metadata::set(
                tx, &library, &wanted, NOW
            )
            .await)
            .unwrap();
        };
        set(&[("auto_scan", "true"), ("severity", "low")]).await;
        set(&[("public", "true"), ("severity", "high")]).await;
        set(&[("enable_content_trust_cosign", "true")]).await;
        assert_eq!(row().await, (true, 2));
        let reader = &mut *test.db.reader().await.unwrap();
        let now = projects::get_name(reader, "library").await.unwrap();
        let expected = metadata(&[
            ("auto_scan", "true"),
            ("enable_content_trust_cosign", "true"),
            ("public", "true"),
            ("severity", "high"),
        ]);
        assert_eq!(project_metadata::of(reader, &now).await.unwrap(), expected);
        for name in ["enable_content_trust_cosign", "public", "unheard-of"] {
            transact!(test.db, [library], |tx| project_metadata::remove(
                tx, &library, name, NOW
            )
            .await)
            .unwrap();
        }
        assert_eq!(row().await, (false, 0));
        assert!(changes(&test.db).await.len() >= 6);
    });
}

#[test]
fn allowlists_are_the_systems_or_a_projects() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let items = vec!["CVE-2024-1".to_owned(), "CVE-2024-2".to_owned()];
        transact!(test.db, [library, items], |tx| {
            cve_allowlists::set_of_system(tx, &items[..1], Some(1_900_000_000), NOW).await?;
            cve_allowlists::set(tx, &library, &[], None, NOW).await?;
            cve_allowlists::set(tx, &library, &items, None, later(1)).await
        })
        .unwrap();
        let reader = &mut *test.db.reader().await.unwrap();
        let system = cve_allowlists::of_system(reader).await.unwrap().unwrap();
        assert_eq!(
            (system.items, system.expires_at),
            (items[..1].to_vec(), Some(1_900_000_000))
        );
        let own = cve_allowlists::of_all(reader, &[library.id]).await.unwrap();
        let own = &own[&library.id.0];
        assert_eq!((&own.items, own.expires_at), (&items, None));
        assert_eq!((own.created_at, own.updated_at), (NOW, later(1)));
    });
}
