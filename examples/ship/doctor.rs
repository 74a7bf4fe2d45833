//! Looking after the environments: what is open, damaged or left over, and cleaning up what nobody uses.

use ecolaura_deploy_core::{
    Result,
    doctor::{Commands, Doctor, Dry, Severity},
    report::plain::{render_examination, render_fixed},
};

use super::{
    promotion::Source,
    session::{Session, style},
    summary,
};

/// What is to be printed, and the exit code: 1 if something could not be cleaned up, 3 for damage, 5 if a deployer is at
/// work, 0 otherwise.
pub async fn all(session: &Session) -> Result<(Vec<String>, u8)> {
    let style = style();
    let (mut lines, mut code) = (Vec::new(), 0);
    for (place, environment) in session.options.environments()?.into_iter().enumerate() {
        let (cx, platform) = (session.context(&environment), &session.platform);
        let migrations = match Source::of(platform, &environment).await {
            Ok(source) => source.migrations(platform),
            Err(_) => platform.layout.app("migrations"),
        };
        let target = session.target(&environment, &migrations)?;
        // What all environments share is looked at once.
        let shared = platform.inspect.iter().filter(|_| place == 0);
        let doctor = shared
            .chain(&target.inspect)
            .fold(Doctor::new(platform.store.clone(), environment.clone()).commands(commands()), |doctor, backend| {
                doctor.inspect(backend.clone())
            });
        let doctor = if session.options.all { doctor.everything() } else { doctor };
        let examination = doctor.examine(&cx).await?;
        lines.push(render_examination(&examination, &style).trim_end().to_owned());
        if examination.findings.iter().any(|finding| finding.severity == Severity::Problem) {
            code = 3;
        }
        let dry = if session.options.fix { Dry::No } else { Dry::Yes };
        if examination.findings.iter().any(|finding| finding.fixable) {
            match doctor.fix(&cx, &examination, dry).await {
                Ok(fixed) => {
                    lines.push(render_fixed(&fixed, &style).trim_end().to_owned());
                    code = if fixed.failed.is_empty() { code } else { code.max(1) };
                }
                Err(error) => {
                    lines.push(format!("nothing was cleaned up: {}", error.report()));
                    code = code.max(summary::refusal(&error));
                }
            }
        }
    }
    Ok((lines, code))
}

fn commands() -> Commands {
    Commands {
        resume: "ship --resume".to_owned(),
        roll_back: "ship --rollback".to_owned(),
        give_up: "ship --give-up".to_owned(),
        everything: "ship --doctor --all".to_owned(),
    }
}
