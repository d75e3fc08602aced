use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, path: &str) -> bool {
    Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(path))
}

/// Pattern, path and the answer of bmatcuk/doublestar v4.10.0: `ValidatePattern(p) && Match(p, path)`, both in lower
/// case.
const ORACLE: &str = include_str!("doublestar.tsv");

#[test]
fn answers_as_doublestar_does() {
    let mut cases = 0;
    for line in ORACLE.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [pattern, path, expected] = fields[..] else { panic!("{line:?}") };
        assert_eq!(matches(pattern, path).to_string(), expected, "pattern {pattern:?}, path {path:?}");
        cases += 1;
    }
    assert!(cases >= 150, "{cases}");
}

#[test]
fn stricter_than_doublestar_on_purpose() {
    // The original lets a class take a slash, reads alternatives only until one fits, and ends before any `**/`.
    for (pattern, path) in [("a[!b]c", "a/c"), ("[^a]", "/"), ("a[.-0]c", "a/c"), ("{c,[a,b]}", "c"), ("a**/", "a")] {
        assert!(!matches(pattern, path), "{pattern} {path}");
    }
}

#[test]
fn unreadable_patterns_match_nothing() {
    let long = "a".repeat(PATTERN_BYTES_MAX + 1);
    for (pattern, expected) in [
        ("[", PatternError::Class),
        ("a/[!]", PatternError::Class),
        ("{a,[b}", PatternError::Class),
        ("{a,b", PatternError::Brace),
        ("a}", PatternError::Brace),
        ("{[a,b}]", PatternError::Brace),
        ("a\\", PatternError::Escape),
        ("\u{430}pp", PatternError::Character('\u{430}')),
        ("a\0", PatternError::Character('\0')),
        (&long, PatternError::TooLong),
        (&"{a,b}".repeat(7), PatternError::Alternatives),
        (&format!("{{{}}}", ",".repeat(64)), PatternError::Alternatives),
        (&format!("{{a,b,c,d,e,f,g,h}}{}", "x".repeat(400)), PatternError::Alternatives),
    ] {
        assert_eq!(Pattern::parse(pattern).map(|_| ()), Err(expected), "{pattern:?}");
    }
    assert!(matches(&"a".repeat(200), &"A".repeat(200)));
    assert!(matches(&"{a,b}".repeat(6), "ababab"));
}

#[test]
fn odd_paths_match_nothing() {
    for path in ["a".repeat(256), "\u{430}".into(), "a\n".into(), "a\0".into()] {
        assert!(!matches("**", &path) && !matches("?*", &path), "{path:?}");
    }
    let longest = format!("{}/b", "a".repeat(253));
    for pattern in ["**", "a*/b", "*/?", "**/b", "*/[b]", "a*/**"] {
        assert!(matches(pattern, &longest), "{pattern}");
    }
    assert!(!matches("*/?/**/c", &longest));
}

/// Patterns that make others try for ever. That this test ends is what it checks.
#[test]
fn costly_patterns_are_cheap() {
    let path = format!("{}b", "a/".repeat(127));
    let line = "a".repeat(255);
    for pattern in ["*a".repeat(256), "**/a/".repeat(100), "**/*a*/".repeat(70), "{a,*}".repeat(5) + &"*a".repeat(10)] {
        for _ in 0..10 {
            assert!(!matches(&format!("{}c", &pattern[..pattern.len().min(511)]), &path));
            assert!(!matches(&format!("{}c", &pattern[..pattern.len().min(511)]), &line));
        }
    }
}

#[test]
fn common_patterns_take_no_steps() {
    for pattern in ["**", "app", "a/b/c", "path/**", "{web,api}/**", "A\\*", "a{/**,-x}"] {
        assert_eq!(Pattern::parse(pattern).unwrap().steps(), 0, "{pattern}");
    }
    for pattern in ["*", "a/**/b", "a\\/**", "a/{**,b}", "path**"] {
        assert_ne!(Pattern::parse(pattern).unwrap().steps(), 0, "{pattern}");
    }
}

