use std::{fs, path::Path};

use ecolaura_deploy_core::{Secret, run::RunResult};

use super::bench::{Bench, config, files};

const VALUE: &str = "correct-horse-battery";

fn holds(path: &Path) -> bool {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().any(|entry| holds(&entry.unwrap().path()));
    }
    fs::read(path).unwrap().windows(VALUE.len()).any(|window| window == VALUE.as_bytes())
}

#[tokio::test]
async fn a_secret_is_there_for_its_step_and_nowhere_afterwards() {
    let step = "RUN --mount=type=secret,id=token busybox cat /run/secrets/token && \\\n\
                busybox wc -c </run/secrets/token >/length\n";
    let Some(bench) = Bench::with_shell(step) else { return };
    let builder = bench.builder().secret("token", Secret::new(VALUE.to_owned()));
    assert!(!format!("{builder:?}").contains(VALUE));
    let (finished, said) = bench.run(builder.clone()).await;
    assert_eq!(finished.result, RunResult::Succeeded, "{said}");
    assert!(said.contains("[redacted]"), "the step printed it: {said}");
    assert!(!said.contains(VALUE), "{said}");

    let image = bench.build(&builder).await.unwrap();
    let found = files(&image);
    assert_eq!(found["length"].content, format!("{}\n", VALUE.len()).as_bytes());
    assert!(found.values().all(|file| !String::from_utf8_lossy(&file.content).contains(VALUE)));
    assert!(!config(&image).to_string().contains(VALUE));
    assert!(!holds(&bench.layout()));
}

#[tokio::test]
async fn a_step_that_fails_does_not_tell_its_secret() {
    let step = "RUN --mount=type=secret,id=token busybox cat /run/secrets/token && busybox false\n";
    let Some(bench) = Bench::with_shell(step) else { return };
    let error = bench.build(&bench.builder().secret("token", Secret::new(VALUE.to_owned()))).await.unwrap_err();
    assert!(error.report().contains("[redacted]"), "{}", error.report());
    assert!(!format!("{error:?}").contains(VALUE), "{error:?}");
}

#[tokio::test]
async fn a_secret_that_was_not_given_fails_the_step_that_requires_it() {
    let Some(bench) = Bench::with_shell("RUN --mount=type=secret,id=token,required busybox true\n") else { return };
    let error = bench.build(&bench.builder()).await.unwrap_err();
    assert!(error.report().contains("token") && error.message().contains("line 5"), "{}", error.report());
}

#[tokio::test]
async fn a_secret_as_an_argument_is_refused() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY Dockerfile /\n") else { return };
    let builder = bench.builder().secret("token", Secret::new(VALUE.to_owned())).arg("URL", format!("x:{VALUE}@y"));
    let error = bench.build(&builder).await.unwrap_err();
    assert!(error.message().contains("`URL` holds the secret `token`"), "{error}");
    assert!(!format!("{error:?}").contains(VALUE));
}
