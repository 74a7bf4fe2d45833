//! Which pods to start and end next, by the arithmetic of Kubernetes' Deployment controller.

use crate::cluster::desired::RolloutStrategy;

/// What the decision needs to know of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of its own, as in a pod's conditions")]
pub(in super::super) struct PodView {
    /// It is made of the wanted template.
    pub(in super::super) current: bool,
    /// It may have requests.
    pub(in super::super) ready: bool,
    /// It has been ready for long enough.
    pub(in super::super) available: bool,
    /// It was told to end and has not ended yet.
    pub(in super::super) retiring: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Action {
    /// Start this many pods of the wanted template.
    Start(u32),
    /// End the pod at this place of the list.
    Retire(usize),
}

/// The next actions towards `replicas` pods of the wanted template. Settled when there are none and no pod retires.
pub(in super::super) fn decide(replicas: u32, strategy: RolloutStrategy, pods: &[PodView]) -> Vec<Action> {
    match strategy {
        RolloutStrategy::Recreate => recreate(replicas, pods),
        RolloutStrategy::RollingUpdate { max_surge, max_unavailable } => {
            roll(&Fence { replicas, max_surge, max_unavailable }, pods)
        }
    }
}

/// The same for pods beside the stable ones, which replace nothing: others go at once.
pub(in super::super) fn decide_candidate(replicas: u32, pods: &[PodView]) -> Vec<Action> {
    let mut actions = retire(live(pods, false));
    actions.extend(scale(replicas, pods));
    actions
}

struct Fence {
    replicas: u32,
    max_surge: u32,
    max_unavailable: u32,
}

fn live(pods: &[PodView], current: bool) -> impl Iterator<Item = usize> + Clone + '_ {
    (0..pods.len()).filter(move |place| !pods[*place].retiring && pods[*place].current == current)
}

fn count(places: impl Iterator<Item = usize>) -> u32 {
    u32::try_from(places.count()).unwrap_or(u32::MAX)
}

fn retire(places: impl Iterator<Item = usize>) -> Vec<Action> {
    places.map(Action::Retire).collect()
}

fn start(number: u32) -> Option<Action> {
    (number > 0).then_some(Action::Start(number))
}

/// Starts what is missing, ends what is too much.
fn scale(replicas: u32, pods: &[PodView]) -> Vec<Action> {
    let mut actions = surplus(replicas, pods);
    actions.extend(start(replicas.saturating_sub(count(live(pods, true)))));
    actions
}

/// Wanted pods beyond `replicas`: those that are not ready first, then the newest.
fn surplus(replicas: u32, pods: &[PodView]) -> Vec<Action> {
    let mut places: Vec<usize> = live(pods, true).collect();
    places.sort_by_key(|place| (pods[*place].ready, std::cmp::Reverse(*place)));
    let extra = places.len().saturating_sub(replicas as usize);
    retire(places.into_iter().take(extra))
}

fn recreate(replicas: u32, pods: &[PodView]) -> Vec<Action> {
    if pods.iter().all(|pod| pod.current) { scale(replicas, pods) } else { retire(live(pods, false)) }
}

fn roll(fence: &Fence, pods: &[PodView]) -> Vec<Action> {
    let (new, old) = (count(live(pods, true)), count(live(pods, false)));
    if old == 0 {
        return scale(fence.replicas, pods);
    }
    let mut actions = surplus(fence.replicas, pods);
    let room = (fence.replicas + fence.max_surge).saturating_sub(new + old);
    actions.extend(start(fence.replicas.saturating_sub(new).min(room)));
    actions.extend(scale_down(fence, pods));
    actions
}

