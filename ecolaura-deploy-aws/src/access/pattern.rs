//! The patterns of resources in a policy.

/// Whether all that `resource`, itself perhaps a pattern, stands for is in `pattern`. `*` is any text, `?` any character.
pub(super) fn covers(pattern: &str, resource: &str) -> bool {
    let (pattern, resource): (Vec<_>, Vec<_>) = (pattern.chars().collect(), resource.chars().collect());
    // Which beginnings of the resource the pattern read so far covers.
    let mut reached = vec![false; resource.len() + 1];
    reached[0] = true;
    for wanted in pattern {
        let mut next = vec![false; resource.len() + 1];
        for at in 0..=resource.len() {
            next[at] = match wanted {
                '*' => reached[at] || (at > 0 && next[at - 1]),
                _ if at == 0 => false,
                '?' => reached[at - 1] && resource[at - 1] != '*',
                wanted => reached[at - 1] && resource[at - 1] == wanted,
            };
        }
        reached = next;
    }
    reached[resource.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_stands_for_and_narrower_patterns() {
        for (pattern, resource) in [
            ("*", "arn:aws:s3:::a"),
            ("*", "*"),
            ("arn:aws:s3:::a/*", "arn:aws:s3:::a/b/c"),
            ("arn:aws:s3:::a/*", "arn:aws:s3:::a/b*"),
            ("secret:db-??????", "secret:db-abcdef"),
            ("secret:db-??????", "secret:db-??????"),
            ("secret:*", "secret:db-??????"),
            ("a*b*c", "axxbxxc"),
        ] {
            assert!(covers(pattern, resource), "{pattern} {resource}");
        }
        for (pattern, resource) in [
            ("arn:aws:s3:::a", "arn:aws:s3:::ab"),
            ("arn:aws:s3:::a/*", "arn:aws:s3:::ab"),
            ("secret:db-??????", "secret:db-abc"),
            ("secret:db-abcdef", "secret:db-??????"),
            ("a?", "a*"),
            ("a/b*", "a/*"),
            ("a", "*"),
        ] {
            assert!(!covers(pattern, resource), "{pattern} {resource}");
        }
    }
}
