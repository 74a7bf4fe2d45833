//! The function that puts the release's folder before the path.

use super::PointerCdn;

const TEMPLATE: &str = r"
import cf from 'cloudfront';
var store = cf.kvs();

async function handler(event) {
  var request = event.request;
  if (request.uri.endsWith('/')) request.uri += 'index.html';
  if (typeof choose === 'function') request = choose(request);
  request.uri = '/' + await store.get(SITE) + request.uri;
  return request;
}
";

impl PointerCdn {
    /// The source of the `CloudFront` function for viewer requests, for the runtime `cloudfront-js-2.0` and associated
    /// with the store. `choose` is the source of a function `choose(request)` that it calls first, such as core's
    /// `Compression::choose`; nothing if there is none.
    pub fn viewer_request(&self, choose: &str) -> String {
        let site = serde_json::Value::from(self.entry.key()).to_string();
        format!("{choose}{}", TEMPLATE.replace("SITE", &site))
    }
}
