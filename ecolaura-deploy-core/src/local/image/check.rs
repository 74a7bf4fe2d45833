//! What a specification may say.

use super::problems::Problems;
use crate::{backend::ImageSpec, vocabulary::Platform};

/// Notes every field that does not follow its grammar.
pub(super) fn check(spec: &ImageSpec, problems: &mut Problems) {
    check_platform(&spec.platform, problems);
    for (field, arguments) in [("entrypoint", &spec.entrypoint), ("command", &spec.command)] {
        if arguments.first().is_some_and(String::is_empty) {
            problems.invalid(format!("{field}: the first argument is empty"));
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            problems.invalid(format!("{field}: an argument holds a NUL byte"));
        }
    }
    for (key, value) in &spec.env {
        if key.is_empty() || key.contains(['=', '\0']) {
            problems.invalid(format!("env: `{}` is no name: expected a text without `=`", key.escape_debug()));
        }
        if value.contains('\0') {
            problems.invalid(format!("env: the value of `{}` holds a NUL byte", key.escape_debug()));
        }
    }
    if spec.labels.keys().any(String::is_empty) {
        problems.invalid("labels: a name is empty");
    }
    if let Some(user) = spec.user.as_deref().filter(|user| !is_user(user)) {
        let expected = "expected `user` or `user:group`, each a name or a number below 2^32";
        problems.invalid(format!("user: `{}`: {expected}", user.escape_debug()));
    }
    for port in spec.ports.iter().filter(|port| normal_port(port).is_none()) {
        let expected = "expected a number from 1 to 65535, then perhaps `/tcp`, `/udp` or `/sctp`";
        problems.invalid(format!("ports: `{}`: {expected}", port.escape_debug()));
    }
    if let Some(dir) = &spec.working_dir
        && let Err(why) = image_path(dir)
    {
        problems.invalid(format!("working_dir: `{}`: {why}", dir.escape_debug()));
    }
}

fn check_platform(platform: &Platform, problems: &mut Problems) {
    for (field, text) in [("os", &platform.os), ("architecture", &platform.architecture)] {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            let expected = "expected lower-case letters and digits, such as `linux` and `amd64`";
            problems.invalid(format!("platform.{field}: `{}`: {expected}", text.escape_debug()));
        }
    }
}

fn is_user(text: &str) -> bool {
    let valid = |part: &str| {
        let number = part.bytes().all(|byte| byte.is_ascii_digit());
        let name = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'$'));
        !part.is_empty() && !part.starts_with('-') && if number { part.parse::<u32>().is_ok() } else { name }
    };
    match text.split_once(':') {
        Some((user, group)) => valid(user) && valid(group),
        None => valid(text),
    }
}

/// `8080/tcp`, also for `8080`.
pub(super) fn normal_port(text: &str) -> Option<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    (number > 0 && matches!(protocol, "tcp" | "udp" | "sctp")).then(|| format!("{number}/{protocol}"))
}

/// The parts of an absolute path in the image, joined without a leading `/`; empty for the root.
pub(super) fn image_path(text: &str) -> Result<String, &'static str> {
    let Some(inside) = text.strip_prefix('/') else { return Err("expected an absolute path, beginning with `/`") };
    if text.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    let inside = inside.strip_suffix('/').unwrap_or(inside);
    if inside.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("it holds `.` or `..`; expected a path without them");
    }
    if text.contains("//") {
        return Err("it holds `//`");
    }
    Ok(inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_ports_and_paths_follow_their_grammar() {
        for (user, valid) in [("65532:65532", true), ("app", true), ("app:www-data", true), ("", false), (":", false)] {
            assert_eq!(is_user(user), valid, "{user}");
        }
        for user in ["a b", "4294967296", "a:b:c", "-x"] {
            assert!(!is_user(user), "{user}");
        }
        for (port, expected) in [("80", Some("80/tcp")), ("53/udp", Some("53/udp")), ("0", None), ("65536/tcp", None)] {
            assert_eq!(normal_port(port).as_deref(), expected, "{port}");
        }
        for port in ["", "+80", "80/", "80/http", "http"] {
            assert_eq!(normal_port(port), None, "{port}");
        }
        for (path, expected) in [("/", Ok("")), ("/a", Ok("a")), ("/a/b/", Ok("a/b"))] {
            assert_eq!(image_path(path).as_deref(), expected, "{path}");
        }
        for path in ["", "a", "../a", "/a/../b", "/./a", "//", "/a//b", "/a\n"] {
            assert!(image_path(path).is_err(), "{path}");
        }
    }
}
