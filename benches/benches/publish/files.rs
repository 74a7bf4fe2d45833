//! A site of any size.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use ecolaura_deploy_core::vocabulary::Digest;

/// How much of a file differs from the others; then it begins anew.
const PERIOD: usize = 1024 * 1024;

/// Text as scripts are, with a hash in its name; every fiftieth is a page, unless they are too large for that.
pub(crate) fn make(folder: &Path, count: usize, bytes: usize) {
    for number in 0..count {
        let text = text(number, bytes.min(PERIOD));
        let name = match number % 50 {
            0 if bytes < PERIOD => format!("page-{number}.html"),
            _ => format!("assets/{}/chunk.{}.js", number % 16, &Digest::of(&text).to_hex()[..8]),
        };
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (mut file, mut left) = (File::create(path).unwrap(), bytes);
        while left > 0 {
            let piece = left.min(text.len());
            file.write_all(&text.as_bytes()[..piece]).unwrap();
            left -= piece;
        }
    }
}

fn text(number: usize, bytes: usize) -> String {
    let (mut text, mut seed) = (String::with_capacity(bytes + 128), Digest::of(number.to_le_bytes()));
    while text.len() < bytes {
        _ = writeln!(text, "{seed}");
        seed = Digest::of(seed.as_bytes());
    }
    text.truncate(bytes);
    text
}
