//! What of a specification and of a builder's options can be built.

use std::path::{Component, Path};

use super::DockerBuilder;
use crate::{backend::ImageSpec, local::image::Problems, login::is_host};

/// Notes everything that cannot.
pub(super) fn check(builder: &DockerBuilder, spec: &ImageSpec, problems: &mut Problems) {
    for (field, set) in [
        ("base", spec.base.is_some()),
        ("layers", !spec.layers.is_empty()),
        ("entrypoint", !spec.entrypoint.is_empty()),
        ("command", !spec.command.is_empty()),
        ("env", !spec.env.is_empty()),
        ("user", spec.user.is_some()),
        ("ports", !spec.ports.is_empty()),
        ("working_dir", spec.working_dir.is_some()),
    ] {
        if set {
            problems.invalid(format!("{field}: is given, and a build file says it by itself"));
        }
    }
    if !spec.lock_files.is_empty() {
        problems.invalid("lock_files: are given, and those of the context and of the image are found by themselves");
    }
    if spec.context_dir.is_none() {
        problems.invalid("context_dir: is missing, expected the folder to build");
    }
    if spec.labels.keys().any(String::is_empty) {
        problems.invalid("labels: a name is empty");
    }
    check_options(builder, problems);
}

fn check_options(builder: &DockerBuilder, problems: &mut Problems) {
    let path = Path::new(&builder.file);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.file_name().is_none() || !inside {
        problems.invalid(format!("file: `{}`: expected a path in the context", builder.file.escape_debug()));
    }
    for name in builder.args.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
        problems.invalid(format!("arg: `{}` is no name: expected a text without `=`", name.escape_debug()));
    }
    // What other clients call `type=gha` and the like: engines take steps over from images only.
    for image in builder.cache_from.iter().filter(|image| image.is_empty() || image.contains(['=', ',', ' '])) {
        problems.invalid(format!("cache_from: `{}`: expected the name of an image", image.escape_debug()));
    }
    for host in builder.logins.hosts().filter(|host| !is_host(host)) {
        let host = host.escape_debug();
        problems.invalid(format!("credentials_for: `{host}` is no registry's host: leave out `https://` and any path"));
    }
    for id in builder.secrets.keys().filter(|id| id.is_empty() || id.contains(['/', ',', '\0'])) {
        problems.invalid(format!("secret: `{}` is no id: expected a text without `/` and `,`", id.escape_debug()));
    }
    for (id, value) in &builder.secrets {
        if value.expose().is_empty() {
            problems.invalid(format!("secret: `{}` is empty", id.escape_debug()));
        }
        let in_args = builder.args.iter().find(|(_, arg)| !value.expose().is_empty() && arg.contains(value.expose()));
        if let Some((name, _)) = in_args {
            let name = name.escape_debug();
            problems.invalid(format!(
                "arg: `{name}` holds the secret `{}`, and whoever has the image can read it",
                id.escape_debug()
            ));
        }
    }
}