/// Old pods that may go now: those that are not available first, and never so many that fewer than the wanted number
/// less `max_unavailable` remain available.
fn scale_down(fence: &Fence, pods: &[PodView]) -> Vec<Action> {
    let all = live(pods, true).chain(live(pods, false));
    let available = |place: &usize| pods[*place].available;
    let least = fence.replicas.saturating_sub(fence.max_unavailable);
    let new_unavailable = count(live(pods, true).filter(|place| !available(place)));
    let budget = count(all.clone()).saturating_sub(least + new_unavailable) as usize;
    let unhealthy: Vec<usize> = live(pods, false).filter(|place| !available(place)).take(budget).collect();
    let spare = count(all.filter(available)).saturating_sub(least) as usize;
    let rest = (budget - unhealthy.len()).min(spare);
    let healthy = live(pods, false).filter(available).take(rest);
    retire(unhealthy.iter().copied().chain(healthy))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `N`/`n`: wanted, available or not; `O`/`o`: another; `-`: another that retires.
    fn pods(text: &str) -> Vec<PodView> {
        let pod = |letter: char| PodView {
            current: matches!(letter, 'N' | 'n'),
            ready: letter.is_uppercase(),
            available: letter.is_uppercase(),
            retiring: letter == '-',
        };
        text.chars().map(pod).collect()
    }

    fn rolling(max_surge: u32, max_unavailable: u32) -> RolloutStrategy {
        RolloutStrategy::RollingUpdate { max_surge, max_unavailable }
    }

    #[test]
    fn a_rolling_update_goes_step_by_step() {
        use Action::{Retire, Start};
        for (replicas, strategy, state, expected) in [
            (3, rolling(1, 0), "", vec![Start(3)]),
            (3, rolling(1, 0), "OOO", vec![Start(1)]),
            (3, rolling(1, 0), "OOOn", vec![]),
            (3, rolling(1, 0), "OOON", vec![Retire(0)]),
            (3, rolling(1, 0), "-OON", vec![Start(1)]),
            (3, rolling(1, 0), "NNN", vec![]),
            (3, rolling(0, 1), "OOO", vec![Retire(0)]),
            (3, rolling(0, 1), "-OO", vec![Start(1)]),
            (3, rolling(0, 1), "OOn", vec![]),
            (3, rolling(1, 0), "ooO", vec![Start(1)]),
            (4, rolling(1, 1), "OOOO", vec![Start(1), Retire(0)]),
            (2, rolling(1, 0), "OoN", vec![Retire(1)]),
            (2, rolling(1, 0), "NNnN", vec![Retire(2), Retire(3)]),
            (0, rolling(1, 0), "OO", vec![Retire(0), Retire(1)]),
            (2, rolling(1, 0), "OONN", vec![Retire(0), Retire(1)]),
            (2, RolloutStrategy::Recreate, "OO", vec![Retire(0), Retire(1)]),
            (2, RolloutStrategy::Recreate, "--", vec![]),
            (2, RolloutStrategy::Recreate, "-", vec![]),
            (2, RolloutStrategy::Recreate, "N", vec![Start(1)]),
        ] {
            assert_eq!(decide(replicas, strategy, &pods(state)), expected, "{replicas} {strategy:?} {state}");
        }
    }

    #[test]
    fn a_candidate_scales_and_drops_its_forerunner() {
        assert_eq!(decide_candidate(1, &pods("OO")), [Action::Retire(0), Action::Retire(1), Action::Start(1)]);
        assert_eq!(decide_candidate(1, &pods("Nn")), [Action::Retire(1)]);
        assert_eq!(decide_candidate(2, &pods("Nn")), []);
    }

    /// What becomes of `pods` when `actions` are done and every new pod becomes available.
    fn apply(pods: &mut Vec<PodView>, actions: &[Action]) {
        for action in actions {
            match *action {
                Action::Retire(place) => pods[place].retiring = true,
                Action::Start(number) => {
                    let pod = PodView { current: true, ready: false, available: false, retiring: false };
                    pods.extend(std::iter::repeat_n(pod, number as usize));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_rolling_update_stays_within_its_fence_and_ends(
            replicas in 1_u32..8, surge in 0_u32..4, unavailable in 0_u32..4, order in any::<u64>(),
        ) {
            prop_assume!(surge + unavailable > 0);
            let mut state = pods(&"O".repeat(replicas as usize));
            for round in 0..200_u32 {
                let actions = decide(replicas, rolling(surge, unavailable), &state);
                apply(&mut state, &actions);
                let living = state.iter().filter(|pod| !pod.retiring);
                prop_assert!(living.clone().count() <= (replicas + surge) as usize);
                let available = living.filter(|pod| pod.available).count();
                prop_assert!(available >= replicas.saturating_sub(unavailable) as usize);
                // Either one pod ends or one becomes available, in any order.
                if order >> (round % 64) & 1 == 0 {
                    if let Some(place) = state.iter().position(|pod| pod.retiring) { state.remove(place); }
                } else if let Some(pod) = state.iter_mut().find(|pod| !pod.ready) {
                    (pod.ready, pod.available) = (true, true);
                }
                if state.iter().all(|pod| pod.current && pod.available) && state.len() == replicas as usize {
                    return Ok(());
                }
            }
            // An order that only ever ends pods or only ever makes them ready may stand still; others must finish.
            prop_assert!(order == 0 || order == u64::MAX || order.count_ones() < 8 || order.count_zeros() < 8);
        }
    }
}
