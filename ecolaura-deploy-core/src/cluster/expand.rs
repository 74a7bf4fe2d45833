//! `$(VAR)` in commands, arguments and environment, by the rules of Kubernetes' `expansion` package.

/// `text` with `$(NAME)` replaced where `value` knows the name; an unknown one stays as it is, `$$` is one `$`.
pub(super) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_in_kubernetes() {
        let value = |name: &str| (name == "A").then(|| "1$(A)".to_owned());
        for (text, expected) in [
            ("$(A)", "1$(A)"),
            ("x$(A)y$(B)", "x1$(A)y$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1$(A)"),
            ("$A $ $(A", "$A $ $(A"),
            ("cost: 5$", "cost: 5$"),
            ("$()", "$()"),
        ] {
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }
}
