//! `ecolaura-web [SOURCE] [OUTPUT]` copies the site from SOURCE (`web/src`) to OUTPUT (`web/dist`). A file below
//! `assets/` gets the hash of its content into its name, and every reference to it follows. The same source gives the
//! same bytes; a file that is right already is not touched, one that does not belong there is removed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use twox_hash::XxHash3_64;

/// Contents by path below the site's root, with `/`.
type Files = BTreeMap<String, Vec<u8>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let source = arguments.next().unwrap_or_else(|| "web/src".into());
    let output = arguments.next().unwrap_or_else(|| "web/dist".into());
    match build(&source, &output) {
        Ok(count) => {
            println!("{count} files in {}", output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the site was not built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(source: &Path, output: &Path) -> io::Result<usize> {
    let site = hashed(read(source)?);
    fs::create_dir_all(output).map_err(|error| named(output, &error))?;
    for (path, content) in read(output)? {
        if site.get(&path) != Some(&content) {
            remove(&output.join(path))?;
        }
    }
    for (path, content) in &site {
        let path = output.join(path);
        if !path.exists() {
            write(&path, content).map_err(|error| named(&path, &error))?;
        }
    }
    Ok(site.len())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).map_err(|error| named(path, &error))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

fn read(root: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(|error| named(&path, &error))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| io::Error::other(format!("{}: not UTF-8", name.display())))?;
            let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if entry.file_type()?.is_dir() {
                folders.push(key);
            } else {
                let content = fs::read(entry.path()).map_err(|error| named(&entry.path(), &error))?;
                files.insert(key, content);
            }
        }
    }
    Ok(files)
}

/// Hashes pictures first, then what refers to them, then scripts and pages: a hash covers the names that a file holds.
fn hashed(source: Files) -> Files {
    let mut ordered: Vec<_> = source.into_iter().collect();
    ordered.sort_by_key(|(path, _)| rank(path));
    let mut names: Vec<(String, String)> = Vec::new();
    let mut site = Files::new();
    for (path, content) in ordered {
        let content = refer(content, rank(&path), &names);
        let name = if path.starts_with("assets/") { hashed_name(&path, &content) } else { path.clone() };
        if name != path {
            names.push((path, name.clone()));
        }
        site.insert(name, content);
    }
    site
}

/// Files may refer to assets of a lower rank. Rank 0 refers to none.
fn rank(path: &str) -> u8 {
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("css") => 1,
        Some("js") => 2,
        Some("html" | "json" | "webmanifest") => 3,
        _ => 0,
    }
}

fn refer(content: Vec<u8>, rank: u8, names: &[(String, String)]) -> Vec<u8> {
    if rank == 0 {
        return content;
    }
    match String::from_utf8(content) {
        Ok(text) => names.iter().fold(text, |text, (from, to)| text.replace(from, to)).into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// `assets/app.js` becomes `assets/app.4f2a91c0d3b5e687.js`.
fn hashed_name(path: &str, content: &[u8]) -> String {
    let hash = XxHash3_64::oneshot(content);
    match path.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{hash:016x}.{extension}"),
        None => format!("{path}.{hash:016x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(leaf: &str) -> Files {
        let files = [
            ("index.html", "<link href=\"/assets/app.css\"><script src=\"/assets/app.js\"></script>"),
            ("assets/app.css", "a { background: url(/assets/leaf.svg) }"),
            ("assets/app.js", "1"),
            ("assets/leaf.svg", leaf),
        ];
        hashed(files.map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec())).into())
    }

    fn paths(site: &Files) -> Vec<&str> {
        site.keys().map(String::as_str).collect()
    }

    #[test]
    fn every_reference_leads_to_a_file() {
        let site = site("<svg/>");
        let text: String = site.values().map(|content| String::from_utf8_lossy(content)).collect();
        for path in paths(&site).into_iter().filter(|path| path.starts_with("assets/")) {
            assert!(text.contains(path), "{path} in {text}");
        }
        assert_eq!(site.len(), 4);
    }

    #[test]
    fn a_picture_renames_what_shows_it_and_nothing_else() {
        let (one, other) = (site("<svg/>"), site("<svg></svg>"));
        let changed: Vec<_> = paths(&one).into_iter().filter(|path| !other.contains_key(*path)).collect();
        assert_eq!(changed.len(), 2, "{changed:?}");
        assert!(changed[0].starts_with("assets/app.") && changed[1].starts_with("assets/leaf."));
    }

    #[test]
    fn an_output_is_mended_and_left_alone_when_right() {
        let folder = std::env::temp_dir().join(format!("ecolaura-web-{}", std::process::id()));
        let (source, output) = (folder.join("src"), folder.join("dist"));
        write(&source.join("index.html"), b"one").unwrap();
        write(&output.join("old/page.html"), b"old").unwrap();
        write(&output.join("index.html"), b"two").unwrap();
        assert_eq!(build(&source, &output).unwrap(), 1);
        assert_eq!(read(&output).unwrap(), Files::from([("index.html".to_owned(), b"one".to_vec())]));
        let time = || fs::metadata(output.join("index.html")).unwrap().modified().unwrap();
        let before = time();
        build(&source, &output).unwrap();
        assert_eq!(time(), before);
        fs::remove_dir_all(folder).unwrap();
    }
}
