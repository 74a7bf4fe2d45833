//! A program of the caller's: tests, linters, compilers.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{ChildStdout, Command as Process},
};

use super::files;
use crate::{
    Context, Effect, Error, ErrorKind, Result, Secret,
    event::Stream,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
    vocabulary::{Digest, Fingerprint},
};

/// The files and folders that a command made, by their paths as they were declared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandOutput(pub BTreeMap<PathBuf, Digest>);

impl Leaf for CommandOutput {}

/// An argument.
#[derive(Debug, Clone)]
enum Arg {
    Plain(OsString),
    Secret(Secret<String>),
}

impl Arg {
    fn given(&self) -> &OsStr {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => OsStr::new(secret.expose()),
        }
    }

    fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => text.to_string_lossy(),
            Self::Secret(secret) => secret.to_string().into(),
        }
    }

    fn secret(&self) -> Option<&Secret<String>> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(secret) => Some(secret),
        }
    }
}

/// Runs a program, without a shell. Its output goes into events, line by line.
///
/// With declared inputs the step is fingerprinted: it does not run again for the same program, arguments,
/// environment and files, as long as its declared outputs are as it left them.
///
/// ```
/// use ecolaura_deploy_core::steps::Command;
/// let tests = Command::new("cargo").args(["test", "--workspace"]).inputs(["app/src", "app/Cargo.lock"]);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Command {
    program: OsString,
    args: Vec<Arg>,
    dir: Option<PathBuf>,
    env: BTreeMap<String, String>,
    secret_env: BTreeMap<String, Secret<String>>,
    inputs: Vec<PathBuf>,
    ignored: Vec<String>,
    outputs: Vec<PathBuf>,
}

impl Command {
    /// `program`, found on the path unless it holds a `/`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            dir: None,
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            inputs: Vec::new(),
            ignored: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// With these arguments too.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| Arg::Plain(arg.into())));
        self
    }

    /// With this argument too, which is shown nowhere. Other users of the machine can see the arguments of a process: a
    /// variable is safer ([`Command::secret_env`]).
    pub fn secret_arg(mut self, value: Secret<String>) -> Self {
        self.args.push(Arg::Secret(value));
        self
    }

    /// In this folder.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// With this variable. Not for secrets ([`Command::secret_env`]): it enters the fingerprint.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// With this variable, whose value is shown nowhere: not in the command's own output either. It does not enter the
    /// fingerprint, so another value alone does not run the command again.
    pub fn secret_env(mut self, key: impl Into<String>, value: Secret<String>) -> Self {
        self.secret_env.insert(key.into(), value);
        self
    }

    /// Reading these files and folders.
    pub fn inputs(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.inputs.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Not counting, below input folders, files and folders of these names, such as `target`.
    pub fn ignoring(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.ignored.extend(names.into_iter().map(Into::into));
        self
    }

    /// Making these files and folders.
    pub fn outputs(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.outputs.extend(paths.into_iter().map(Into::into));
        self
    }

    fn line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.shown());
        }
        line
    }

    async fn fingerprint(&self) -> Result<Option<Fingerprint>> {
        if self.inputs.is_empty() {
            return Ok(None);
        }
        let mut fingerprint = Fingerprint::new().part("command", self.line());
        for (key, value) in &self.env {
            fingerprint = fingerprint.part(format!("env {key}"), value);
        }
        for (path, digest) in files::digests(self.inputs.clone(), self.ignored.clone()).await? {
            fingerprint = fingerprint.digest_part(path, digest);
        }
        Ok(Some(fingerprint))
    }

    /// Whether every file is as `output` says.
    async fn intact(&self, output: &CommandOutput) -> bool {
        let present = output.0.keys().cloned().collect::<Vec<_>>();
        if self.outputs.iter().any(|path| !output.0.contains_key(path)) {
            return false;
        }
        match files::each(present).await {
            Ok(digests) => digests == output.0,
            Err(_) => false,
        }
    }

    fn changes(&self, action: Action, reason: &str) -> Vec<Change> {
        self.outputs.iter().map(|path| Change::new(World::File, path.display().to_string(), action, reason)).collect()
    }

    fn process(&self, cx: &Context) -> Process {
        let secret_args = self.args.iter().filter_map(Arg::secret);
        self.secret_env.values().chain(secret_args).for_each(|secret| _ = cx.redactor().register(secret));
        let mut process = Process::new(&self.program);
        process.args(self.args.iter().map(Arg::given)).envs(&self.env);
        process.envs(self.secret_env.iter().map(|(key, value)| (key, value.expose())));
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process.kill_on_drop(true).process_group(0);
        if let Some(dir) = &self.dir {
            process.current_dir(dir);
        }
        process
    }

    async fn run(&self, cx: &Context) -> Result<()> {
        let (out, err, status) =
            self.end(cx, async |out| Ok(relay(cx, Stream::Stdout, out).await), Effect::Unknown).await?;
        if status.success() { Ok(()) } else { Err(self.failure(status, if err.is_empty() { out } else { err })) }
    }

    /// Runs it and answers with what it prints, which goes into no event: at most `limit` bytes.
    pub(super) async fn printed(&self, cx: &Context, limit: u64) -> Result<Vec<u8>> {
        let read = async |out: Option<ChildStdout>| {
            let mut text = Vec::new();
            if let Some(out) = out {
                out.take(limit + 1).read_to_end(&mut text).await?;
            }
            Ok(text)
        };
        let (text, err, status) = self.end(cx, read, Effect::None).await?;
        if text.len() as u64 > limit {
            let message = format!("`{}` prints more than {limit} bytes", self.line());
            return Err(Error::new(ErrorKind::LimitExceeded, "command.run", message));
        }
        if status.success() { Ok(text) } else { Err(self.failure(status, err).with_effect(Effect::None)) }
    }

    /// Runs it to its end, with `take` for what it prints; the last of its errors, too. A cancel has `effect`.
    async fn end<T>(
        &self,
        cx: &Context,
        take: impl AsyncFnOnce(Option<ChildStdout>) -> std::io::Result<T>,
        effect: Effect,
    ) -> Result<(T, VecDeque<String>, ExitStatus)> {
        let mut child = self.process(cx).spawn().map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::CommandFailed,
            };
            Error::new(kind, "command.start", format!("`{}` cannot be started", self.line()))
                .with("folder", self.dir.as_deref().unwrap_or(Path::new(".")).display())
                .with_source(error)
                .advice("install the program or correct its path")
        })?;
        let group = Group(child.id());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let work = async { tokio::join!(take(out), relay(cx, Stream::Stderr, err), child.wait()) };
        let (out, err, status) = cx
            .bounded("command.run", work)
            .await
            .map_err(|error| error.with("command", self.line()).with_effect(effect))?;
        group.leave();
        let failed = |error| Error::io("command.wait", &self.program, error);
        Ok((out.map_err(failed)?, err, status.map_err(failed)?))
    }

    fn failure(&self, status: ExitStatus, tail: VecDeque<String>) -> Error {
        let tail: Vec<String> = tail.into();
        Error::new(ErrorKind::CommandFailed, "command.run", format!("`{}` ended with {status}", self.line()))
            .with("last line", tail.last().map_or("none", String::as_str))
            .with_effect(Effect::Unknown)
            .advice("read its output, mend it, and run again")
    }
}

