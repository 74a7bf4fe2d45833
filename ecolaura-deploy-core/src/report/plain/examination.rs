//! What a doctor found and did, one block for each finding.

use std::fmt::Write as _;

use super::super::{
    Style,
    closing::sentence,
    narrate::hanging,
    style::Paint,
    wording::{count, one_line, wrap},
};
use crate::{
    ErrorRecord,
    doctor::{Examination, Finding, Fixed, Severity, Unread},
};

/// What was found, worst first within its kind, and a last line that sums up. Ends with a line break.
pub fn render_examination(examination: &Examination, style: &Style) -> String {
    let mut lines = Vec::new();
    for finding in &examination.findings {
        lines.extend(block(finding, *style));
        lines.push(String::new());
    }
    lines.extend(examination.unread.iter().flat_map(|unread| not_read(unread, *style)));
    lines.push(summary(examination, *style));
    text(&lines)
}

/// What was cleaned up, or would be, and a last line that sums up. Ends with a line break.
pub fn render_fixed(fixed: &Fixed, style: &Style) -> String {
    let did = |word: &str, finding: &Finding| format!("{word}: {}, {}", one_line(&finding.what), place(finding));
    let mut lines: Vec<String> = fixed.would.iter().map(|finding| did("would clean up", finding)).collect();
    lines.extend(fixed.done.iter().map(|finding| did("cleaned up", finding)));
    for (finding, error) in &fixed.failed {
        lines.push(style.paint(Paint::Bad, &did("not cleaned up", finding)));
        lines.extend(failure(error, *style));
    }
    lines.push(sum_up(fixed, *style));
    text(&lines)
}

fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn paint(severity: Severity) -> Paint {
    match severity {
        Severity::Note => Paint::Dim,
        Severity::Warning => Paint::Warn,
        Severity::Problem => Paint::Bad,
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

fn place(finding: &Finding) -> String {
    format!("in {}", one_line(&finding.place))
}

fn block(finding: &Finding, style: Style) -> Vec<String> {
    let title = format!("{}: {}", word(finding.severity), one_line(&finding.what));
    let mut lines = vec![style.paint(paint(finding.severity), &title)];
    lines.extend(hanging("where", &one_line(&finding.place), style));
    let known: Vec<String> = finding.known.iter().map(|known| sentence(known)).collect();
    lines.extend(hanging("known", &known.join("\n"), style));
    let action = sentence(&finding.action);
    let action = if finding.fixable { format!("{action} A fix does it.") } else { action };
    if !finding.action.is_empty() {
        lines.extend(hanging("do", &action, style));
    }
    lines
}

fn not_read(unread: &Unread, style: Style) -> Vec<String> {
    let parts = [(unread.runs, "older run"), (unread.releases, "older release")];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(number, noun));
    let what = parts.collect::<Vec<_>>().join(" and ");
    let text = format!("not read: {what}, on which nothing rests that is open or live; {}", unread.action);
    wrap(&text, style.width()).iter().map(|line| style.paint(Paint::Dim, line)).collect()
}

fn summary(examination: &Examination, style: Style) -> String {
    let number = |severity| examination.findings.iter().filter(|finding| finding.severity == severity).count();
    let shown = [Severity::Problem, Severity::Warning, Severity::Note].map(|severity| (number(severity), severity));
    let parts: Vec<_> = shown.iter().filter(|(number, _)| *number > 0).collect();
    let environment = &examination.environment;
    let Some((_, worst)) = parts.first() else {
        return style.paint(Paint::Good, &format!("{environment}: nothing is open, damaged or left over"));
    };
    let words: Vec<_> = parts.iter().map(|(number, severity)| count(*number, word(*severity))).collect();
    let fixable = examination.findings.iter().filter(|finding| finding.fixable).count();
    let fix = match fixable {
        0 => "a fix would do nothing".to_owned(),
        _ => format!("a fix cleans up {fixable}"),
    };
    style.paint(paint(*worst), &format!("{environment}: {}; {fix}", words.join(", ")))
}

fn failure(error: &ErrorRecord, style: Style) -> Vec<String> {
    let mut lines = hanging("why", &error.message, style);
    if let Some(advice) = &error.advice {
        lines.extend(hanging("do", &sentence(advice), style));
    }
    lines
}

fn sum_up(fixed: &Fixed, style: Style) -> String {
    let parts: Vec<_> = [
        (fixed.would.len(), "would be cleaned up; nothing was changed"),
        (fixed.done.len(), "cleaned up"),
        (fixed.failed.len(), "not cleaned up"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, words)| format!("{number} {words}"))
    .collect();
    match parts.is_empty() {
        true => style.paint(Paint::Good, "nothing to clean up"),
        false => parts.join(", "),
    }
}
