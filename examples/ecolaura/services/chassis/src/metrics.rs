//! What a service counts, as a page in Prometheus' text format.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::About;

const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The API requests of one service. Probes and scrapes are not among them, so that a share of errors is what users see.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: f64,
    series: Mutex<BTreeMap<(&'static str, &'static str), Series>>,
}

/// The requests of one method and path.
#[derive(Debug, Default)]
struct Series {
    codes: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { started, series: Mutex::default() }
    }

    /// Counts a request to the route `path`, which took `time`.
    pub(crate) fn count(&self, method: &'static str, path: &'static str, code: u16, time: Duration) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry((method, path)).or_default();
        let seconds = time.as_secs_f64();
        *series.codes.entry(code).or_default() += 1;
        for (bound, count) in BUCKETS.iter().zip(&mut series.buckets) {
            *count += u64::from(seconds <= *bound);
        }
        series.sum += seconds;
        series.count += 1;
    }

    pub(crate) fn page(&self, about: &About) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write_requests(&mut page);
        let _ = self.write_process(&mut page, about);
        page
    }

    fn write_requests(&self, page: &mut String) -> std::fmt::Result {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        head(page, "http_requests_total", "counter", "Answered API requests.")?;
        for ((method, path), series) in all.iter() {
            for (code, count) in &series.codes {
                let labels = format!("method=\"{method}\",path=\"{path}\",code=\"{code}\"");
                writeln!(page, "http_requests_total{{{labels}}} {count}")?;
            }
        }
        let name = "http_request_duration_seconds";
        head(page, name, "histogram", "Time to answer an API request.")?;
        for ((method, path), series) in all.iter() {
            let labels = format!("method=\"{method}\",path=\"{path}\"");
            for (bound, count) in BUCKETS.iter().zip(series.buckets) {
                writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
            }
            writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count)?;
            writeln!(page, "{name}_sum{{{labels}}} {}", series.sum)?;
            writeln!(page, "{name}_count{{{labels}}} {}", series.count)?;
        }
        Ok(())
    }

    fn write_process(&self, page: &mut String, about: &About) -> std::fmt::Result {
        head(page, "build_info", "gauge", "Which build this is.")?;
        writeln!(page, "build_info{{service=\"{}\",version=\"{}\"}} 1", about.service, about.version)?;
        head(page, "process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.")?;
        writeln!(page, "process_start_time_seconds {}", self.started)?;
        if let Some(bytes) = resident_bytes(&fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            head(page, "process_resident_memory_bytes", "gauge", "Memory in use.")?;
            writeln!(page, "process_resident_memory_bytes {bytes}")?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            head(page, "process_open_fds", "gauge", "Open files and sockets.")?;
            writeln!(page, "process_open_fds {}", files.count())?;
        }
        Ok(())
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// From the text of `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_by_method_path_and_code() {
        let metrics = Metrics::new();
        for (code, milliseconds) in [(200, 2), (200, 30), (500, 4000)] {
            metrics.count("GET", "/api/plants/{id}", code, Duration::from_millis(milliseconds));
        }
        let page = metrics.page(&About { service: "backend", version: "1.2.3" });
        for line in [
            "http_requests_total{method=\"GET\",path=\"/api/plants/{id}\",code=\"200\"} 2",
            "http_requests_total{method=\"GET\",path=\"/api/plants/{id}\",code=\"500\"} 1",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/plants/{id}\",le=\"0.0025\"} 1",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/plants/{id}\",le=\"2.5\"} 2",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/plants/{id}\",le=\"+Inf\"} 3",
            "http_request_duration_seconds_count{method=\"GET\",path=\"/api/plants/{id}\"} 3",
            "build_info{service=\"backend\",version=\"1.2.3\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "no `{line}` in\n{page}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes(""), None);
    }
}
