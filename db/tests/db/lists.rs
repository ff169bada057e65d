//! Lists as clients ask for them: filters, order, pages, everything. The same on both engines.

use db::{
    Db, members, projects,
    query::{List, Within},
    users::{self, NewUser},
};
use model::{
    Error, What,
    listing::{Listing, Page},
    role::Role,
};

use crate::given::{self, NOW, later};

const TEN: Page = Page::Rows {
    before: 0,
    count: 10,
};

/// People with and without what may be missing, made a second apart.
async fn people(db: &Db) {
    let all = [
        ("alice", Some("Zoe@example.com"), Some("Alice Müller"), true),
        ("bob", Some("bob@example.com"), None, false),
        ("Carol", None, Some("carol_100%"), false),
        ("dave", None, None, false),
        ("eve", Some("adam@example.com"), Some("back\\slash"), true),
    ];
    for (second, (name, email, realname, admin)) in (0..).zip(all) {
        let new = NewUser {
            name: name.parse().unwrap(),
            email: email.map(str::to_owned),
            realname: realname.map(str::to_owned),
            comment: None,
            password: None,
            admin,
        };
        let at = later(second);
        transact!(db, [new], |tx| users::insert(tx, &new, at).await).unwrap();
    }
    let gone = given::user(db, "zzz").await;
    transact!(db, [gone], |tx| users::delete(tx, &gone, NOW).await).unwrap();
}

async fn rows<T: Send>(
    db: &Db,
    list: &'static List<T>,
    within: Within,
    q: &str,
    sort: &str,
    page: Page,
) -> Result<Vec<T>, Error> {
    let selection = list.select(&Listing::parse(q, sort)?, within)?;
    let conn = &mut *db.reader().await?;
    let total = selection.total(conn, None).await?;
    if let Page::Rows { before, count } = page {
        return selection.page(conn, before, count).await;
    }
    let (mut batches, mut rows) = (selection.all(total)?, Vec::new());
    while !batches.is_over() {
        rows.extend(batches.next(conn).await?);
    }
    assert_eq!(rows.len() as i64, total, "{q}");
    Ok(rows)
}

async fn names(db: &Db, q: &str, sort: &str) -> String {
    let found = rows(db, &users::LIST, Within::all(), q, sort, TEN).await;
    let found: Vec<String> = found.expect(q).into_iter().map(|user| user.name).collect();
    let whole = rows(db, &users::LIST, Within::all(), q, sort, Page::All).await;
    let whole = whole.expect(q).into_iter().map(|user| user.name);
    assert_eq!(found, whole.collect::<Vec<_>>(), "{q} {sort}");
    found.join(" ")
}

