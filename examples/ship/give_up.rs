//! Closing a run whose records are damaged, so that the next one can begin.

use ecolaura_deploy_core::{Error, Result, run::RunResult, vocabulary::EnvironmentName};

use super::session::Session;

/// Closes the open run `run`, and answers with what is left of it. Fails with `InvalidInput` if it is not open, or if
/// its records are whole.
pub async fn close(session: &Session, run: &str) -> Result<Vec<String>> {
    let mut open = Vec::new();
    for environment in session.options.environments()? {
        let (cx, runner) = (session.context(&environment), session.runner([]));
        let Some(found) = runner.environment(&cx).await?.open else { continue };
        if found.run == run {
            let result = runner.give_up(&cx, run).await.map_err(advise)?;
            return Ok(lines(&environment, run, result));
        }
        open.push(format!("{} in {environment}", found.run));
    }
    let found = if open.is_empty() { "none is".to_owned() } else { format!("there are:\n{}", open.join("\n")) };
    Err(Error::invalid("ship.options", format!("run `{run}` is not open; {found}")))
}

/// Of a run with whole records, what else to call.
fn advise(error: Error) -> Error {
    match error.operation() {
        "run.give_up" => error.advice("`ship` goes on with it, and `ship --rollback` undoes it"),
        _ => error,
    }
}

fn lines(environment: &EnvironmentName, run: &str, result: RunResult) -> Vec<String> {
    let mut lines =
        vec![format!("{environment}: Run {run} is closed as it is; nothing was undone, nothing was deleted.")];
    let RunResult::NeedsOperator { cause, commands, .. } = result else { return lines };
    lines.push(format!("  why   {cause}"));
    lines.extend(commands.iter().map(|left| format!("  left  {left}")));
    lines.push(
        "  do    Look at what is left; then run `ship` again: it begins anew, and does what is not in place."
            .to_owned(),
    );
    lines
}
