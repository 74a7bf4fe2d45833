//! A secret goes from its store to the command that needs it, and nowhere else: what the command prints of it is not
//! shown, and records name its version only. Put another value, and the next run sees it.
//!
//! `cargo run --example secrets`
//! `cargo run --features aws --example secrets -- --aws NAME`, and with `--put` and a value on standard input to change it

use std::{io::Read as _, path::Path, process::ExitCode, sync::Arc};

use clap::Parser;
use ecolaura_deploy_core::{
    Context, Error, Result, Secret,
    backend::SecretStore,
    event::{Event, EventKind, FnSink},
    local::secrets::FileSecrets,
    pipeline::{Pipeline, constant},
    run::Runner,
    steps::Command,
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{
    exit_code,
    place::{block_on, say},
    plan_and_run, scratch,
};

/// Gives a secret to a command, and to nobody else.
#[derive(Debug, Parser)]
#[command(name = "secrets")]
struct Options {
    /// This secret of Secrets Manager, instead of one in a file (needs the feature `aws`)
    #[arg(long, value_name = "NAME")]
    aws: Option<String>,

    /// Give it the value that comes on standard input, before
    #[arg(long)]
    put: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    block_on("secrets", async {
        let cx = Context::new("dev".parse()?);
        let dir = scratch("secrets");
        let (store, name) = store(&cx, &options, &dir).await?;
        let reference = store.resolve(&cx, &name).await?;
        say(&format!("{name} has version {}", reference.version));
        let password = store.get(&cx, &reference).await?;

        let mut pipeline = Pipeline::new("secrets".parse()?, "dev".parse()?);
        let printed = Command::new("sh").args(["-c", "echo \"the password is $PASSWORD\""]);
        pipeline.add("log in", printed.secret_env("PASSWORD", password.clone()), constant(()));
        let shown = FnSink::new(|event: &Event| {
            if let EventKind::Output { line, .. } = &event.kind {
                say(&format!("it printed: {line}"));
            }
        });
        let runner = Runner::new(Arc::new(ObjectRunStore::local(dir.join("records"))?)).events(Arc::new(shown));
        let finished = plan_and_run(&cx, &runner, pipeline).await?;

        let kept = files_with(&dir.join("records"), password.expose())?;
        say(&format!("{kept} of the run's records have the secret in them"));
        Ok(if kept == 0 { exit_code(&finished.result) } else { ExitCode::FAILURE })
    })
}

/// What comes on standard input: an argument would be seen by everybody on the machine.
fn given() -> Result<Secret<String>> {
    let mut text = String::new();
    let read = std::io::stdin().take(65_536).read_to_string(&mut text);
    read.map_err(|error| Error::io("example.secret", Path::new("standard input"), error))?;
    match text.trim_end_matches('\n') {
        "" => Err(Error::invalid("example.secret", "no value came on standard input")),
        value => Ok(Secret::new(value.to_owned())),
    }
}

/// The store, and the name of the secret there.
async fn store(cx: &Context, options: &Options, dir: &Path) -> Result<(Arc<dyn SecretStore>, String)> {
    let put = options.put.then(given).transpose()?;
    if let Some(name) = &options.aws {
        return in_an_account(cx, name, put.as_ref()).await;
    }
    let (folder, name) = (dir.join("secrets"), "database-password");
    let value = put.as_ref().map_or("correct-horse-battery-staple", |value| value.expose());
    let path = folder.join(name);
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&path, value))
        .map_err(|error| Error::io("example.secret", &path, error))?;
    Ok((Arc::new(FileSecrets::new("files".parse()?, folder)), name.to_owned()))
}

#[cfg(feature = "aws")]
async fn in_an_account(
    cx: &Context,
    name: &str,
    put: Option<&Secret<String>>,
) -> Result<(Arc<dyn SecretStore>, String)> {
    let account = ecolaura_deploy_examples::aws::connect(cx, None).await?;
    let store = ecolaura_deploy_aws::SecretsManager::new("aws".parse()?, &account);
    if let Some(value) = put {
        store.put(cx, name, value).await?;
    }
    Ok((Arc::new(store), name.to_owned()))
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "an account is waited for")]
async fn in_an_account(
    _cx: &Context,
    _name: &str,
    _put: Option<&Secret<String>>,
) -> Result<(Arc<dyn SecretStore>, String)> {
    Err(ecolaura_deploy_examples::place::without("aws", "--aws", "secrets"))
}

/// How many files below `dir` have `text` in them.
fn files_with(dir: &Path, text: &str) -> Result<usize> {
    let failed = |error| Error::io("example.records", dir, error);
    let mut found = 0;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        found += match path.is_dir() {
            true => files_with(&path, text)?,
            false => usize::from(String::from_utf8_lossy(&std::fs::read(&path).map_err(failed)?).contains(text)),
        };
    }
    Ok(found)
}
