//! Which metrics answer a question: pure.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::{Measure, MetricQuery, Track},
    vocabulary::ServiceName,
};

/// How services publish what they measure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Layout {
    /// An Application Load Balancer measures for them. Errors are the answers of targets with a status from 500 on, and
    /// connections that targets did not take: those the balancer answers by itself.
    LoadBalancer {
        /// Its dimension `LoadBalancer`: `app/shop/50dc6c495c0c9188`.
        balancer: String,
        /// The dimension `TargetGroup` of each version of each service: `targetgroup/web/73e2d6bc24d8a067`.
        groups: BTreeMap<(ServiceName, Track), String>,
    },
    /// They do it themselves, with the dimensions `Namespace`, `Service` and `Track` (`stable`, `candidate`).
    ///
    /// | metric | is |
    /// |---|---|
    /// | `Requests` | answered requests |
    /// | `Errors` | those of them with a status from 500 on |
    /// | `Latency` | the time that each took, in seconds |
    /// | any other | a counter; its labels are dimensions too |
    Services {
        /// The namespace that they publish in: `Shop`.
        namespace: String,
    },
}

impl Layout {
    /// Measured by the load balancer `balancer`.
    pub fn load_balancer(balancer: impl Into<String>) -> Self {
        Self::LoadBalancer { balancer: balancer.into(), groups: BTreeMap::new() }
    }

    /// Measured by the services, in the namespace `namespace`.
    pub fn services(namespace: impl Into<String>) -> Self {
        Self::Services { namespace: namespace.into() }
    }

    /// The requests of `service` on `track` go to the target group `group`. Only where a load balancer measures.
    pub fn target_group(mut self, service: ServiceName, track: Track, group: impl Into<String>) -> Self {
        if let Self::LoadBalancer { groups, .. } = &mut self {
            groups.insert((service, track), group.into());
        }
        self
    }

    fn dimensions(&self, query: &MetricQuery) -> Result<Vec<(String, String)>> {
        match self {
            Self::LoadBalancer { balancer, groups } => {
                let group = groups.get(&(query.service.clone(), query.track)).ok_or_else(|| {
                    let message = format!("no target group is named for the {} {}", query.track, query.service);
                    Error::invalid("cloudwatch.query", message).advice("name it by `Layout::target_group`")
                })?;
                let named = [("LoadBalancer", balancer), ("TargetGroup", group)];
                Ok(named.map(|(name, value)| (name.to_owned(), value.clone())).into())
            }
            Self::Services { .. } => {
                let (service, track) = (query.service.to_string(), query.track.to_string());
                let named = [("Namespace", query.namespace.clone()), ("Service", service), ("Track", track)];
                Ok(named.map(|(name, value)| (name.to_owned(), value)).into())
            }
        }
    }

    fn names(&self) -> (&str, [&'static str; 3]) {
        match self {
            Self::LoadBalancer { .. } => {
                ("AWS/ApplicationELB", ["RequestCount", "HTTPCode_Target_5XX_Count", "TargetResponseTime"])
            }
            Self::Services { namespace } => (namespace, ["Requests", "Errors", "Latency"]),
        }
    }
}

/// What has to be asked for an answer, in points of `period` seconds. Every one asks for the requests too: they stand
/// behind the value.
pub(super) fn asked(layout: &Layout, query: &MetricQuery, period: i32) -> Result<Vec<MetricDataQuery>> {
    let (namespace, [requests, errors, latency]) = layout.names();
    let dimensions = layout.dimensions(query)?;
    let series = |id: &str, name: &str, stat: &str| stat_query((id, namespace, name, stat), &dimensions, period);
    let requests = series(REQUESTS, requests, "Sum");
    Ok(match &query.measure {
        Measure::Requests => vec![requests],
        Measure::ErrorRate => {
            let refused = matches!(layout, Layout::LoadBalancer { .. });
            let refused = refused.then(|| series(REFUSED, "TargetConnectionErrorCount", "Sum"));
            [requests, series(PART, errors, "Sum")].into_iter().chain(refused).collect()
        }
        Measure::MeanLatency => {
            vec![requests, series(PART, latency, "Sum"), series(OBSERVED, latency, "SampleCount")]
        }
        Measure::Counter { name, labels } => {
            if let Layout::LoadBalancer { .. } = layout {
                let message = format!("a load balancer does not count `{name}`");
                return Err(Error::new(ErrorKind::Unsupported, "cloudwatch.query", message));
            }
            let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone()));
            let dimensions: Vec<_> = dimensions.iter().cloned().chain(labels).collect();
            vec![requests, stat_query((PART, namespace, name, "Sum"), &dimensions, period)]
        }
        Measure::Expression { text } => {
            vec![requests, MetricDataQuery::builder().id(PART).expression(text).period(period).build()]
        }
        other => {
            let message = format!("`{other:?}` is not known here");
            return Err(Error::new(ErrorKind::Unsupported, "cloudwatch.query", message));
        }
    })
}

pub(super) const REQUESTS: &str = "requests";
pub(super) const PART: &str = "part";
pub(super) const REFUSED: &str = "refused";
pub(super) const OBSERVED: &str = "observed";

fn stat_query(
    (id, namespace, name, stat): (&str, &str, &str, &str),
    dimensions: &[(String, String)],
    period: i32,
) -> MetricDataQuery {
    let dimensions = dimensions.iter().map(|(name, value)| Dimension::builder().name(name).value(value).build());
    let metric = Metric::builder().namespace(namespace).metric_name(name).set_dimensions(Some(dimensions.collect()));
    let stat = MetricStat::builder().metric(metric.build()).period(period).stat(stat).build();
    MetricDataQuery::builder().id(id).metric_stat(stat).build()
}
