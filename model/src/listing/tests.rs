//! Harbor's `q` language, rule by rule.

use proptest::prelude::*;

use super::*;

fn one(q: &str) -> Match {
    let filters = Listing::parse(q, "").expect(q).filters;
    assert_eq!(filters.len(), 1, "{q}");
    filters.into_values().next().expect("one")
}

fn exact(text: &str) -> Match {
    Match::Exact(text.to_owned())
}

fn text(text: &str) -> Term {
    Term::Text(text.to_owned())
}

fn int(number: i64) -> Term {
    Term::Int(number, number.to_string())
}

#[test]
fn an_exact_value_is_the_raw_text() {
    for (q, wanted) in [
        ("k=v", "v"),
        ("k=1", "1"),
        ("k='v'", "'v'"),
        ("k=\"v\"", "\"v\""),
        ("k=a=b", "a=b"),
        ("k= v ", " v "),
        ("k=2026-01-02T03:04:05", "2026-01-02T03:04:05"),
        ("k=a~b", "a~b"),
        ("k=\\~v", "~v"),
        ("k=\\[v", "[v"),
        ("k=\\\\v", "\\v"),
        ("k=\\", ""),
        ("k=ü", "ü"),
    ] {
        assert_eq!(one(q), exact(wanted), "{q}");
    }
}

#[test]
fn a_fuzzy_value_is_raw_too() {
    for (q, wanted) in [
        ("k=~v", "v"),
        ("k=~'v'", "'v'"),
        ("k=~~", "~"),
        ("k=~%_\\", "%_\\"),
    ] {
        assert_eq!(one(q), Match::Fuzzy(wanted.to_owned()), "{q}");
    }
}

#[test]
fn a_range_has_one_side_or_two() {
    let range = |least, most| Match::Range { least, most };
    for (q, wanted) in [
        ("k=[1~2]", range(Some(int(1)), Some(int(2)))),
        ("k=[ 1 ~ 2 ]", range(Some(int(1)), Some(int(2)))),
        ("k=[~-2]", range(None, Some(int(-2)))),
        ("k=[a~]", range(Some(text("a")), None)),
        ("k=['1'~]", range(Some(text("1")), None)),
        (
            "k=[2026-01-02T03:04:05~]",
            range(
                Some(Term::Time(
                    Timestamp(1_767_323_045_000_000),
                    "2026-01-02T03:04:05".to_owned(),
                )),
                None,
            ),
        ),
    ] {
        assert_eq!(one(q), wanted, "{q}");
    }
}

#[test]
fn lists_hold_times_numbers_and_texts() {
    for (q, wanted) in [
        ("k={a b}", vec![text("a"), text("b")]),
        ("k={'p1' \"p2\"}", vec![text("p1"), text("p2")]),
        ("k={'\"x\"'}", vec![text("x")]),
        (
            "k={1 '1' 007}",
            vec![int(1), text("1"), Term::Int(7, "007".to_owned())],
        ),
        ("k={ a  b }", vec![text("a"), text("b")]),
        ("k={''}", vec![]),
        ("k={}", vec![]),
    ] {
        assert_eq!(one(q), Match::AnyOf(wanted), "{q}");
    }
    assert_eq!(one("k=(1 2)"), Match::AllOf(vec![int(1), int(2)]));
    assert!(
        matches!(one("k={2026-01-02T03:04:05}"), Match::AnyOf(terms) if matches!(terms[..], [Term::Time(..)]))
    );
}

#[test]
fn several_keys_have_commas_between_them_and_the_last_of_equal_ones_counts() {
    let filters = Listing::parse("a=1,b=~2,a=3", "").expect("fits").filters;
    assert_eq!(
        filters.into_iter().collect::<Vec<_>>(),
        [
            ("a".to_owned(), exact("3")),
            ("b".to_owned(), Match::Fuzzy("2".to_owned())),
        ]
    );
    assert!(Listing::parse("", "").expect("fits").filters.is_empty());
}

#[test]
fn what_was_escaped_twice_is_read_twice() {
    for (q, wanted) in [
        ("tags%3Dnil", "nil"),
        ("k=a%2Fb", "a/b"),
        ("k=a+b", "a b"),
        ("k=100%", "100%"),
        ("k=a%2Fb%", "a%2Fb%"),
        ("k=%zz+", "%zz+"),
    ] {
        assert_eq!(one(q), exact(wanted), "{q}");
    }
}

#[test]
fn what_is_malformed_is_the_clients_mistake() {
    let many_keys: Vec<String> = (0..40).map(|n| format!("k{n}=v")).collect();
    let many_terms = format!("k={{{}}}", "a ".repeat(1001));
    let long = format!("k={}", "x".repeat(3000));
    for q in [
        "k",
        "k=",
        "=v",
        ",",
        "k=v,",
        "k=~",
        "k=[",
        "k=[]",
        "k=[~]",
        "k=[1~2",
        "k=[12]",
        "k=[1~2~3]",
        "k={",
        "k={a",
        "k=(",
        "k=(a}",
        "k=a%00",
        "k%00=a",
        &many_keys.join(","),
        &many_terms,
        &long,
    ] {
        match Listing::parse(q, "") {
            Err(Error::Invalid(What::Query, why)) => assert!(why.len() < 500, "{why}"),
            other => panic!("{q}: {other:?}"),
        }
    }
}

#[test]
fn sort_names_keys_with_a_dash_for_the_other_way() {
    let order = Listing::parse("", "a,-b,").expect("fits").order;
    assert_eq!(
        order,
        [
            Order {
                key: "a".to_owned(),
                descending: false
            },
            Order {
                key: "b".to_owned(),
                descending: true
            },
        ]
    );
    assert!(Listing::parse("", &"a,".repeat(100)).is_err());
}

#[test]
fn pages_are_counted_from_one_and_a_size_of_nothing_is_everything() {
    for (number, size, wanted) in [
        (
            1,
            10,
            Page::Rows {
                before: 0,
                count: 10,
            },
        ),
        (
            3,
            100,
            Page::Rows {
                before: 200,
                count: 100,
            },
        ),
        (
            0,
            10,
            Page::Rows {
                before: 0,
                count: 10,
            },
        ),
        (
            -5,
            10,
            Page::Rows {
                before: 0,
                count: 10,
            },
        ),
        (
            i64::MAX,
            100,
            Page::Rows {
                before: 1 << 53,
                count: 100,
            },
        ),
        (1, 0, Page::All),
        (7, -1, Page::All),
    ] {
        assert_eq!(
            Page::new(number, size).expect("fits"),
            wanted,
            "{number} {size}"
        );
    }
    assert!(matches!(
        Page::new(1, 101),
        Err(Error::Invalid(What::Page, _))
    ));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(q in r#"[a-c0-9=~\[\]{}()',"%+ \\ü-]{0,60}"#, sort in ".{0,40}") {
        let _ = Listing::parse(&q, &sort);
    }

    #[test]
    fn nor_does_anything_else(q in ".{0,80}", number: i64, size: i64) {
        let _ = Listing::parse(&q, &q);
        let _ = Page::new(number, size);
    }
}
