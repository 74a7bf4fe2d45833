//! What the pods said earlier, and the increase since.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::{
    page::{Page, Series},
    scrape::Scraper,
};
use crate::Result;

/// Samples kept for each pod.
const SAMPLES: usize = 32;
/// Pods remembered. Beyond it, those that nobody is asking are forgotten.
const PODS: usize = 512;

/// How much each series of a pod grew over the window.
#[derive(Debug)]
pub(super) struct Increase(Vec<(Series, f64)>);

impl Increase {
    fn between(before: &Page, now: &Page) -> Self {
        let grown = |(series, value): (&Series, &f64)| {
            let old = before.0.get(series).copied().unwrap_or(0.0);
            // Smaller than before: the process began again from 0.
            (series.clone(), if *value < old { *value } else { value - old })
        };
        Self(now.0.iter().map(grown).collect())
    }

    /// The sum over the series called `name` that `keep` accepts; `None` if there is none.
    pub(super) fn sum(&self, name: &str, keep: &dyn Fn(&Series) -> bool) -> Option<f64> {
        let found = self.0.iter().filter(|(series, _)| series.name == name && keep(series));
        found.fold(None, |sum, (_, value)| Some(sum.unwrap_or(0.0) + value))
    }
}

/// What can be said of a pod now.
#[derive(Debug)]
pub(super) enum Answer {
    /// How much it grew.
    Increase(Increase),
    /// A baseline was taken; ask again after this time.
    Wait(Duration),
}

type History = VecDeque<(Instant, Arc<Page>)>;

/// The samples of every pod, by address.
#[derive(Debug, Default)]
pub(super) struct Histories(StdMutex<HashMap<String, Arc<Mutex<History>>>>);

impl Histories {
    /// Reads the pod's page, unless it was read just now, and answers with the increase over `window`.
    pub(super) async fn read(&self, scraper: &Scraper, pod: &str, window: Duration) -> Result<Answer> {
        let history = self.of(pod);
        let mut history = history.lock().await;
        let fresh = |(at, _): &&(Instant, Arc<Page>)| at.elapsed() < window / 50;
        let (now, page) = match history.back().filter(fresh) {
            Some((at, page)) => (*at, Arc::clone(page)),
            None => {
                let page = Arc::new(scraper.read(pod).await?);
                let now = Instant::now();
                history.push_back((now, Arc::clone(&page)));
                if history.len() > SAMPLES {
                    history.pop_front();
                }
                (now, page)
            }
        };
        Ok(answer(&history, now, &page, window))
    }

    fn of(&self, pod: &str) -> Arc<Mutex<History>> {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pods.len() >= PODS && !pods.contains_key(pod) {
            pods.retain(|_, history| Arc::strong_count(history) > 1);
        }
        Arc::clone(pods.entry(pod.to_owned()).or_default())
    }
}

/// How much older than one and a half windows a baseline may be: a busy machine is late.
const LATE: Duration = Duration::from_millis(500);

/// A baseline may be a tenth younger than the window, for timers are not exact, and half as old again; one that is
/// much older would mix in what happened before. Of several, the one whose age is nearest to the window is taken.
fn answer(history: &History, now: Instant, page: &Page, window: Duration) -> Answer {
    let age = |at: Instant| now.saturating_duration_since(at);
    let usable = |at: Instant| age(at) >= window * 9 / 10 && at < now && age(at) <= window * 3 / 2 + LATE;
    let baseline = history.iter().filter(|(at, _)| usable(*at)).min_by_key(|(at, _)| age(*at).abs_diff(window));
    if let Some((_, before)) = baseline {
        return Answer::Increase(Increase::between(before, page));
    }
    let oldest = history.iter().map(|(at, _)| age(*at)).filter(|age| *age < window).max().unwrap_or_default();
    Answer::Wait(window.saturating_sub(oldest))
}
