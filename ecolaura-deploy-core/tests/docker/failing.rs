use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ecolaura_deploy_core::{
    Effect, ErrorKind,
    backend::{ImageBuilder as _, ImageEntry, ImageSpec},
    docker::DockerBuilder,
    testing::servers::unique,
    vocabulary::{Digest, Platform},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{UnixListener, UnixStream},
};

use super::bench::{Bench, cx};

#[tokio::test]
async fn what_is_wrong_is_named_with_its_line() {
    for (file, kind, words) in [
        (
            "FROM scratch\nCOPY a /\nRUNN x\n",
            ErrorKind::InvalidInput,
            "`Dockerfile`, line 3: unknown instruction: RUNN",
        ),
        ("FROM scratch\nCOPY missing /\n", ErrorKind::NotFound, "`Dockerfile`, line 2: "),
        (
            "# a comment\nFROM scratch\nCOPY . /\nRUN [\"/nothing\"]\n",
            ErrorKind::CommandFailed,
            "`Dockerfile`, line 4: ",
        ),
    ] {
        let Some(bench) = Bench::new(file) else { return };
        bench.put("a", "a");
        let error = bench.build(&bench.builder()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{error:?}");
        assert!(error.message().starts_with(words), "{error}");
        assert!(error.advice_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_step_that_fails_is_named_with_its_last_words() {
    let Some(bench) = Bench::with_shell("\nRUN busybox echo 12 of 13 passed; \\\n  exit 7\n") else { return };
    let error = bench.build(&bench.builder()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandFailed);
    assert!(
        error.message().starts_with("`Dockerfile`, line 6: ") && error.message().contains("exit code: 7"),
        "{error}"
    );
    assert!(error.report().contains("its last words: 12 of 13 passed"), "{}", error.report());
    assert!(!bench.layout().join("index.json").exists());
}

#[tokio::test]
async fn a_stage_that_is_not_there_is_named() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY Dockerfile /\n") else { return };
    let error = bench.build(&bench.builder().target("release")).await.unwrap_err();
    assert!(error.message().contains("release"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_specification_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".dockerignore"), "a\n[\n").unwrap();
    let spec =
        ImageSpec::new(Platform::current()).context_dir(dir.path()).env("A", "b").layer([ImageEntry::new("a", "/a")]);
    let builder = DockerBuilder::new(dir.path().join("images"), "docker".parse().unwrap()).arg("", "x").file("../x");
    let error = builder.fingerprint(&cx(), &spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for words in ["env: ", "layers: ", "arg: ", "file: `../x`", ".dockerignore`, line 2: `[`"] {
        assert!(error.message().contains(words), "`{words}` is missing in {error}");
    }
}

fn builder(dir: &Path, socket: &Path) -> (DockerBuilder, ImageSpec) {
    std::fs::write(dir.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    let builder = DockerBuilder::new(dir.join("images"), "docker".parse().unwrap()).socket(socket);
    (builder, ImageSpec::new(Platform::current()).context_dir(dir))
}

#[tokio::test]
async fn a_plan_without_an_engine_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (builder, spec) = builder(dir.path(), &dir.path().join("socket"));
    let error = builder.fingerprint(&cx(), &spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.message().starts_with("no Docker Engine listens at "), "{error}");
    assert!(error.advice_text().unwrap().contains("DOCKER_HOST"));
}

#[tokio::test]
async fn a_plan_with_an_engine_that_has_no_buildkit_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let socket = outside.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            _ = stream.read(&mut [0; 1024]).await;
            let body = r#"{"Version": "18.06.3-ce", "ApiVersion": "1.38", "Os": "linux"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let (builder, spec) = builder(dir.path(), &socket);
    for error in [builder.fingerprint(&cx(), &spec).await.unwrap_err(), builder.build(&cx(), &spec).await.unwrap_err()]
    {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error:?}");
        assert!(error.report().contains("too old") && error.report().contains("18.06.3-ce"), "{}", error.report());
    }
    assert!(!dir.path().join("images").exists(), "nothing was begun");
}

/// Stands before `engine` at `socket`, and has the image `other` saved whenever one that was built should be.
fn swap(engine: PathBuf, socket: &Path, other: String) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (engine, other) = (UnixStream::connect(&engine).await.unwrap(), other.clone());
            let ((mut asked, mut told), (mut answers, mut asks)) = (client.into_split(), engine.into_split());
            tokio::spawn(async move { copy(&mut answers, &mut told).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = asked.read(&mut bytes).await {
                    let piece = &mut bytes[..read];
                    let text = String::from_utf8_lossy(piece);
                    let save = text.split_once(" HTTP/1.1").filter(|(line, _)| line.ends_with("/get"));
                    if let Some((line, _)) = save {
                        let end = line.len() - "/get".len();
                        piece[end - other.len()..end].copy_from_slice(other.as_bytes());
                    }
                    if asks.write_all(piece).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

#[tokio::test]
async fn an_engine_that_saves_another_image_than_it_built_is_not_believed() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY a /\n") else { return };
    bench.put("a", "a");
    let curl = |method: &str, target: &str, arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sf", "-X", method, "--unix-socket"]).arg(bench.socket()).args(arguments);
        assert!(curl.arg(format!("http://docker/v1.41/images/{target}")).output().unwrap().status.success());
    };
    // As long as the names that a build gives.
    let other = Digest::of(unique("other")).to_hex()[..32].to_owned();
    let archive = bench.layout().with_extension("tar");
    fs::write(&archive, tar::Builder::new(Vec::new()).into_inner().unwrap()).unwrap();
    let body = format!("@{}", archive.display());
    let named = format!("create?fromSrc=-&repo=ecolaura-deploy-build&tag={other}");
    curl("POST", &named, &["--data-binary", &body, "-H", "Content-Type: application/x-tar"]);

    let socket = bench.layout().with_extension("socket");
    swap(bench.socket().to_owned(), &socket, other.clone());
    let error = bench.build(&bench.builder().socket(&socket)).await.unwrap_err();
    curl("DELETE", &format!("ecolaura-deploy-build:{other}"), &[]);
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::None), "{error:?}");
    assert!(error.message().contains("saved another image than it built"), "{error}");
    assert!(!bench.layout().join("index.json").exists());
}
