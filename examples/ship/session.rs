//! What one call of `ship` works with: options, backends, faults, and whoever listens.

use std::{fs::File, io::IsTerminal as _, path::Path, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, Result,
    event::{EventSink, FanOut, RecordingSink},
    plan::PlanSummary,
    redact::Redactor,
    report::{RunReport, Style, html, json::JsonLines, terminal::TerminalReporter},
    run::Runner,
    vocabulary::EnvironmentName,
};
use rustix::termios::tcgetwinsize;
use tokio_util::sync::CancellationToken;

use super::{
    backends::{Platform, Target},
    faults::Faults,
    layout::Layout,
    options::Options,
    promotion, rollback, site_server,
};

/// One call of `ship`.
#[derive(Debug)]
pub struct Session {
    pub options: Options,
    pub platform: Platform,
    pub faults: Faults,
    recorded: Arc<RecordingSink>,
    sinks: Vec<Arc<dyn EventSink>>,
    redactor: Redactor,
    cancel: CancellationToken,
}

impl Session {
    /// Opens everything that `options` name. Fails with `InvalidInput` for a step or an environment that is not there.
    /// What is opened with `cx` may tell its redactor secrets, which no run of this call repeats.
    pub async fn open(cx: &Context, options: Options, cancel: CancellationToken) -> Result<Self> {
        options.environments()?;
        let platform = Platform::open(cx, &Layout::new(&options)?, &options).await?;
        let recorded = Arc::new(RecordingSink::new());
        let no_color = std::env::var("NO_COLOR").ok();
        let terminal = TerminalReporter::stdout(no_color.as_deref()).quiet(options.quiet);
        let mut sinks: Vec<Arc<dyn EventSink>> = vec![Arc::new(terminal), recorded.clone()];
        if let Some(path) = &options.events {
            let file = File::create(path).map_err(|error| Error::io("ship.events", path, error))?;
            sinks.push(Arc::new(JsonLines::new(file)));
        }
        let mut session = Self {
            options,
            platform,
            faults: Faults::default(),
            recorded,
            sinks,
            redactor: cx.redactor().clone(),
            cancel,
        };
        session.faults = Faults::new(&session.options, &session.steps()?)?;
        Ok(session)
    }

    /// The steps that may run, as `env/step`.
    fn steps(&self) -> Result<Vec<String>> {
        match (self.options.rollback, self.options.resume) {
            (true, _) => rollback::steps(self),
            (_, true) => Ok([promotion::steps(self)?, rollback::steps(self)?].concat()),
            _ => promotion::steps(self),
        }
    }

    /// The context for `environment`, which ends when the program is asked to.
    pub fn context(&self, environment: &EnvironmentName) -> Context {
        Context::new(environment.clone()).with_redactor(self.redactor.clone()).with_cancellation(self.cancel.clone())
    }

    /// A runner whose events go everywhere, to `more`, and to the faults that were asked for.
    pub fn runner(&self, more: impl IntoIterator<Item = Arc<dyn EventSink>>) -> Runner {
        let sinks = self.sinks.iter().cloned().chain(more).chain([self.faults.hook()]);
        Runner::new(Arc::clone(&self.platform.store))
            .events(Arc::new(FanOut::new(sinks)))
            .lock(self.options.lock())
            .on_cancel(self.options.on_cancel())
            .on_wait(remark)
    }

    /// Whether the program was asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// What `environment` has of its own.
    pub fn target(&self, environment: &EnvironmentName, migrations: &Path) -> Result<Target> {
        Target::open(&self.platform, &self.options, environment, migrations)
    }

    /// Where the site answers, and whether the new backend misbehaves.
    pub fn run_values(&self, environment: &EnvironmentName) -> (String, bool) {
        (self.site_address(environment).unwrap_or_default(), self.options.misbehave)
    }

    /// Refuses what could not work in any of the environments, all of it at once, before anything is changed.
    pub async fn check(&self) -> Result<()> {
        let (environments, mut wrong) = (self.options.environments()?, Vec::new());
        self.platform.storage.allowed(&self.context(&"dev".parse()?), &environments).await?;
        for environment in environments {
            let checked = self.platform.storage.check(&self.context(&environment), &environment).await;
            wrong.extend(checked.err().map(|error| (environment, error)));
        }
        if wrong.len() < 2 {
            return wrong.pop().map_or(Ok(()), |(_, error)| Err(error));
        }
        let all: Vec<String> = wrong.iter().map(|(name, error)| format!("{name}: {}", error.report())).collect();
        Err(Error::new(wrong[0].1.kind(), "ship.check", all.join("\n")))
    }

    /// Starts what shows the sites, unless it runs.
    pub async fn serve_sites(&self) -> Result<()> {
        site_server::ensure(&self.platform.layout, self.options.aws.as_deref()).await
    }

    /// Where the site of `environment` answers, if it does, without `/` at the end.
    pub fn site_address(&self, environment: &EnvironmentName) -> Option<String> {
        let platform = &self.platform;
        platform.storage.site_address(environment).or_else(|| site_server::address(&platform.layout, environment))
    }

    /// Asks for the approval that the plan needs, if a person sits at the terminal.
    pub async fn ask(&self, cx: &Context, target: &Target, plan: &PlanSummary) -> Result<()> {
        match &target.ask_first {
            Some(approver) if cx.environment().as_str() == "production" => {
                approver.ask(cx, super::pipeline::APPROVAL, plan).await
            }
            _ => Ok(()),
        }
    }

    /// Writes the report of everything that ran, and answers with where it is.
    pub fn report(&self) -> Result<std::path::PathBuf> {
        let path = self.options.report.clone().unwrap_or_else(|| self.platform.layout.at("report.html"));
        std::fs::write(&path, html::render(&self.runs())).map_err(|error| Error::io("ship.report", &path, error))?;
        Ok(path)
    }

    /// What became of each run.
    pub fn runs(&self) -> Vec<RunReport> {
        RunReport::all_from_events(&self.recorded.events())
    }
}

/// Says something beside what the run itself says.
#[expect(clippy::print_stderr, reason = "a program tells its user")]
pub fn remark(message: &str) {
    eprintln!("ship: {message}");
}

/// How the text of plans and findings is set: as wide as the terminal.
pub fn style() -> Style {
    let stdout = std::io::stdout();
    let style = Style::detect(stdout.is_terminal(), std::env::var("NO_COLOR").ok().as_deref());
    let columns = tcgetwinsize(&stdout).map(|size| usize::from(size.ws_col)).unwrap_or_default();
    if columns == 0 { style } else { style.with_width(columns) }
}
