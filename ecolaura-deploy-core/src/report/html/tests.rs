use super::*;
use crate::report::sample;

fn page(streams: &[Vec<crate::event::Event>]) -> String {
    let runs: Vec<_> = streams.iter().flat_map(|events| RunReport::all_from_events(events)).collect();
    render(&runs)
}

#[test]
fn the_page_is_one_file_without_scripts() {
    let page = page(&[sample::succeeded(), sample::rolled_back(), sample::needs_operator()]);
    for forbidden in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn foreign_text_is_escaped() {
    let page = page(&[sample::rolled_back()]);
    assert!(page.contains("main.rs:41: &lt;config&gt; DATABASE_URL is not set &amp; needed"));
    assert!(page.contains("URL &lt;DATABASE_URL&gt; is read") && !page.contains("<DATABASE_URL>"));
}

#[test]
fn an_operator_finds_cause_rest_and_commands() {
    let page = page(&[sample::needs_operator()]);
    for text in [
        "Needs an operator",
        "pod backend-7c9-2 crashed 3 times: exit status 101",
        "migrate: database ledger is at 0008, was at 0006",
        "cp /var/lib/ecolaura/backups/r7-production.db /var/lib/ecolaura/ledger.db",
        "database is locked by process 4711",
        "scan of ecolaura/backend",
        "… 118 lines are left out …",
        "0008_index.up.sql drops an index",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn every_planned_step_has_a_row_and_every_span_a_bar() {
    let run = RunReport::from_events(&sample::rolled_back()).unwrap();
    let page = render(std::slice::from_ref(&run));
    assert_eq!(page.matches("<span class=\"bar ").count(), run.timeline().len());
    assert_eq!(page.matches("class=\"took\"").count(), run.steps.len());
    assert!(render(&[]).contains("No run"));
}

#[test]
#[ignore = "writes a page to look at, where REPORT_SAMPLE says"]
fn writes_a_sample() {
    let page = page(&sample::all().into_iter().map(|(_, events)| events).collect::<Vec<_>>());
    std::fs::write(std::env::var_os("REPORT_SAMPLE").unwrap(), page).unwrap();
}