#[test]
fn traps_are_told() {
    let told = |pattern: &str| Pattern::problem(pattern, Some("shop"));
    for (pattern, words) in [
        ("path**", "\"path/**\""),
        ("a/**b", "acts as *"),
        ("{web,api}**", "acts as *"),
        ("/path**", "begins with a slash"),
        ("/app", "\"app\""),
        ("app/", "empty segment"),
        ("a//b", "empty segment"),
        ("", "empty"),
        ("[", "matches nothing"),
        ("shop/app", "below the namespace: \"app\""),
        ("\u{430}pp", "has the character"),
    ] {
        let text = told(pattern).unwrap_or_else(|| panic!("{pattern} is a trap"));
        assert!(text.contains(words), "{pattern}: {text}");
    }
    for pattern in ["path/**", "**", "**/app", "a/**/b", "path*/**", "{**,a}/b", "App-[a-c]", "shop", "shopping/app"] {
        assert_eq!(told(pattern), None, "{pattern}");
    }
    assert_eq!(Pattern::problem("shop/app", None), None, "a ClusterRole is not of a namespace");
}

/// The meaning by rewriting texts: exponential, but each line can be read off the documentation.
fn naive(pattern: &[u8], path: &[u8], fresh: bool) -> bool {
    if path.is_empty() {
        return match pattern {
            b"" | b"*" | b"**" | b"/**" | b"**/" | b"/**/" => true,
            [b'{', rest @ ..] => alternatives(rest).iter().any(|text| naive(text, path, true)),
            _ => false,
        };
    }
    let slash = path[0] == b'/';
    match pattern {
        [] => false,
        b"**" if fresh => true,
        [b'*', b'*', b'/', rest @ ..] if fresh => {
            let starts = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| at + 1);
            std::iter::once(0).chain(starts).any(|at| naive(rest, &path[at..], true))
        }
        [b'*', b'*', rest @ ..] | [b'*', rest @ ..] => {
            let segment = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=segment).any(|at| naive(rest, &path[at..], false))
        }
        [b'?', rest @ ..] => !slash && naive(rest, &path[1..], false),
        [b'[', b'!', byte, b']', rest @ ..] => !slash && path[0] != *byte && naive(rest, &path[1..], false),
        [b'[', low, b'-', high, b']', rest @ ..] => (*low..=*high).contains(&path[0]) && naive(rest, &path[1..], false),
        [b'{', rest @ ..] => alternatives(rest).iter().any(|text| naive(text, path, true)),
        [byte, rest @ ..] => *byte == path[0] && naive(rest, &path[1..], slash),
    }
}

/// What a text behind an open brace may stand for; braces here are not nested.
fn alternatives(text: &[u8]) -> Vec<Vec<u8>> {
    let close = text.iter().position(|byte| *byte == b'}').unwrap();
    text[..close].split(|byte| *byte == b',').map(|part| [part, &text[close + 1..]].concat()).collect()
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[abc]",
        2 => Just("*".to_owned()),
        1 => Just("?".to_owned()),
        1 => "\\[![ab]\\]",
        1 => Just("[a-b]".to_owned()),
        1 => "\\{[ab?]{0,2},[ab]{0,2}(/[ab])?\\}",
    ];
    let segment = prop_oneof![
        1 => Just("**".to_owned()),
        4 => prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat()),
    ];
    prop::collection::vec(segment, 1..5).prop_map(|segments| segments.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_naive_meaning(pattern in pattern(), paths in prop::collection::vec("[abc]{1,3}(/[abc]{1,3}){0,4}", 8)) {
        let parsed = Pattern::parse(&pattern).unwrap();
        for path in paths {
            prop_assert_eq!(parsed.matches(&path), naive(pattern.as_bytes(), path.as_bytes(), true), "{}", path);
            prop_assert_eq!(parsed.matches(&path.to_uppercase()), parsed.matches(&path));
        }
    }

    #[test]
    fn reads_anything(pattern in "[ab*?/{},!\\[\\]\\\\^-]{0,24}", path in "[ab/]{0,12}") {
        let problem = Pattern::problem(&pattern, None);
        match Pattern::parse(&pattern) {
            Ok(parsed) => _ = parsed.matches(&path),
            Err(_) => prop_assert!(problem.is_some()),
        }
    }
}
