use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, service::service_fn};
use hyper_util::rt::TokioIo;

use super::*;

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// Serves what `page` makes of the number of requests before, and answers with the address.
async fn serve(page: impl Fn(u64) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let page = Arc::new((page, AtomicU64::new(0)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let page = Arc::clone(&page);
            tokio::spawn(async move {
                let answer = service_fn(move |_| {
                    let (status, text) = (page.0)(page.1.fetch_add(1, Ordering::SeqCst));
                    let answer = Response::builder().status(status).body(Full::new(Bytes::from(text)));
                    async move { answer }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    address
}

#[derive(Debug, Default)]
struct Pods(Arc<Mutex<BTreeMap<Track, Vec<String>>>>);

impl Pods {
    fn candidate(addresses: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new([(Track::Candidate, addresses)].into())))
    }
}

#[async_trait]
impl PodSource for Pods {
    async fn pods(&self, _: &Context, _: &str, _: &ServiceName, track: Track) -> Result<Vec<String>> {
        Ok(self.0.lock().unwrap().get(&track).cloned().unwrap_or_default())
    }
}

fn source(pods: Vec<String>) -> ServiceMetrics {
    ServiceMetrics::new("metrics".parse().unwrap(), Pods::candidate(pods))
}

const WINDOW: Duration = Duration::from_millis(100);

fn query(measure: Measure) -> MetricQuery {
    MetricQuery::new("dev", "backend".parse().unwrap(), Track::Candidate, measure, WINDOW)
}

async fn ask(source: &ServiceMetrics, measure: Measure) -> Result<Sample> {
    source.query(&cx(), &query(measure)).await
}

/// 40 requests between any two reads, 10 of them failed; the failures' series appears only with the second read.
fn busy(reads: u64) -> (u16, String) {
    let failed =
        if reads == 0 { String::new() } else { format!("http_requests_total{{code=\"503\"}} {}\n", reads * 10) };
    let page = format!(
        "http_requests_total{{code=\"200\"}} {}\n{failed}http_request_duration_seconds_sum {}\n\
         http_request_duration_seconds_count {}\norders_total{{kind=\"card\",shop=\"a\"}} {}\n",
        1000 + reads * 30,
        500 + reads * 10,
        2000 + reads * 40,
        7 + reads * 4,
    );
    (200, page)
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn conforms() {
    crate::testing::conformance::small::metrics::suite(|| async {
        let source = source(vec![serve(busy).await]);
        (Arc::new(source) as Arc<dyn MetricSource>, WINDOW)
    })
    .await;
}

#[tokio::test]
async fn a_restarted_pod_counts_from_zero() {
    let pod = serve(|reads| (200, format!("http_requests_total {}\n", if reads == 0 { 900 } else { 3 }))).await;
    assert_eq!(ask(&source(vec![pod]), Measure::Requests).await.unwrap(), Sample::new(Some(3.0), 3));
}

#[tokio::test]
async fn pods_add_up_and_one_that_fails_is_left_out() {
    let broken = || serve(|_| (500, String::new()));
    let pods = vec![serve(busy).await, broken().await, serve(busy).await];
    assert_eq!(ask(&source(pods), Measure::Requests).await.unwrap().count, 80);
    let error = ask(&source(vec![broken().await, "127.0.0.1:1".to_owned()]), Measure::Requests).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("500") && error.report().contains("/metrics"), "{}", error.report());
}

#[tokio::test]
async fn no_pods_are_no_data() {
    assert_eq!(ask(&source(Vec::new()), Measure::ErrorRate).await.unwrap(), Sample::new(None, 0));
}

#[tokio::test]
async fn questions_at_the_same_time_share_one_reading_and_the_next_window_begins_with_it() {
    let reads = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&reads);
    let pod = serve(move |number| {
        seen.fetch_add(1, Ordering::SeqCst);
        busy(number)
    })
    .await;
    let source = source(vec![pod]);
    // One reading is shared for a fiftieth of it, which must be enough for a busy machine.
    let slow = MetricQuery { window: Duration::from_secs(2), ..query(Measure::Requests) };
    let cx = cx();
    let (a, b) = tokio::join!(source.query(&cx, &slow), source.query(&cx, &slow));
    assert_eq!((a.unwrap().count, b.unwrap().count), (40, 40));
    assert_eq!(reads.load(Ordering::SeqCst), 2);
    tokio::time::sleep(slow.window).await;
    assert_eq!(source.query(&cx, &slow).await.unwrap().count, 40);
    assert_eq!(reads.load(Ordering::SeqCst), 3, "it begins where the one before ended");
}

#[tokio::test]
async fn bad_pages_are_errors_that_name_the_pod() {
    for (page, kind, expected) in [
        ("http_requests_total{ 3".to_owned(), ErrorKind::Corrupt, "line 1"),
        ("a".repeat(5 * 1024 * 1024), ErrorKind::LimitExceeded, "4 MiB"),
    ] {
        let pod = serve(move |_| (200, page.clone())).await;
        let error = ask(&source(vec![pod.clone()]), Measure::Requests).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.report().contains(expected) && error.report().contains(&pod), "{error:?}");
    }
    let expression = Measure::Expression { text: "rate(x[1m])".to_owned() };
    assert_eq!(ask(&source(Vec::new()), expression).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_pod_that_does_not_answer_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = source(vec![listener.local_addr().unwrap().to_string()]).with_timeout(Duration::from_millis(30));
    assert_eq!(ask(&source, Measure::Requests).await.unwrap_err().kind(), ErrorKind::Timeout);
}
