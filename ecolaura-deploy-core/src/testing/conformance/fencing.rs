//! What the cases about older epochs share.

use crate::{Context, Effect, ErrorKind, Result, vocabulary::EnvironmentName};

/// Where one digit more is the larger number: nobody may compare them as texts.
const EPOCH: u64 = 1_000_000_000_000;

/// Deployers of one environment, of which all but `epoch` come too early, too late, or from outside.
pub(super) struct Deployers {
    pub(super) older: Context,
    pub(super) epoch: Context,
    pub(super) newer: Context,
    /// Outside of a run.
    pub(super) outside: Context,
    /// Of another environment, whose numbers are its own.
    pub(super) elsewhere: Context,
}

impl Deployers {
    #[expect(clippy::expect_used, reason = "the name is a literal that follows the grammar")]
    pub(super) fn new(cx: &Context) -> Self {
        let under = |epoch| cx.clone().with_epoch(epoch);
        let elsewhere = Context::new(EnvironmentName::new("elsewhere").expect("a valid name")).with_epoch(1);
        let (older, epoch, newer) = (under(EPOCH - 1), under(EPOCH), under(EPOCH + 1));
        Self { older, epoch, newer, outside: under(0), elsewhere }
    }
}

/// Says that a suite leaves its case about older epochs out.
#[expect(clippy::print_stderr, reason = "a test that is left out should be seen by whoever runs it")]
pub(super) fn left_out(suite: &str) {
    eprintln!("{suite}: it says that it cannot tell older epochs; the case about them is left out");
}

/// Checks that `own` was refused because of `seen`, before anything.
#[expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]
pub(super) fn refused<T>(result: Result<T>, own: &Context, seen: &Context) {
    let Err(error) = result else { panic!("epoch {} went through after epoch {}", own.epoch(), seen.epoch()) };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::None), "{error:?}");
    for part in [own.epoch().to_string(), seen.epoch().to_string(), own.environment().to_string()] {
        assert!(error.report().contains(&part), "expected `{part}` in: {}", error.report());
    }
}
