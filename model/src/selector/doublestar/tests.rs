//! What patterns match, as Go's library answers it (compared with v1.3.4 on 400,000 random pairs besides).

use proptest::prelude::*;

use super::*;

#[test]
fn names_are_matched_as_gos_library_does() {
    for (pattern, name, like) in [
        // letters, one letter, any letters within a part
        ("app", "app", true),
        ("app", "apple", false),
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "app", true),
        ("*", "team/app", false),
        ("v?", "v1", true),
        ("v?", "v", false),
        ("v?", "v12", false),
        ("v?", "vü", true),
        ("a?b", "a/b", false),
        ("v1.*", "v1.2.3", true),
        ("*-rc*", "v1-rc2", true),
        ("*.*.*", "1.2", false),
        ("a*b*c", "axxbxxc", true),
        ("a*b*c", "axxbxx", false),
        ("*/*", "team/app", true),
        ("*/", "team/", true),
        ("team/*", "team/app/x", false),
        // any parts
        ("**", "", true),
        ("**", "app", true),
        ("**", "team/app/x", true),
        ("team/**", "team", false),
        ("team/**", "team/", true),
        ("team/**", "team/app/x", true),
        ("**/app", "app", true),
        ("**/app", "a/b/app", true),
        ("**/app", "a/b/apple", false),
        ("a/**/d", "a/d", true),
        ("a/**/d", "a/b/c/d", true),
        ("**/b/**/d", "a/b/c/d", true),
        ("a**", "a/b", false),
        ("a**", "abc", true),
        ("**a", "bba", true),
        // classes
        ("v[0-9]", "v7", true),
        ("v[0-9]", "vx", false),
        ("v[^0-9]", "vx", true),
        ("v[^0-9]", "v7", false),
        ("[a-cx]", "x", true),
        (r"[\]]", "]", true),
        (r"[a\-z]", "-", true),
        (r"[a\-z]", "m", false),
        ("[α-ω]", "β", true),
        ("a[^a]b", "a/b", false),
        // escapes
        (r"a\*", "a*", true),
        (r"a\*", "ab", false),
        (r"\a", "a", true),
        (r"\{a\}", "{a}", true),
        ("a}", "a}", true),
        ("a,b", "a,b", true),
        // alternatives
        ("{a,b}", "b", true),
        ("{a,b}", "c", false),
        ("v{1,2}.{0,1}", "v2.1", true),
        ("{v*,latest}", "latest", true),
        ("{v*,latest}", "v1", true),
        ("a{,b}", "a", true),
        ("a{,b}c", "ac", true),
        ("{a,{b,c}d}", "cd", true),
        (r"{a\,b,c}", "a,b", true),
        ("{team/app,other}", "team/app", true),
        ("{team/**,other}", "team/a/b", true),
        ("{team/*,other}/x", "team/app/x", true),
        ("x{a,b}*", "xb1", true),
        // edges that are Go's own: the first way past a star decides, also for the parts that follow
        ("*{a,a/b}", "aa/b", true),
        ("*{bb/y,b/x}", "abb/x", false),
        ("a*{,b}", "a", false),
        ("a{*,b}", "a", true),
        ("a{b,}{c,}", "a", true),
        ("a[", "a", false),
    ] {
        assert_eq!(matches(pattern, name), Ok(like), "{pattern} {name}");
    }
}

#[test]
fn malformed_patterns_are_known_as_such() {
    for (pattern, name) in [
        ("[", "a"),
        ("[]", "a"),
        ("[]a]", "]"),
        ("[-a]", "a"),
        ("[a-]", "a"),
        ("[a-b-c]", "a"),
        ("[^", "a"),
        (r"[a\]", "a"),
        ("\\", "a"),
        ("a[", "ab"),
        ("{a", "a"),
        ("{a,b", "b"),
        ("{a,{b}", "b"),
        ("{[a,b],c}", "a"),
    ] {
        assert_eq!(matches(pattern, name), Err(Unclear::Malformed), "{pattern}");
        assert!(!is_well_formed(pattern), "{pattern}");
    }
    for pattern in [
        "",
        "**",
        "a}",
        "{a,b}",
        r"\[",
        "[a-z]*",
        r"{a\,b,[c]}",
        "a,b",
        "{,a}",
    ] {
        assert!(is_well_formed(pattern), "{pattern}");
    }
    assert!(!is_well_formed(&"a".repeat(LONGEST + 1)));
}

#[test]
fn no_pattern_takes_long() {
    let name = "a".repeat(255);
    for pattern in [
        "*a".repeat(20) + "b",
        "{a,a}".repeat(100) + "b",
        "{a*,*a}".repeat(50) + "b",
        "**/".repeat(100) + "b",
        "{".repeat(500) + &"}".repeat(500),
        "*".repeat(1000) + "b",
        "{a,".repeat(300) + &"}".repeat(300),
    ] {
        let started = std::time::Instant::now();
        let _ = matches(&pattern, &name);
        let _ = matches(&pattern, &"a/".repeat(127));
        assert!(started.elapsed().as_secs() < 2, "{pattern}");
    }
    assert_eq!(
        matches(&("*a".repeat(20) + "b"), &name),
        Err(Unclear::TooComplex)
    );
    assert_eq!(matches(&"a".repeat(5000), "a"), Err(Unclear::TooComplex));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(pattern in r"[ab*?/{},\[\]^\\ü-]{0,20}", name in "[ab/ü]{0,10}") {
        let _ = matches(&pattern, &name);
        let _ = is_well_formed(&pattern);
    }
}
