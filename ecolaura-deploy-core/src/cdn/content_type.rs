//! The media types of files on the web, by extension.

/// What a file is served as when nothing is known of it: browsers then offer to save it.
const UNKNOWN: &str = "application/octet-stream";

/// The `Content-Type` for `key`, by its extension in any case; `application/octet-stream` for others.
///
/// ```
/// use ecolaura_deploy_core::cdn::content_type;
/// assert_eq!(content_type("assets/app.4f2a91c0.js"), "text/javascript; charset=utf-8");
/// ```
pub fn content_type(key: &str) -> &'static str {
    let name = key.rsplit('/').next().unwrap_or(key);
    match name.rsplit_once('.') {
        Some((_, extension)) => by_extension(&extension.to_ascii_lowercase()),
        None => UNKNOWN,
    }
}

fn by_extension(extension: &str) -> &'static str {
    match extension {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "rss" => "application/rss+xml",
        "atom" => "application/atom+xml",
        "xhtml" => "application/xhtml+xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_of_the_name_counts() {
        assert_eq!(content_type("a.d/INDEX.HTML"), "text/html; charset=utf-8");
        assert_eq!(content_type("app.js.map"), "application/json");
        for unknown in ["a.js/CNAME", "x.", "", "x.unheard"] {
            assert_eq!(content_type(unknown), UNKNOWN, "{unknown}");
        }
    }
}
