//! A bill of materials (`CycloneDX` 1.6, JSON) from lock files, and from what an image says is installed in it. The same
//! packages give the same bytes.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

#[cfg(feature = "docker")]
mod image;
#[cfg(feature = "docker")]
mod installed;

/// Packages by their URL, with what is known of each.
type Components = BTreeMap<String, Value>;

/// The bill of the packages in these lock files, given with their contents; or all that is wrong with them.
pub(super) fn bill(files: &[(&Path, Vec<u8>)]) -> Result<Value, Vec<String>> {
    let (mut components, mut problems) = (Components::new(), Vec::new());
    for (path, content) in files {
        if let Err(why) = add(path, content, &mut components) {
            problems.push(format!("lock file `{}`: {why}", path.display()));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(document(components))
}

fn document(components: Components) -> Value {
    let components: Vec<_> = components.into_values().collect();
    json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components})
}

/// A bill that is put together of what is found. What cannot be read stands in it as something without a package URL,
/// which a scanner cannot pass.
#[cfg(feature = "docker")]
#[derive(Debug, Default)]
pub(crate) struct Bill(Components);

#[cfg(feature = "docker")]
impl Bill {
    /// Adds the packages of a lock file that was found at `path`, or why it has none that can be told.
    pub(crate) fn lock_file(&mut self, cx: &crate::Context, path: &str, content: &[u8]) {
        if let Err(why) = add(Path::new(path), content, &mut self.0) {
            self.unknown(cx, path, &why);
        }
    }

    fn unknown(&mut self, cx: &crate::Context, path: &str, why: &str) {
        cx.warn(format!("the packages of `{path}` are not in the bill of materials: {why}"));
        let name = format!("file:{path}");
        self.0.insert(name.clone(), json!({"type": "file", "bom-ref": name, "name": path}));
    }

    /// The bytes of the bill; `None` if there is nothing in it.
    pub(crate) fn write(self, operation: &'static str) -> crate::Result<Option<Vec<u8>>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        crate::local::oci::write(operation, &document(self.0)).map(Some)
    }
}

/// Lock files of package managers that are not read here.
#[cfg(feature = "docker")]
const UNREAD: [&str; 19] = [
    "Gemfile.lock",
    "Package.resolved",
    "Pipfile.lock",
    "Podfile.lock",
    "bun.lock",
    "bun.lockb",
    "composer.lock",
    "deno.lock",
    "go.sum",
    "gradle.lockfile",
    "mix.lock",
    "packages.lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pubspec.lock",
    "pylock.toml",
    "uv.lock",
    "yarn.lock",
];

/// Whether `path` names a lock file: of a program, or of what npm has installed for it, but of no package below.
#[cfg(feature = "docker")]
pub(crate) fn is_lock_file(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let below = folder.split('/').filter(|part| *part == "node_modules").count();
    match name {
        "Cargo.lock" | "package-lock.json" | "npm-shrinkwrap.json" => below == 0,
        ".package-lock.json" => below == 1 && folder.ends_with("node_modules"),
        _ => below == 0 && UNREAD.contains(&name),
    }
}

fn add(path: &Path, content: &[u8], components: &mut Components) -> Result<(), String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let text = || std::str::from_utf8(content).map_err(|error| error.to_string());
    match name {
        "Cargo.lock" => add_cargo(text()?, components),
        "package-lock.json" | ".package-lock.json" | "npm-shrinkwrap.json" => add_npm(text()?, components),
        _ => Err("expected a file named `Cargo.lock`, `package-lock.json` or `npm-shrinkwrap.json`".to_owned()),
    }
}

