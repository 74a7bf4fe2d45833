//! What is used, as the metrics API has it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Part, Usage, gather::Found};

/// A pod or a node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metrics {
    pub(super) metadata: Named,
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    pub(super) usage: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Container {
    name: String,
    usage: BTreeMap<String, String>,
}

/// The most CPU first.
pub(super) fn of_pods(found: &Found) -> Part<Vec<Usage>> {
    found.pod_metrics.map(|metrics| {
        let usage = |pod: &Metrics| {
            let name = pod.metadata.name.clone();
            let of = move |container: &Container| Usage {
                pod: name.clone(),
                container: container.name.clone(),
                cpu: millicores(&container.usage),
                memory: bytes(&container.usage),
            };
            pod.containers.iter().map(of).collect::<Vec<_>>()
        };
        let mut usage: Vec<Usage> = metrics.iter().flat_map(usage).collect();
        usage.sort_by(|a, b| b.cpu.cmp(&a.cpu).then(b.memory.cmp(&a.memory)).then(a.pod.cmp(&b.pod)));
        usage
    })
}

pub(super) fn millicores(usage: &BTreeMap<String, String>) -> u64 {
    rounded(quantity(usage.get("cpu")).map(|cores| cores * 1000.0))
}

pub(super) fn bytes(usage: &BTreeMap<String, String>) -> u64 {
    rounded(quantity(usage.get("memory")))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float beyond the range becomes its end")]
fn rounded(number: Option<f64>) -> u64 {
    number.map_or(0, |number| number.ceil() as u64)
}

/// `250m`, `1.5Gi`, `1e3`: a number as Kubernetes writes it.
fn quantity(text: Option<&String>) -> Option<f64> {
    let text = text?.trim();
    let factors = [
        ("Ki", 1024.0),
        ("Mi", 1024.0 * 1024.0),
        ("Gi", 1024.0 * 1024.0 * 1024.0),
        ("Ti", 1024.0 * 1024.0 * 1024.0 * 1024.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
    ];
    for (suffix, factor) in factors {
        if let Some(number) = text.strip_suffix(suffix) {
            return number.parse::<f64>().ok().map(|number| number * factor);
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        let cpu = |text: &str| millicores(&[("cpu".to_owned(), text.to_owned())].into());
        let memory = |text: &str| bytes(&[("memory".to_owned(), text.to_owned())].into());
        assert_eq!((cpu("123456789n"), cpu("2"), cpu("250m"), cpu("0"), cpu("?")), (124, 2000, 250, 0, 0));
        assert_eq!(
            (memory("1Ki"), memory("1.5Gi"), memory("1e3"), memory("2M")),
            (1024, 1_610_612_736, 1000, 2_000_000)
        );
        assert_eq!(bytes(&BTreeMap::new()), 0);
    }
}