/// A process and its children, ended together when the wait for them is given up.
struct Group(Option<u32>);

impl Group {
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Hands on each line, and keeps the last ones.
async fn relay(cx: &Context, stream: Stream, from: Option<impl AsyncRead + Unpin>) -> VecDeque<String> {
    let mut tail = VecDeque::new();
    let Some(from) = from else { return tail };
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = cx.redactor().redact(String::from_utf8_lossy(&line).trim_end()).into_owned();
        cx.output(stream, text.clone());
        if tail.len() == 20 {
            tail.pop_front();
        }
        tail.push_back(text);
        line.clear();
    }
    tail
}

#[async_trait]
impl Step for Command {
    type Input = ();
    type Output = CommandOutput;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "run command"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<CommandOutput>> {
        let Some(fingerprint) = self.fingerprint().await? else {
            return Ok(StepPlan::changing(self.changes(Action::Update, "runs each time")));
        };
        let earlier: Option<CommandOutput> = cx.recall(self.kind(), &fingerprint).await;
        let plan = match earlier {
            Some(output) if self.intact(&output).await => {
                StepPlan::unchanged(self.changes(Action::NoOp, "inputs unchanged"), output)
            }
            Some(_) => StepPlan::changing(self.changes(Action::Update, "a file it made is gone or differs")),
            None => StepPlan::changing(self.changes(Action::Update, "not run for these inputs")),
        };
        Ok(plan.fingerprint(fingerprint))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<CommandOutput, NoUndo>> {
        self.run(cx).await?;
        let made = files::each(self.outputs.clone()).await.map_err(|error| {
            error.with_effect(Effect::Partial).advice(format!("`{}` succeeded and did not make it", self.line()))
        })?;
        Ok(Applied::new(CommandOutput(made)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context {
        Context::new("dev".parse().unwrap())
    }

    fn shell(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[tokio::test]
    async fn a_failing_command_names_status_and_last_line() {
        let error = shell("echo broken >&2; exit 3").apply(&cx(), ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommandFailed);
        assert!(error.report().contains("exit status: 3") && error.report().contains("broken"), "{}", error.report());
    }

    #[tokio::test]
    async fn secrets_reach_the_program_and_nobody_else() {
        let secret = || Secret::new("hunter2-hunter2".to_owned());
        let command =
            shell("[ $TOKEN = $0 ] && echo $TOKEN && exit 3").secret_arg(secret()).secret_env("TOKEN", secret());
        let error = command.apply(&cx(), ()).await.unwrap_err();
        assert!(
            error.report().contains("exit status: 3") && error.report().contains("last line: [redacted]"),
            "{error}"
        );
        assert!(!format!("{error:?} {command:?}").contains("hunter2"), "{error:?}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Command::new("no-such-program-here").apply(&cx(), ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.report().contains("no-such-program-here"));
    }

    #[tokio::test]
    async fn a_declared_file_that_was_not_made_is_an_error() {
        let error = shell("true").outputs(["/nowhere/at/all"]).apply(&cx(), ()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::Partial));
    }

    #[tokio::test]
    async fn a_cancel_ends_the_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let token = tokio_util::sync::CancellationToken::new();
        let cx = cx().with_cancellation(token.clone());
        let command = shell(&script);
        let (result, ()) = tokio::join!(command.apply(&cx, ()), async {
            while std::fs::read_to_string(&pid).unwrap_or_default().trim().is_empty() {
                tokio::task::yield_now().await;
            }
            token.cancel();
        });
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
        let child: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let child = rustix::process::Pid::from_raw(child).unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        while !gone() {
            tokio::task::yield_now().await;
        }
    }
}
