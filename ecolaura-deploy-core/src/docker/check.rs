//! What of a specification and of a builder's options can be built.

use std::path::{Component, Path};

use super::{
    DockerBuilder,
    build::{names, target},
    engine::ADDRESS,
};
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
    check_size(builder, spec, problems);
}

/// Arguments and labels go in the address of a request, where there is little room.
fn check_size(builder: &DockerBuilder, spec: &ImageSpec, problems: &mut Problems) {
    let (id, name) = names();
    let length = |platform| target(builder, spec, (&id, &name), &platform).len();
    let longest = builder.wanted(spec).into_iter().map(length).max().unwrap_or_default();
    if longest <= ADDRESS {
        return;
    }
    let args =
        builder.args.iter().map(|(name, value)| (value.len(), format!("the argument `{}`", name.escape_debug())));
    let labels = spec.labels.iter().map(|(name, value)| (value.len(), format!("the label `{}`", name.escape_debug())));
    let most =
        args.chain(labels).max().map(|(bytes, what)| format!(", of which {what} has {bytes}")).unwrap_or_default();
    problems.invalid(format!(
        "arg, labels: take {longest} bytes where an engine is told of them, expected at most {ADDRESS}{most}; put what is \
         long into a file of the context"
    ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, ErrorKind, backend::ImageBuilder as _, docker::Credential, vocabulary::Platform};

    /// What a plan with `builder` says; no engine is there to be asked.
    async fn refused(change: impl FnOnce(DockerBuilder) -> DockerBuilder) -> crate::Error {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        let builder = DockerBuilder::new(dir.path().join("images"), "docker".parse().unwrap());
        let builder = change(builder.socket(dir.path().join("none")));
        let spec = ImageSpec::new(Platform::current()).context_dir(dir.path());
        builder.fingerprint(&Context::new("test".parse().unwrap()), &spec).await.unwrap_err()
    }

    #[tokio::test]
    async fn arguments_that_no_engine_can_be_told_are_named_in_the_plan() {
        let error = refused(|builder| builder.arg("A", "short").arg("CA", "x".repeat(70_000))).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.message().contains("the argument `CA` has 70000"), "{error}");
        let error = refused(|builder| builder.arg("CA", "x".repeat(60_000))).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "only the engine is missing: {error:?}");
    }

    #[tokio::test]
    async fn a_login_for_what_is_no_host_is_named_in_the_plan() {
        let error = refused(|builder| builder.credentials_for("https://ghcr.io", Credential::Anonymous)).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.message().contains("`https://ghcr.io`"), "{error}");
        for host in ["ghcr.io", "127.0.0.1:5000", "docker.io"] {
            let error = refused(|builder| builder.credentials_for(host, Credential::Anonymous)).await;
            assert_eq!(error.kind(), ErrorKind::NotFound, "only the engine is missing: {error:?}");
        }
    }
}