#[test]
fn rows_are_filtered_by_every_form_of_q() {
    testkit::on_both(async |test| {
        people(&test.db).await;
        for (q, wanted) in [
            ("", "Carol alice bob dave eve"),
            ("username=bob", "bob"),
            ("Username=bob", "bob"),
            ("username=BOB", ""),
            ("username='bob'", ""),
            ("username=~A", "Carol alice dave"),
            ("username__icontains=A", "Carol alice dave"),
            ("username={'bob' eve nobody}", "bob eve"),
            ("username__in={bob}", "bob"),
            ("username={}", ""),
            ("username=[b~dave]", "bob dave"),
            ("username=[~alice]", "Carol alice"),
            ("username__gt=bob", "dave eve"),
            ("username__lte=alice", "Carol alice"),
            ("email=bob@example.com", "bob"),
            ("username_or_email=bob@example.com", "bob"),
            ("username_or_email=eve,sysadmin_flag=true", "eve"),
            ("realname=~100%", "Carol"),
            ("realname=~L_1", "Carol"),
            ("realname=~%", "Carol"),
            ("realname=~back\\s", "eve"),
            ("realname=~müller", "alice"),
            ("sysadmin_flag=1", "alice eve"),
            ("sysadmin_flag={false}", "Carol bob dave"),
            ("user_id=1", "alice"),
            ("user_id= 2 ", "bob"),
            ("UserID=[2~3]", "Carol bob"),
            ("user_id={1 '5' 99}", "alice eve"),
            ("user_id__lt=3,username=~b", "bob"),
            ("user_id=~1", "alice"),
            ("creation_time=2023-11-14T22:13:21", "bob"),
            (
                "creation_time=[2023-11-14T22:13:22~2023-11-14T22:13:23]",
                "Carol dave",
            ),
            ("creation_time=[~2023-11-14]", ""),
            ("CreationTime__gte=2023-11-14 22:13:24Z", "eve"),
            ("username=(bob eve)", "Carol alice bob dave eve"),
            ("nonsense=1", "Carol alice bob dave eve"),
            ("username__startswith=b", "Carol alice bob dave eve"),
            ("username__gt__lt=b", "Carol alice bob dave eve"),
            ("password=~a", "Carol alice bob dave eve"),
            ("u.name=bob", "Carol alice bob dave eve"),
            (
                "username'; DROP TABLE users; --=1",
                "Carol alice bob dave eve",
            ),
            ("username=' OR 1=1 --", ""),
        ] {
            assert_eq!(names(&test.db, q, "").await, wanted, "{q}");
        }
    });
}

#[test]
fn rows_come_in_the_order_that_is_asked_for() {
    testkit::on_both(async |test| {
        people(&test.db).await;
        for (sort, wanted) in [
            ("", "Carol alice bob dave eve"),
            ("-username", "eve dave bob alice Carol"),
            ("creation_time", "alice bob Carol dave eve"),
            ("-creation_time", "eve dave Carol bob alice"),
            ("email", "Carol dave alice eve bob"),
            ("-email", "bob eve alice dave Carol"),
            ("sysadmin_flag,-username", "dave bob Carol eve alice"),
            ("-sysadmin_flag,username", "alice eve Carol bob dave"),
            (
                "-sysadmin_flag,realname,user_id",
                "alice eve bob dave Carol",
            ),
            ("realname,-email", "bob dave alice eve Carol"),
            (
                "username_or_email,nonsense,password",
                "Carol alice bob dave eve",
            ),
            ("user_id; DROP TABLE users", "Carol alice bob dave eve"),
        ] {
            assert_eq!(names(&test.db, "", sort).await, wanted, "{sort}");
        }
    });
}

#[test]
fn pages_follow_one_another_and_end() {
    testkit::on_both(async |test| {
        people(&test.db).await;
        let selection = |q: &str| {
            let asked = Listing::parse(q, "-user_id").unwrap();
            users::LIST.select(&asked, Within::all()).unwrap()
        };
        let conn = &mut *test.db.reader().await.unwrap();
        for (page, wanted) in [
            (0, "eve dave"),
            (2, "Carol bob"),
            (4, "alice"),
            (6, ""),
            (1 << 53, ""),
        ] {
            let rows = selection("").page(conn, page, 2).await.unwrap();
            let names: Vec<String> = rows.into_iter().map(|user| user.name).collect();
            assert_eq!(names.join(" "), wanted);
        }
        assert!(!selection("nonsense=1").is_filtered());
        assert_eq!(selection("").total(conn, Some(77)).await.unwrap(), 77);
        assert_eq!(selection("").total(conn, None).await.unwrap(), 5);
        assert_eq!(
            selection("user_id=[2~]")
                .total(conn, Some(77))
                .await
                .unwrap(),
            4
        );
    });
}

