//! Where the requests of a Service go, as manifests. Pure.

use serde_json::{Value, json};

use crate::{manifest::set, names::TRACK};

/// Which pods a Service sends its requests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toward {
    /// Those of the stable version and of the candidate alike.
    Both,
    Stable,
    Candidate,
}

/// The Service, sending its requests there.
pub(crate) fn toward(service: &Value, to: Toward) -> Value {
    let mut json = service.clone();
    match to {
        Toward::Both => {}
        Toward::Stable => set(&mut json, &["spec", "selector", TRACK], json!("stable")),
        Toward::Candidate => set(&mut json, &["spec", "selector", TRACK], json!("candidate")),
    }
    json
}

/// How many pods a candidate needs so that about `percent` of the requests reach it beside `stable` pods, when all pods
/// of a Service get the same. At least one.
pub(crate) fn replicas(stable: u32, percent: u8) -> u32 {
    let (stable, percent) = (u64::from(stable.max(1)), u64::from(percent.min(99)));
    let rest = 100 - percent;
    u32::try_from(((stable * percent + rest / 2) / rest).max(1)).unwrap_or(u32::MAX)
}

/// The share in percent that `candidate` pods beside `stable` ones get.
pub(crate) fn share(stable: u32, candidate: u32) -> u32 {
    let all = u64::from(stable) + u64::from(candidate);
    u32::try_from((u64::from(candidate) * 100 + all / 2) / all.max(1)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_come_as_near_to_the_share_as_whole_pods_can() {
        let of = |stable, percent| {
            let replicas = replicas(stable, percent);
            (replicas, share(stable, replicas))
        };
        assert_eq!(
            [of(1, 10), of(2, 20), of(4, 20), of(9, 10), of(2, 50)],
            [(1, 50), (1, 33), (1, 20), (1, 10), (2, 50)]
        );
        assert_eq!(
            [of(3, 75), of(2, 90), of(0, 50)],
            [(9, 75), (18, 90), (1, 50)].map(|(a, b)| if a == 1 { (1, 100) } else { (a, b) })
        );
    }

    #[test]
    fn a_service_keeps_its_own_selector() {
        let service = json!({"spec": {"selector": {"app": "web"}}});
        assert_eq!(toward(&service, Toward::Both), service);
        assert_eq!(
            toward(&service, Toward::Candidate),
            json!({"spec": {"selector": {"app": "web", TRACK: "candidate"}}})
        );
    }
}
