//! What a publish is charged for, as far as it is known beforehand.

use serde::{Deserialize, Serialize};

/// A billion of them are a dollar.
type NanoDollars = u64;

const DOLLAR: u64 = 1_000_000_000;
const GIB: u128 = 1 << 30;

/// What a store and a CDN charge. Those of the list are public and change; give your own where they matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prices {
    /// For one `PUT`, `COPY`, `POST` or `LIST`.
    pub write: NanoDollars,
    /// For one `GET` or `HEAD`.
    pub read: NanoDollars,
    /// For a GiB that is stored for a month.
    pub gib_month: NanoDollars,
    /// For a path that caches forget, beyond the free ones.
    pub path: NanoDollars,
    /// How many paths are still free this month. AWS has 1,000 for all distributions of an account.
    pub free_paths: u64,
    /// Where and since when they hold, and who says so.
    pub source: String,
}

impl Prices {
    /// Those of S3 Standard in `us-east-1` and of `CloudFront`, as AWS's price lists had them in April 2025: $0.005 for
    /// 1,000 writes, $0.0004 for 1,000 reads, $0.023 for a GiB and month, and $0.005 for each path after the first 1,000
    /// of a month. Requests of other regions cost up to twice as much.
    pub fn us_east_1() -> Self {
        Self {
            write: 5_000,
            read: 400,
            gib_month: 23_000_000,
            path: 5_000_000,
            free_paths: 1_000,
            source: "us-east-1, April 2025, aws.amazon.com/s3/pricing and aws.amazon.com/cloudfront/pricing".to_owned(),
        }
    }

    /// With other prices for requests, each in billionths of a dollar.
    pub fn requests(self, write: NanoDollars, read: NanoDollars) -> Self {
        Self { write, read, ..self }
    }

    /// With another price for what is stored, for a GiB and month in billionths of a dollar.
    pub fn storage(self, gib_month: NanoDollars) -> Self {
        Self { gib_month, ..self }
    }

    /// With another price for a path, in billionths of a dollar, and `free` paths that are left this month.
    pub fn paths(self, path: NanoDollars, free: u64) -> Self {
        Self { path, free_paths: free, ..self }
    }

    /// With who says so, where and since when.
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: source.into(), ..self }
    }
}

/// What a publish asks for. An estimate: retries, and what others do at the same time, come on top.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PublishCost {
    /// `PUT`, `COPY`, `POST` and `LIST` requests.
    pub writes: u64,
    /// `GET` and `HEAD` requests. Deletions are free.
    pub reads: u64,
    /// Bytes that are stored anew.
    pub bytes: u64,
    /// Paths that caches are told to forget.
    pub paths: u64,
}

impl PublishCost {
    /// What the publish itself costs.
    pub fn once(&self, prices: &Prices) -> NanoDollars {
        let paths = self.paths.saturating_sub(prices.free_paths);
        let parts = [(self.writes, prices.write), (self.reads, prices.read), (paths, prices.path)];
        parts.into_iter().fold(0, |sum, (count, price)| sum.saturating_add(count.saturating_mul(price)))
    }

    /// What is stored anew costs each month, until it is pruned.
    pub fn monthly(&self, prices: &Prices) -> NanoDollars {
        u64::try_from(u128::from(self.bytes) * u128::from(prices.gib_month) / GIB).unwrap_or(u64::MAX)
    }

    /// As plans show it; the second line only where `prices` are known.
    pub fn lines(&self, prices: Option<&Prices>) -> Vec<String> {
        let Self { writes, reads, bytes, paths } = self;
        let mut lines = vec![format!(
            "about {writes} PUT, COPY, POST or LIST and {reads} GET or HEAD requests, {bytes} bytes stored anew, {paths} \
             paths to forget"
        )];
        lines.extend(prices.map(|prices| {
            let (once, monthly) = (dollars(self.once(prices)), dollars(self.monthly(prices)));
            let paths = match paths {
                0 => String::new(),
                _ => format!(", of paths {} free ones of the month are left", prices.free_paths),
            };
            format!("about {once} once and {monthly} a month{paths} ({})", prices.source)
        }));
        lines
    }
}

/// In a hundredth of a cent, rounded up.
fn dollars(amount: NanoDollars) -> String {
    const PARTS: u64 = 10_000;
    let parts = amount.div_ceil(DOLLAR / PARTS);
    format!("${}.{:04}", parts / PARTS, parts % PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(writes: u64, reads: u64, bytes: u64, paths: u64) -> PublishCost {
        PublishCost { writes, reads, bytes, paths }
    }

    #[test]
    fn thousands_of_requests_cost_what_the_list_says() {
        let prices = Prices::us_east_1();
        assert_eq!(dollars(cost(1_000, 0, 0, 0).once(&prices)), "$0.0050");
        assert_eq!(dollars(cost(0, 10_000, 0, 0).once(&prices)), "$0.0040");
        assert_eq!(dollars(cost(0, 0, 100 << 30, 0).monthly(&prices)), "$2.3000");
        assert_eq!(dollars(cost(1, 0, 0, 0).once(&prices)), "$0.0001", "rounded up");
    }

    #[test]
    fn paths_cost_when_the_free_ones_are_used_up() {
        let prices = Prices::us_east_1();
        assert_eq!(cost(0, 0, 0, 1_000).once(&prices), 0);
        assert_eq!(dollars(cost(0, 0, 0, 1_002).once(&prices)), "$0.0100");
        assert_eq!(dollars(cost(0, 0, 0, 2).once(&prices.paths(5_000_000, 0))), "$0.0100");
    }

    #[test]
    fn what_is_shown_names_figures_source_and_date() {
        let lines = cost(12, 30, 4_096, 2).lines(Some(&Prices::us_east_1()));
        let first =
            "about 12 PUT, COPY, POST or LIST and 30 GET or HEAD requests, 4096 bytes stored anew, 2 paths to forget";
        assert_eq!(lines[0], first);
        for part in ["about $0.0001 once", "1000 free ones", "us-east-1", "April 2025"] {
            assert!(lines[1].contains(part), "{part}: {}", lines[1]);
        }
        assert_eq!(cost(1, 1, 1, 0).lines(None).len(), 1);
        let own = Prices::us_east_1().requests(0, 0).storage(0).source("our contract of 2026");
        assert!(
            cost(1, 1, 1, 0).lines(Some(&own))[1].contains("$0.0000 once and $0.0000 a month (our contract of 2026)")
        );
    }

    #[test]
    fn amounts_beyond_measure_do_not_wrap() {
        let most = cost(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(most.once(&Prices::us_east_1()), u64::MAX);
        assert!(most.monthly(&Prices::us_east_1()) > 0);
    }
}