#[test]
fn values_that_do_not_fit_their_key_are_the_clients_mistake() {
    testkit::on_both(async |test| {
        people(&test.db).await;
        for q in [
            "user_id=x",
            "user_id={1 x}",
            "user_id=[a~]",
            "user_id=99999999999999999999",
            "user_id__gte=x",
            "creation_time=yesterday",
            "creation_time=~2023",
            "sysadmin_flag=maybe",
            "sysadmin_flag=[0~1]",
            "sysadmin_flag=~t",
        ] {
            let refused = rows(&test.db, &users::LIST, Within::all(), q, "", TEN).await;
            assert!(
                matches!(refused, Err(Error::Invalid(What::Query, _))),
                "{q}"
            );
        }
        // Long, odd and many values find nothing, and break nothing.
        let many: Vec<String> = (0..1000).map(|n| format!("x{n}")).collect();
        for q in [
            format!("username=~{}", "%".repeat(2000)),
            format!("username={{{}}}", many.join(" ")),
            format!("user_id=[{}~{}]", i64::MIN, -1),
            "username=\u{1}\u{7f}\u{202e}".to_owned(),
            "username={\"\\u0000}".to_owned(),
        ] {
            let found = rows(&test.db, &users::LIST, Within::all(), &q, "", TEN).await;
            assert!(found.unwrap().is_empty(), "{q}");
        }
    });
}

#[test]
fn projects_are_listed_to_those_who_may_see_them() {
    testkit::on_both(async |test| {
        let db = &test.db;
        for name in ["alpha", "beta", "gamma"] {
            given::project(db, name).await;
        }
        let bob = given::user(db, "bob").await;
        let beta = projects::get_name(&mut db.reader().await.unwrap(), "beta")
            .await
            .unwrap();
        let gamma = projects::get_name(&mut db.reader().await.unwrap(), "gamma")
            .await
            .unwrap();
        transact!(db, [beta], |tx| projects::set_public(tx, &beta, true, NOW)
            .await)
        .unwrap();
        let member = bob.clone();
        transact!(db, [gamma, member], |tx| members::set(
            tx,
            &gamma,
            &member,
            Role::Guest,
            NOW
        )
        .await)
        .unwrap();
        let listed = async |within: Within, q: &str| {
            let found = rows(db, &projects::LIST, within, q, "-name", Page::All)
                .await
                .unwrap();
            let names: Vec<String> = found.into_iter().map(|project| project.name).collect();
            names.join(" ")
        };
        assert_eq!(listed(Within::all(), "").await, "gamma beta alpha");
        assert_eq!(listed(projects::visible_to(None), "").await, "beta");
        assert_eq!(
            listed(projects::visible_to(Some(bob.id)), "").await,
            "gamma beta"
        );
        assert_eq!(
            listed(projects::visible_to(Some(bob.id)), "public=false").await,
            "gamma"
        );
        assert_eq!(
            listed(projects::visible_to(Some(bob.id)), "name=~A,owner=alice").await,
            "gamma beta"
        );
        assert_eq!(listed(Within::all(), "owner=bob").await, "");
        assert_eq!(
            listed(Within::all(), "owner=~LIC").await,
            "gamma beta alpha"
        );
        assert_eq!(
            listed(Within::all(), "owner_id=1,name={alpha beta}").await,
            "beta alpha"
        );
    });
}

