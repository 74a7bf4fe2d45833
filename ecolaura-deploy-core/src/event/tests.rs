use super::*;

fn event() -> Event {
    Event {
        schema: Event::SCHEMA,
        run: "r1".to_owned(),
        environment: "dev".parse().unwrap(),
        pipeline: "p".parse().unwrap(),
        seq: 0,
        at: Timestamp::UNIX_EPOCH,
        elapsed: Duration::ZERO,
        step: None,
        kind: EventKind::RunStarted,
    }
}

#[test]
fn a_sink_that_panics_is_called_once_and_the_others_go_on() {
    let calls = Arc::new(std::sync::Mutex::new(0));
    let counted = Arc::clone(&calls);
    let bad = FnSink::new(move |_event: &Event| {
        *counted.lock().unwrap() += 1;
        std::panic::resume_unwind(Box::new("bad"));
    });
    let (before, after) = (Arc::new(RecordingSink::new()), Arc::new(RecordingSink::new()));
    let fan = FanOut::new([Arc::clone(&before) as Arc<dyn EventSink>, Arc::new(bad), Arc::clone(&after) as _]);
    fan.emit(&event());
    fan.emit(&event());
    assert_eq!((before.events().len(), after.events().len()), (2, 2));
    assert_eq!(calls.lock().map_or_else(|poisoned| *poisoned.into_inner(), |calls| *calls), 1);
}
