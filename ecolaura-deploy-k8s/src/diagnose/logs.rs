//! The ends of the containers' logs.

use ecolaura_deploy_core::{Context, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};

use super::{ContainerReport, LogReport, OPERATION, Part, PodReport, Selection, gather::part};
use crate::{Connection, error::Call, logs::is_early};

/// Logs that are read at the same time.
const AT_ONCE: usize = 8;

/// What is read of a log, and what is kept of it and of each line, in bytes.
const READ: i64 = 1024 * 1024;
const KEPT: usize = 32 * 1024;
const LINE: usize = 1000;

/// Puts them into `pods`.
pub(super) async fn add(
    cx: &Context,
    connection: &Connection,
    selection: &Selection,
    pods: &mut [PodReport],
) -> Result<()> {
    let jobs: Vec<(usize, usize, bool)> = pods
        .iter()
        .enumerate()
        .flat_map(|(p, pod)| pod.containers.iter().enumerate().flat_map(move |(c, container)| wanted(p, c, container)))
        .collect();
    let logs = Logs { cx, connection, selection };
    let shown = &*pods;
    let read = stream::iter(jobs).map(|(p, c, previous)| {
        let (pod, container) = (&shown[p], &shown[p].containers[c]);
        let logs = &logs;
        async move { Ok::<_, ecolaura_deploy_core::Error>((p, c, previous, logs.read(pod, container, previous).await?)) }
    });
    let read: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await?;
    for (p, c, previous, log) in read {
        let container = &mut pods[p].containers[c];
        if previous {
            container.previous = Some(log);
        } else {
            container.log = log;
        }
    }
    Ok(())
}

/// Which logs a container has: that of the instance before too, if there was one.
fn wanted(p: usize, c: usize, container: &ContainerReport) -> impl Iterator<Item = (usize, usize, bool)> + use<> {
    let started = container.state != "not started";
    let before = container.restarts > 0 || container.last_end.is_some();
    [(started, false), (before, true)].into_iter().filter_map(move |(is, previous)| is.then_some((p, c, previous)))
}

struct Logs<'a> {
    cx: &'a Context,
    connection: &'a Connection,
    selection: &'a Selection,
}

impl Logs<'_> {
    async fn read(&self, pod: &PodReport, container: &ContainerReport, previous: bool) -> Result<Part<LogReport>> {
        let params = LogParams {
            container: Some(container.name.clone()),
            previous,
            tail_lines: Some(self.selection.log_lines.try_into().unwrap_or(i64::MAX)),
            limit_bytes: Some(READ),
            ..LogParams::default()
        };
        let (params, namespace) = (&params, self.selection.namespace.as_str());
        let call = Call::reads(OPERATION, format!("the log of {}", container.name));
        let read = async |client| Api::<Pod>::namespaced(client, namespace).logs(&pod.name, params).await;
        match self.connection.call(self.cx, call, read).await {
            Ok(text) => Ok(Part::Known(self.end(&text))),
            Err(error) if is_early(&error) => Ok(Part::unknown("it has not started")),
            Err(error) if error.message().contains("previous terminated container") => {
                Ok(Part::unknown("the node has not kept it"))
            }
            Err(error) => part(&error),
        }
    }

    /// What is kept of a log. Secrets are taken out before anything is cut, so that none is cut in two.
    fn end(&self, text: &str) -> LogReport {
        let cut_at_end = i64::try_from(text.len()).is_ok_and(|length| length >= READ);
        let mut lines: Vec<&str> = text.lines().collect();
        if cut_at_end {
            lines.pop();
        }
        let mut report = LogReport { lines: Vec::new(), cut: cut_at_end };
        let mut kept = 0;
        for line in lines.into_iter().rev() {
            let (line, cut) = shown(&self.cx.redactor().redact(line));
            kept += line.len() + 1;
            report.cut |= cut;
            if kept > KEPT {
                report.cut = true;
                break;
            }
            report.lines.push(line);
        }
        report.lines.reverse();
        report
    }
}

/// A line without what would move a terminal's cursor, and not too long.
fn shown(line: &str) -> (String, bool) {
    let mut clean = String::new();
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => clean.push_str("    "),
            char if char.is_control() => {}
            char => clean.push(char),
        }
        if clean.len() > LINE {
            clean.push('…');
            return (clean, true);
        }
    }
    (clean, false)
}

/// `ESC [ 31 m`: up to the letter that ends it.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    let mut ahead = chars.clone();
    if ahead.next() == Some('[') {
        *chars = ahead;
        chars.by_ref().find(|char| ('@'..='~').contains(char));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(shown("\u{1b}[1;31mred\u{1b}[0m\tplain\u{7}\u{1b}x"), ("red    plainx".to_owned(), false));
        let (long, cut) = shown(&"é".repeat(2000));
        assert!(cut && long.len() < LINE + 10 && long.ends_with('…'));
    }
}
