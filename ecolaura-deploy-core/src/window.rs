//! When production may be changed: weekly windows in a time zone, and freezes. Pure: the caller says what time it is.

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

use crate::{Error, Result};

/// How far ahead openings and closings are looked for, in days.
const HORIZON: i32 = 400;

/// One window of every week, in local time. A window whose end is not after its beginning ends on the next day; the
/// day is that of the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Weekly {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
}

/// Days on which nothing is changed, whatever the weekly windows say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Freeze {
    first: Date,
    last: Date,
    reason: String,
}

/// Whether a window is open, and how long that stays so. Ends further than 400 days away are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowState {
    /// Changes are allowed.
    Open {
        /// Until when.
        until: Option<Timestamp>,
    },
    /// Changes are not allowed.
    Closed {
        /// When they will be.
        opens: Option<Timestamp>,
        /// Why: the freeze's reason, or that no window is open.
        reason: String,
    },
}

/// Weekly windows and freezes in one IANA time zone. Without a weekly window it is open except in freezes.
///
/// On the day when clocks go forward, a time that does not exist means the same distance after the change; on the
/// day when they go back, a time that exists twice means its first occurrence.
///
/// ```
/// use ecolaura_deploy_core::window::{MaintenanceWindow, WindowState};
/// use jiff::civil::{Weekday, time};
/// let window = MaintenanceWindow::new("Europe/Berlin")?
///     .weekly([Weekday::Tuesday, Weekday::Thursday], time(10, 0, 0, 0), time(16, 0, 0, 0));
/// let now = "2026-03-03T12:00:00Z".parse().unwrap(); // a Tuesday, 13:00 in Berlin
/// assert_eq!(window.state(now), WindowState::Open { until: Some("2026-03-03T15:00:00Z".parse().unwrap()) });
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MaintenanceWindow {
    zone: TimeZone,
    weekly: Vec<Weekly>,
    freezes: Vec<Freeze>,
}

impl MaintenanceWindow {
    /// Always open, in the IANA time zone `zone`. Fails with `InvalidInput` if the machine's time zone database does
    /// not know it.
    pub fn new(zone: &str) -> Result<Self> {
        let zone = TimeZone::get(zone).map_err(|error| {
            Error::invalid("window.new", format!("`{zone}` is not a known time zone"))
                .advice("give an IANA name such as `Europe/Berlin` and install the tzdata package")
                .with_source(error)
        })?;
        Ok(Self { zone, weekly: Vec::new(), freezes: Vec::new() })
    }

    /// Also open on `days` from `from` until just before `to`, local time.
    pub fn weekly(mut self, days: impl IntoIterator<Item = Weekday>, from: Time, to: Time) -> Self {
        self.weekly.push(Weekly { days: days.into_iter().collect(), from, to });
        self
    }

    /// Closed from the beginning of `first` to the end of `last`, because of `reason`. Beats every window.
    pub fn freeze(mut self, first: Date, last: Date, reason: impl Into<String>) -> Self {
        self.freezes.push(Freeze { first, last, reason: reason.into() });
        self
    }

    /// Whether it is open at `now`.
    pub fn state(&self, now: Timestamp) -> WindowState {
        let today = self.zone.to_datetime(now).date();
        let horizon = self.start_of(today.saturating_add(HORIZON.days()));
        let open = subtract(self.openings(now, today, horizon), &self.closures());
        let known = |at: Timestamp| (at < horizon).then_some(at);
        match open.iter().find(|range| range.end > now) {
            Some(range) if range.start <= now => WindowState::Open { until: known(range.end) },
            next => {
                WindowState::Closed { opens: next.and_then(|range| known(range.start)), reason: self.reason(today) }
            }
        }
    }

    fn reason(&self, today: Date) -> String {
        let frozen = self.freezes.iter().find(|freeze| (freeze.first..=freeze.last).contains(&today));
        frozen.map_or_else(
            || "no maintenance window is open".to_owned(),
            |freeze| format!("freeze until {}: {}", freeze.last, freeze.reason),
        )
    }

    /// The weekly windows from yesterday (one may run past midnight) to the horizon, merged.
    fn openings(&self, now: Timestamp, today: Date, horizon: Timestamp) -> Vec<Range> {
        if self.weekly.is_empty() {
            return vec![Range { start: now, end: horizon }];
        }
        let first = today.saturating_sub(1.day());
        let ranges = (0..=HORIZON)
            .map(|offset| first.saturating_add(offset.days()))
            .flat_map(|day| self.weekly.iter().filter_map(move |weekly| self.opening(day, weekly)));
        let ends = |range: Range| Range { end: range.end.min(horizon), ..range };
        merge(ranges.map(ends).filter(|range| range.start < range.end).collect())
    }

    fn opening(&self, day: Date, weekly: &Weekly) -> Option<Range> {
        if !weekly.days.contains(&day.weekday()) {
            return None;
        }
        let last = if weekly.to > weekly.from { day } else { day.saturating_add(1.day()) };
        let start = self.instant(day, weekly.from)?;
        let end = self.instant(last, weekly.to)?;
        Some(Range { start, end })
    }

    fn closures(&self) -> Vec<Range> {
        let range = |freeze: &Freeze| Range {
            start: self.start_of(freeze.first),
            end: self.start_of(freeze.last.saturating_add(1.day())),
        };
        merge(self.freezes.iter().map(range).collect())
    }

