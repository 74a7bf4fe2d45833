//! Against what docker's own client sends.

use std::{collections::BTreeSet, fs, process::Command};

use ecolaura_deploy_core::local::image::ImageArchive;

use super::bench::{Bench, cx, files};

/// The paths that `COPY . /` brings when docker builds.
async fn by_docker(bench: &Bench) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let docker = |arguments: &[&str]| {
        let mut docker = Command::new("docker");
        docker.args(arguments).env("DOCKER_HOST", format!("unix://{}", bench.socket().display()));
        // The builder that every client has; it leaves out the same as the other one.
        let output = docker.env("DOCKER_BUILDKIT", "0").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let archive = dir.path().join("image.tar");
    let id = docker(&["build", "--quiet", bench.context().to_str().unwrap()]);
    docker(&["save", "--output", archive.to_str().unwrap(), &id]);
    let image = ImageArchive::new(archive).import(&cx(), dir.path().join("images")).await.unwrap();
    files(&image).into_keys().collect()
}

#[tokio::test]
async fn what_is_left_out_is_what_docker_leaves_out() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY . /\n") else { return };
    for path in [
        "README.md",
        "a.rs",
        "src/main.rs",
        "src/deep/er/lib.rs",
        "src/deep/notes.md",
        "target/debug/x",
        "target-y",
        ".env",
        "node_modules/m/index.js",
        "web/node_modules/n/index.js",
        "docs/a.md",
        "docs/b/c.md",
        "[x]/y",
        "a b/c",
    ] {
        bench.put(path, path);
    }
    fs::create_dir_all(bench.context().join("empty/folder")).unwrap();
    std::os::unix::fs::symlink("src", bench.context().join("link")).unwrap();
    for ignore in [
        "",
        "# only this\n\n*.md\n",
        "*.md\n!README.md\n",
        "!README.md\n*.md\n",
        "target\n**/node_modules\n.env\n",
        "/target/\n./src/../docs\n",
        "*\n!src\n!src/**\nsrc/deep/*.md\n",
        "*\n!src/deep/er\n",
        "src/*\n!src/deep\n",
        "src/**\n",
        "**\n!a.rs\n",
        "Dockerfile\n.dockerignore\n",
        "Docker*\n*.md\n",
        "?.rs\ntarget?y\n",
        "[a-d]*\n",
        "\\[x\\]\n",
        "  a b  \n",
        "empty/*\nlink\n",
        "!empty\n",
        "**/deep/**\n",
    ] {
        bench.put(".dockerignore", ignore);
        let docker = by_docker(&bench).await;
        let image = bench.build(&bench.builder()).await.unwrap();
        let ours: BTreeSet<String> = files(&image).into_keys().collect();
        assert_eq!(ours, docker, "{ignore:?}");
    }
}

#[tokio::test]
async fn the_file_beside_the_build_file_comes_before_the_one_of_the_context() {
    let Some(bench) = Bench::new("no build file") else { return };
    bench.put("build/api.dockerfile", "FROM scratch\nCOPY . /\n");
    bench.put("build/api.dockerfile.dockerignore", "build\nDockerfile\n");
    bench.put(".dockerignore", "a\n");
    bench.put("a", "a");
    let image = bench.build(&bench.builder().file("build/api.dockerfile")).await.unwrap();
    assert_eq!(files(&image).into_keys().collect::<Vec<_>>(), [".dockerignore", "a"]);
}