#[derive(Deserialize)]
struct CargoLock {
    #[serde(default)]
    version: u32,
    #[serde(default)]
    package: Vec<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn add_cargo(text: &str, components: &mut Components) -> Result<(), String> {
    let lock: CargoLock = toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
    if !matches!(lock.version, 3 | 4) {
        return Err(format!("version {} of the format, expected 3 or 4; `cargo update` writes it anew", lock.version));
    }
    for package in lock.package {
        let purl = format!("pkg:cargo/{}@{}", encode(&package.name), encode(&package.version));
        let mut component = component(&package.name, &package.version, &purl);
        if let Some(checksum) = package.checksum {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        if let Some(source) = package.source {
            component["properties"] = json!([{"name": "cargo:source", "value": source}]);
        }
        components.insert(purl, component);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NpmLock {
    lockfile_version: u32,
    packages: Option<BTreeMap<String, NpmPackage>>,
}

#[derive(Deserialize)]
struct NpmPackage {
    name: Option<String>,
    version: Option<String>,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    dev: bool,
}

fn add_npm(text: &str, components: &mut Components) -> Result<(), String> {
    let lock: NpmLock = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Some(packages) = lock.packages.filter(|_| matches!(lock.lockfile_version, 2 | 3)) else {
        let advice = "`npm install --package-lock-only` writes it anew";
        return Err(format!("version {} of the format, expected 2 or 3; {advice}", lock.lockfile_version));
    };
    for (path, package) in packages {
        // The packages of the project itself are not below a `node_modules`; a link repeats one of them.
        let Some((_, folder)) = path.rsplit_once("node_modules/").filter(|_| !package.link) else { continue };
        let name = package.name.as_deref().unwrap_or(folder);
        let Some(version) = package.version else {
            return Err(format!("`packages`: `{path}` has no `version`"));
        };
        let purl = format!("pkg:npm/{}@{}", encode(name), encode(&version));
        let mut component = component(name, &version, &purl);
        if package.dev && !components.contains_key(&purl) {
            component["scope"] = json!("excluded");
        }
        components.insert(purl, component);
    }
    Ok(())
}

fn component(name: &str, version: &str, purl: &str) -> Value {
    json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
}

/// Percent-encoded as package URLs want it; `/` divides a namespace from a name.
fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "docker")]
    #[test]
    fn lock_files_that_are_not_read_are_in_a_bill_as_unknown() {
        let cx = crate::Context::new("test".parse().unwrap());
        for path in ["web/yarn.lock", "pnpm-lock.yaml", "py/poetry.lock", "uv.lock", "go.sum", "bun.lockb"] {
            assert!(is_lock_file(path), "{path}");
            let mut bill = Bill::default();
            bill.lock_file(&cx, path, b"\xff anything");
            let bill: Value = serde_json::from_slice(&bill.write("test").unwrap().unwrap()).unwrap();
            let component = &bill["components"][0];
            assert!(component["name"] == path && component["purl"].is_null(), "{bill}");
        }
        for path in ["node_modules/a/yarn.lock", "web/node_modules/a/go.sum", "yarn.lock.txt", "go.mod"] {
            assert!(!is_lock_file(path), "{path}");
        }
    }

    fn purls(name: &str, content: &str) -> Result<Vec<String>, Vec<String>> {
        let bill = bill(&[(Path::new(name), content.as_bytes().to_vec())])?;
        let components = bill["components"].as_array().unwrap().iter();
        Ok(components.map(|one| one["purl"].as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn packages_of_cargo_are_listed() {
        let lock = "version = 4\n[[package]]\nname = \"time\"\nversion = \"0.1.44\"\nsource = \"registry+x\"\nchecksum = \"ab\"\n[[package]]\nname = \"app\"\nversion = \"1.0.0+b\"\ndependencies = [\"time\"]\n";
        assert_eq!(purls("a/Cargo.lock", lock).unwrap(), ["pkg:cargo/app@1.0.0%2Bb", "pkg:cargo/time@0.1.44"]);
    }

    #[test]
    fn packages_of_npm_are_listed() {
        let lock = r#"{"lockfileVersion": 3, "packages": {"": {"name": "web", "version": "1.0.0"},
            "lib/mine": {"version": "1.0.0"}, "node_modules/mine": {"resolved": "lib/mine", "link": true},
            "node_modules/@s/a": {"version": "1.2.3"}, "node_modules/b/node_modules/c": {"version": "2.0.0", "dev": true},
            "node_modules/alias": {"name": "real", "version": "3.0.0"}}}"#;
        let expected = ["pkg:npm/%40s/a@1.2.3", "pkg:npm/c@2.0.0", "pkg:npm/real@3.0.0"];
        assert_eq!(purls("package-lock.json", lock).unwrap(), expected);
    }

    #[test]
    fn lock_files_that_cannot_be_read_are_named() {
        for (name, content, expected) in [
            ("Cargo.lock", "version = 4\n[[package]]\nname = 3\n", "line 3"),
            ("Cargo.lock", "version = 9\n", "version 9"),
            ("package-lock.json", r#"{"lockfileVersion": 1, "dependencies": {}}"#, "version 1"),
            ("package-lock.json", "{", "line 1"),
            ("package-lock.json", r#"{"lockfileVersion":2,"packages":{"node_modules/a":{}}}"#, "node_modules/a"),
            ("yarn.lock", "", "expected a file named"),
        ] {
            let problems = purls(name, content).unwrap_err().join(" ");
            assert!(problems.contains(name) && problems.contains(expected), "{problems}");
        }
    }
}