    fn instant(&self, day: Date, time: Time) -> Option<Timestamp> {
        self.zone.to_timestamp(day.to_datetime(time)).ok()
    }

    fn start_of(&self, day: Date) -> Timestamp {
        self.instant(day, Time::midnight()).unwrap_or(Timestamp::MAX)
    }
}

#[derive(Debug, Clone, Copy)]
struct Range {
    start: Timestamp,
    end: Timestamp,
}

fn merge(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn subtract(open: Vec<Range>, closed: &[Range]) -> Vec<Range> {
    closed.iter().fold(open, |open, freeze| {
        let parts = |range: Range| {
            [
                Range { start: range.start, end: range.end.min(freeze.start) },
                Range { start: range.start.max(freeze.end), end: range.end },
            ]
        };
        open.into_iter().flat_map(parts).filter(|range| range.start < range.end).collect()
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn open(until: &str) -> WindowState {
        WindowState::Open { until: Some(at(until)) }
    }

    fn opens(state: &WindowState) -> Option<Timestamp> {
        match state {
            WindowState::Closed { opens, .. } => *opens,
            WindowState::Open { .. } => panic!("open"),
        }
    }

    fn sunday_night() -> MaintenanceWindow {
        MaintenanceWindow::new("Europe/Berlin").unwrap().weekly([Weekday::Sunday], time(1, 0, 0, 0), time(4, 0, 0, 0))
    }

    #[test]
    fn edges_belong_to_the_beginning() {
        let window =
            MaintenanceWindow::new("UTC").unwrap().weekly([Weekday::Monday], time(8, 0, 0, 0), time(9, 0, 0, 0));
        assert_eq!(window.state(at("2026-03-02T08:00:00Z")), open("2026-03-02T09:00:00Z"));
        assert_eq!(opens(&window.state(at("2026-03-02T07:59:59Z"))), Some(at("2026-03-02T08:00:00Z")));
        assert_eq!(opens(&window.state(at("2026-03-02T09:00:00Z"))), Some(at("2026-03-09T08:00:00Z")));
    }

    #[test]
    fn a_window_may_run_past_midnight_and_touch_the_next() {
        let window = MaintenanceWindow::new("UTC")
            .unwrap()
            .weekly([Weekday::Monday], time(22, 0, 0, 0), time(2, 0, 0, 0))
            .weekly([Weekday::Tuesday], time(2, 0, 0, 0), time(3, 0, 0, 0));
        assert_eq!(window.state(at("2026-03-03T01:00:00Z")), open("2026-03-03T03:00:00Z"));
    }

    #[test]
    fn the_window_keeps_its_local_hours_when_clocks_change() {
        // Forward on 29 March 2026: 01:00 is 00:00Z, 04:00 is 02:00Z; two hours long. Back on 25 October: four.
        assert_eq!(sunday_night().state(at("2026-03-29T00:00:00Z")), open("2026-03-29T02:00:00Z"));
        assert_eq!(opens(&sunday_night().state(at("2026-03-29T02:00:00Z"))), Some(at("2026-04-04T23:00:00Z")));
        assert_eq!(sunday_night().state(at("2026-10-24T23:00:00Z")), open("2026-10-25T03:00:00Z"));
    }

    #[test]
    fn a_window_in_the_skipped_hour_moves_behind_it_or_is_left_out() {
        let berlin = || MaintenanceWindow::new("Europe/Berlin").unwrap();
        let moved = berlin().weekly([Weekday::Sunday], time(2, 0, 0, 0), time(2, 30, 0, 0));
        assert_eq!(moved.state(at("2026-03-29T01:15:00Z")), open("2026-03-29T01:30:00Z"));
        let empty = berlin().weekly([Weekday::Sunday], time(2, 30, 0, 0), time(3, 0, 0, 0));
        assert_eq!(opens(&empty.state(at("2026-03-29T01:15:00Z"))), Some(at("2026-04-05T00:30:00Z")));
    }

    #[test]
    fn freezes_beat_windows() {
        let window = sunday_night().freeze(date(2026, 3, 1), date(2026, 3, 14), "trade fair");
        let state = window.state(at("2026-03-08T00:30:00Z"));
        assert!(matches!(&state, WindowState::Closed { reason, .. } if reason.contains("trade fair")), "{state:?}");
        assert_eq!(opens(&state), Some(at("2026-03-15T00:00:00Z")));
    }

    #[test]
    fn without_windows_only_freezes_close() {
        let window = MaintenanceWindow::new("UTC").unwrap().freeze(date(2026, 12, 24), date(2026, 12, 26), "holidays");
        assert_eq!(window.state(at("2026-12-01T00:00:00Z")), open("2026-12-24T00:00:00Z"));
        assert_eq!(opens(&window.state(at("2026-12-25T00:00:00Z"))), Some(at("2026-12-27T00:00:00Z")));
        assert_eq!(window.state(at("2026-12-27T00:00:00Z")), WindowState::Open { until: None });
    }

    #[test]
    fn unknown_zones_are_named() {
        assert!(MaintenanceWindow::new("Europe/Berln").unwrap_err().report().contains("Europe/Berln"));
    }
}
