use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    LabelSelector::parse(selector).unwrap().matches(|key| labels.get(key).copied())
}

#[test]
fn selectors() {
    let labels = [("x", "a"), ("example.com/y", "b"), ("n", "7"), ("in", "notin"), ("empty", "")];
    for yes in [
        "",
        " ",
        "x=a",
        "x==a",
        " x = a , n ",
        "x!=b",
        "z!=b",
        "x",
        "!z",
        "! z",
        "x in (a)",
        "x in (b,a)",
        "x in(a)",
        "x notin (b,c)",
        "z notin (a)",
        "example.com/y=b,x=a",
        "n>6",
        "n<8,n>0",
        "in=notin",
        "in in (in,notin)",
        "empty=",
        "empty in ()",
        "empty in (,a)",
        "x in (a,)",
        "x!=",
        "z!=",
    ] {
        assert!(matches(yes, &labels), "{yes:?}");
    }
    for no in [
        "x=b",
        "x=",
        "z=a",
        "z",
        "!x",
        "x notin (a)",
        "x in (b)",
        "n>7",
        "n<7",
        "x>1",
        "z<1",
        "empty!=",
        "x in ()",
        "x=a,x=b",
    ] {
        assert!(!matches(no, &labels), "{no:?}");
    }
}

#[test]
fn mistakes_are_told() {
    for bad in [
        ",",
        "x,",
        ",x",
        "x=a,,y=b",
        "=a",
        "!",
        "!=a",
        "x=a=b",
        "x=a b",
        "x in",
        "x in a",
        "x in (a",
        "x in (a b)",
        "x in ((a))",
        "x in (=)",
        "!x=a",
        "!!x",
        "x>a",
        "x>",
        "x=(a)",
        "x===a",
        "x=>a",
        "x y",
        "x=a/b",
        "x=-",
        "a/b/c=d",
        "/x=a",
        "A/x=a",
        "x=ä",
        "x)",
        "(x)",
        "x <> 1",
        "x in (a) y",
        &format!("x={}", "a".repeat(64)),
        &format!("{}=a", "x".repeat(64)),
    ] {
        assert!(LabelSelector::parse(bad).is_err(), "{bad:?}");
    }
    let many = |count: usize| vec!["x"; count].join(",");
    assert!(LabelSelector::parse(&many(256)).is_ok() && LabelSelector::parse(&many(257)).is_err());
    assert!(LabelSelector::parse(&format!("x in ({})", many(257))).is_err());
}

proptest! {
    #[test]
    fn agrees_with_a_naive_evaluation(
        terms in proptest::collection::vec(("[xyz]", 0..7usize, proptest::collection::vec("a|b|1|2|", 1..4)), 1..4),
        labels in proptest::collection::btree_map("[xyz]", "a|b|1|2|", 0..3),
        space in " ?",
    ) {
        let text = |(key, operator, values): &(String, usize, Vec<String>)| {
            let (one, all) = (&values[0], values.join(&format!("{space},{space}")));
            match operator {
                0 => format!("{key}{space}={space}{one}"),
                1 => format!("{key}=={one}"),
                2 => format!("{key}{space}!={one}"),
                3 => format!("{key} in{space}({all})"),
                4 => format!("{key} notin ({all}{space})"),
                5 => format!("{space}{key}"),
                _ => format!("!{key}"),
            }
        };
        let holds = |(key, operator, values): &(String, usize, Vec<String>)| {
            let value = labels.get(key);
            match operator {
                0 | 1 => value == Some(&values[0]),
                2 => value != Some(&values[0]),
                3 => value.is_some_and(|value| values.contains(value)),
                4 => value.is_none_or(|value| !values.contains(value)),
                5 => value.is_some(),
                _ => value.is_none(),
            }
        };
        let selector = terms.iter().map(text).collect::<Vec<_>>().join(",");
        let parsed = LabelSelector::parse(&selector).unwrap();
        prop_assert_eq!(parsed.matches(|key| labels.get(key)), terms.iter().all(holds), "{}", selector);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[a-z=!(),<> ]{0,20}|\\PC*") {
        let _ = LabelSelector::parse(&text);
    }
}