#[test]
fn everything_comes_in_batches_each_row_once() {
    const ROWS: usize = 1203;
    testkit::on_both(async |test| {
        transact!(test.db, |tx| {
            for number in 0..ROWS {
                let new = NewUser {
                    name: format!("user{:04}", number * 7 % ROWS).parse()?,
                    email: (number % 3 == 0)
                        .then(|| format!("{}@example.com", number % 1000 * ROWS + number)),
                    realname: (number % 2 == 0).then(|| format!("name {}", number % 5)),
                    comment: None,
                    password: None,
                    admin: number % 4 == 0,
                };
                users::insert(tx, &new, later((number % 100) as i64)).await?;
            }
            Ok(())
        })
        .unwrap();
        for sort in [
            "",
            "-username",
            "-user_id",
            "email",
            "-email",
            "realname,-email",
            "-realname,sysadmin_flag",
            "-creation_time",
        ] {
            let asked = Listing::parse("", sort).unwrap();
            let select = || users::LIST.select(&asked, Within::all()).unwrap();
            let whole = select()
                .page(&mut test.db.reader().await.unwrap(), 0, 10_000)
                .await
                .unwrap();
            let whole: Vec<i64> = whole.iter().map(|user| user.id.0).collect();
            let (mut batches, mut seen, mut sizes) =
                (select().all(ROWS as i64).unwrap(), Vec::new(), Vec::new());
            loop {
                let rows = batches
                    .next(&mut test.db.reader().await.unwrap())
                    .await
                    .unwrap();
                if rows.is_empty() {
                    break;
                }
                sizes.push(rows.len());
                seen.extend(rows.iter().map(|user| user.id.0));
            }
            assert_eq!(sizes, [500, 500, 203], "{sort}");
            assert_eq!(seen, whole, "{sort}");
        }
        let sorted = |sort: &str| {
            let asked = Listing::parse("", sort).unwrap();
            users::LIST
                .select(&asked, Within::all())
                .unwrap()
                .all(20_001)
                .is_ok()
        };
        assert!(
            sorted("")
                && sorted("-user_id")
                && !sorted("realname")
                && !sorted("sysadmin_flag,username")
        );
    });
}

#[test]
fn pages_and_batches_come_out_of_an_index_where_there_is_one() {
    testkit::on_sqlite(async |test| {
        let conn = rusqlite::Connection::open(test.sqlite().unwrap()).unwrap();
        let explain = |sql: &str| crate::plans::plan(&conn, sql).join("\n");
        let mut explained = 0;
        for sort in ["", "-username", "user_id"] {
            for q in ["", "realname=~x", "sysadmin_flag=1,username=~a"] {
                let asked = Listing::parse(q, sort).unwrap();
                let texts = users::LIST.select(&asked, Within::all()).unwrap().texts();
                explained += check(sort, &texts, explain);
            }
        }
        for sort in ["", "-name", "owner_id"] {
            for within in [
                Within::all(),
                projects::visible_to(None),
                projects::visible_to(Some(model::id::UserId(7))),
            ] {
                let asked = Listing::parse("", sort).unwrap();
                let texts = projects::LIST.select(&asked, within).unwrap().texts();
                explained += check(sort, &texts, explain);
            }
        }
        assert_eq!(explained, 54);
        let one = Listing::parse("username=bob", "").unwrap();
        let [page, count, _] = users::LIST.select(&one, Within::all()).unwrap().texts();
        for text in [page, count] {
            let plan = explain(&text);
            assert!(plan.contains("users_name_key (name=?)"), "{plan}");
        }
        let owner = Listing::parse("owner=bob", "creation_time").unwrap();
        let [page, ..] = projects::LIST
            .select(&owner, Within::all())
            .unwrap()
            .texts();
        let plan = explain(&page);
        assert!(plan.contains("projects_owner (owner_id=?)"), "{plan}");
    });
}

/// A page sorts no more than its own rows, and a batch none; neither reads more of the table than it walks in its order.
fn check(
    sort: &str,
    [page, count, batch]: &[String; 3],
    explain: impl Fn(&str) -> String,
) -> usize {
    let plan = explain(page);
    // By number, the table itself is in order.
    let walked = usize::from(sort == "user_id");
    let scans = plan
        .lines()
        .filter(|step| ["SCAN u", "SCAN p"].contains(step));
    assert_eq!(scans.count(), walked, "{sort}: {plan}\n{page}");
    assert!(
        plan.matches("USE TEMP B-TREE").count() <= 1,
        "{sort}: {plan}\n{page}"
    );
    assert!(
        explain(batch).matches("USE TEMP B-TREE").count() == 0,
        "{sort}: {}\n{batch}",
        explain(batch)
    );
    assert!(!explain(count).contains("USE TEMP B-TREE"), "{count}");
    3
}
