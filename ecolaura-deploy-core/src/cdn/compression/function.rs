//! The choice between variants on `CloudFront`.

use super::Compression;

/// The runtime takes at most 10 KB.
const TEMPLATE: &str = r"// Chooses the variant that the viewer accepts. Runtime: cloudfront-js-2.0, event: viewer request.
var extensions = [EXTENSIONS];
var encodings = [ENCODINGS];

function accepts(header, token) {
  var any = false;
  var offers = header.toLowerCase().split(',');
  for (var i = 0; i < offers.length; i++) {
    var parts = offers[i].split(';');
    var refused = parts.slice(1).some(function (part) {
      return part.trim().startsWith('q=') && parseFloat(part.trim().slice(2)) <= 0;
    });
    var name = parts[0].trim();
    if (name === token) return !refused;
    if (name === '*' && !refused) any = true;
  }
  return any;
}

function choose(request) {
  if (request.uri.endsWith('/')) request.uri += 'index.html';
  var name = request.uri.slice(request.uri.lastIndexOf('/') + 1);
  var dot = name.lastIndexOf('.');
  if (dot < 0 || extensions.indexOf(name.slice(dot + 1).toLowerCase()) < 0) return request;
  var header = request.headers['accept-encoding'];
  var accepted = header ? header.value : '';
  for (var i = 0; i < encodings.length; i++) {
    if (accepts(accepted, encodings[i][0])) {
      request.uri += encodings[i][1];
      return request;
    }
  }
  return request;
}
";
const HANDLER: &str = r"
function handler(event) {
  return choose(event.request);
}
";

impl Compression {
    /// The source of a `CloudFront` function for viewer requests that asks the store for the variant that a viewer
    /// accepts, and for `index.html` in a folder. It depends on the rule alone and stays through releases; publish the
    /// first site with this rule before it is put in place, as it counts on variants of all files.
    ///
    /// A behaviour has one such function; what another does goes into the same. Let a response headers policy send
    /// `Vary: Accept-Encoding`, which S3 cannot.
    pub fn viewer_request(&self) -> String {
        self.choose() + HANDLER
    }

    /// The same as a function `choose(request)`, for a handler that does more.
    pub fn choose(&self) -> String {
        let extensions: Vec<String> = self.extensions.iter().map(|extension| text(extension)).collect();
        let encodings: Vec<String> = self
            .encodings
            .iter()
            .map(|encoding| format!("[{}, {}]", text(encoding.token()), text(encoding.suffix())))
            .collect();
        TEMPLATE.replace("EXTENSIONS", &extensions.join(", ")).replace("ENCODINGS", &encodings.join(", "))
    }
}

/// `value` as JavaScript has it, whose strings those of JSON are.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
