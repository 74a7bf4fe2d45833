use super::*;
use crate::report::sample;

fn told(events: &[Event], quiet: bool) -> String {
    let reporter = PlainReporter::new(Vec::new(), Style::plain()).quiet(quiet);
    events.iter().for_each(|event| reporter.emit(event));
    String::from_utf8(reporter.into_inner()).unwrap()
}

#[test]
fn print() {
    for events in [sample::nothing_to_do(), sample::succeeded(), sample::rolled_back(), sample::needs_operator()] {
        println!("{}\n==========", told(&events, false));
    }
    println!("{}", told(&sample::rolled_back(), true));
}
