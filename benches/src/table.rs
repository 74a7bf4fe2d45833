//! What was measured, in rounds in which each side has its turn, and how it compares.

use std::collections::BTreeMap;

/// One value a round.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    values: Vec<f64>,
    /// Each was stopped there and would have been more.
    capped: bool,
}

impl Samples {
    fn range(&self) -> [f64; 3] {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        [sorted.first(), sorted.get(sorted.len() / 2), sorted.last()].map(|value| value.copied().unwrap_or(f64::NAN))
    }
}

/// What the values of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Of time.
    Seconds,
    /// Of memory.
    MiB,
}

/// What was wished.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Nothing.
    None,
    /// Of the peer's, in the median.
    Ratio(f64),
    /// By itself, in each round.
    AtMost(f64),
}

/// A comparison.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    unit: Unit,
    ours: Samples,
    peer: Option<(String, Samples)>,
    goal: Goal,
}

/// The measurements of a case: by what was measured, and whose it is.
#[derive(Debug, Default)]
pub struct Records(BTreeMap<(String, String), Samples>);

/// What is measured of a piece of work: its time, its memory, and which part of a peer's time is wished.
pub type Work = (&'static str, &'static str, f64);

/// Whose values are compared with those of others.
pub const OURS: &str = "ours";

/// Lets each of `sides` have its turn in each round. `turn` answers with what it measured.
pub async fn by_turns(
    rounds: usize,
    sides: &[&'static str],
    mut turn: impl AsyncFnMut(&'static str) -> Vec<(&'static str, f64)>,
) -> Records {
    let mut records = Records::default();
    for round in 1..=rounds {
        for side in sides {
            let measured = turn(side).await;
            let said: Vec<String> = measured.iter().map(|(what, value)| format!("{what} {value:.3}")).collect();
            println!("  round {round}, {side}: {}", said.join(", "));
            for (what, value) in measured {
                records.add(what, side, value);
            }
        }
    }
    records
}

impl Records {
    /// Notes a value.
    pub fn add(&mut self, what: &str, side: &str, value: f64) {
        self.0.entry((what.to_owned(), side.to_owned())).or_default().values.push(value);
    }

    /// Says that a side was stopped at its values, and would have had more.
    pub fn cap(&mut self, what: &str, side: &str) {
        self.0.entry((what.to_owned(), side.to_owned())).or_default().capped = true;
    }

    fn of(&self, what: &str, side: &str) -> Option<Samples> {
        self.0.get(&(what.to_owned(), side.to_owned())).cloned()
    }

    /// Ours of `what` beside `peer`'s of `theirs`; without the peer, by itself.
    pub fn row(&self, title: String, unit: Unit, what: &str, peer: (&str, &str), goal: Goal) -> Row {
        let (side, theirs) = peer;
        let peer = self.of(theirs, side).map(|samples| (side.to_owned(), samples));
        Row { what: title, unit, ours: self.of(what, OURS).unwrap_or_default(), peer, goal }
    }

    /// Each of `works` beside each of `sides` that is not ours; its memory is wished to be `most` MiB.
    pub fn beside(&self, title: &str, sides: &[&'static str], works: &[Work], most: f64) -> Vec<Row> {
        let mut rows = Vec::new();
        for peer in sides.iter().copied().filter(|side| *side != OURS) {
            for (what, memory, ratio) in works {
                let row = |unit, what: &str, goal| self.row(format!("{title}, {what}"), unit, what, (peer, what), goal);
                rows.push(row(Unit::Seconds, what, Goal::Ratio(*ratio)));
                rows.push(row(Unit::MiB, memory, Goal::AtMost(most)));
            }
        }
        rows
    }
}

impl Row {
    /// Ours by the peer's of the same round.
    fn ratios(&self) -> Option<Samples> {
        let (_, peer) = self.peer.as_ref()?;
        let pairs = self.ours.values.iter().zip(&peer.values);
        Some(Samples { values: pairs.map(|(ours, peer)| ours.max(0.0) / peer.max(1e-9)).collect(), capped: false })
    }

    /// Whether the goal is met; nobody knows without the peer.
    fn is_met(&self) -> Option<bool> {
        match self.goal {
            Goal::None => None,
            Goal::Ratio(most) => Some(self.ratios()?.range()[1] <= most),
            Goal::AtMost(most) => Some(self.ours.range()[2] <= most),
        }
    }

    fn cells(&self) -> [String; 6] {
        let values = |samples: &Samples| {
            let sign = if samples.capped { "> " } else { "" };
            let decimals = match self.unit {
                Unit::Seconds => 3,
                Unit::MiB => 0,
            };
            let values = samples.range().map(|value| format!("{sign}{value:.decimals$}"));
            format!("{} {}", values.join(" / "), if self.unit == Unit::Seconds { "s" } else { "MiB" })
        };
        let goal = match self.goal {
            Goal::None => String::new(),
            Goal::Ratio(most) => format!("≤ {most}×"),
            Goal::AtMost(most) if self.unit == Unit::MiB => format!("≤ {most} MiB"),
            Goal::AtMost(most) => format!("≤ {most} s"),
        };
        let met = self.is_met().map_or("", |met| if met { "yes" } else { "no" });
        let (peer, theirs) = match &self.peer {
            Some((name, samples)) => (format!(", beside {name}"), values(samples)),
            None => (String::new(), String::new()),
        };
        let ratios = self.ratios().map_or_else(String::new, |ratios| {
            let capped = self.peer.as_ref().is_some_and(|(_, samples)| samples.capped);
            let sign = if capped { "< " } else { "" };
            ratios.range().map(|ratio| format!("{sign}{ratio:.3}")).join(" / ")
        });
        [format!("{}{peer}", self.what), values(&self.ours), theirs, ratios, goal, met.to_owned()]
    }
}

/// Prints `rows` as Markdown whose columns stand below each other.
pub fn print(rows: &[Row]) {
    let heads = ["what (min / median / max)", "ours", "peer", "ours ÷ peer", "goal", "met"].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect();
    let wide = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(wide);
    println!();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if index == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}
