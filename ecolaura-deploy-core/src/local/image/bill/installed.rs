//! What the package managers of distributions have installed.

use super::{Components, component, encode};

/// The distribution of an image, by its `os-release`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    id: Option<String>,
    version: Option<String>,
}

impl Distribution {
    pub(super) fn parse(text: &str) -> Self {
        let of = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
        };
        Self { id: of("ID"), version: of("VERSION_ID") }
    }

    fn add(&self, kind: &str, usual: &str, package: &Package<'_>, components: &mut Components) {
        let id = self.id.as_deref().unwrap_or(usual);
        let (name, version) = (package.name, package.version);
        let distro = self.version.as_ref().map(|version| format!("{id}-{version}"));
        let qualifiers = [("arch", package.architecture.map(str::to_owned)), ("distro", distro)];
        let qualifiers = qualifiers.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", encode(&value?))));
        let qualifiers = qualifiers.collect::<Vec<_>>().join("&");
        let mark = if qualifiers.is_empty() { "" } else { "?" };
        let purl = format!("pkg:{kind}/{}/{}@{}{mark}{qualifiers}", encode(id), encode(name), encode(version));
        components.insert(purl.clone(), component(name, version, &purl));
    }
}

struct Package<'a> {
    name: &'a str,
    version: &'a str,
    architecture: Option<&'a str>,
}

/// Adds what dpkg's `status` lists as installed, or a file of `status.d`, which has no word on that.
pub(super) fn dpkg(text: &str, distribution: &Distribution, components: &mut Components) -> Result<(), String> {
    for paragraph in paragraphs(text) {
        let of = |key: &str| field(paragraph, key, ": ");
        if of("Status").is_some_and(|status| !status.ends_with(" installed")) {
            continue;
        }
        let package = package(of("Package"), of("Version"), of("Architecture"))?;
        distribution.add("deb", "debian", &package, components);
    }
    Ok(())
}

/// Adds what apk's `installed` lists.
pub(super) fn apk(text: &str, distribution: &Distribution, components: &mut Components) -> Result<(), String> {
    for paragraph in paragraphs(text) {
        let of = |key: &str| field(paragraph, key, ":");
        distribution.add("apk", "alpine", &package(of("P"), of("V"), of("A"))?, components);
    }
    Ok(())
}

fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty())
}

fn field<'a>(paragraph: &'a str, key: &str, separator: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(separator)).map(str::trim)
}

fn package<'a>(
    name: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
) -> Result<Package<'a>, String> {
    let name = name.filter(|name| !name.is_empty()).ok_or("a package has no name")?;
    let version = version.filter(|version| !version.is_empty()).ok_or_else(|| format!("`{name}` has no version"))?;
    Ok(Package { name, version, architecture })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reader = fn(&str, &Distribution, &mut Components) -> Result<(), String>;

    fn purls(read: Reader, text: &str, release: &str) -> Result<Vec<String>, String> {
        let mut components = Components::new();
        read(text, &Distribution::parse(release), &mut components)?;
        Ok(components.into_keys().collect())
    }

    #[test]
    fn packages_of_dpkg_are_listed_if_they_are_installed() {
        let text = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:2.36-9+deb12u4\n\
                    Description: x\n Version: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n";
        let release = "PRETTY_NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n";
        let expected = [
            "pkg:deb/debian/libc6@2%3A2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12",
            "pkg:deb/debian/tzdata@2024a-0?arch=all&distro=debian-12",
        ];
        assert_eq!(purls(dpkg, text, release).unwrap(), expected);
    }

    #[test]
    fn packages_of_apk_are_listed() {
        let text = "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:libc.so\n\nC:Q1y\nP:zlib\nV:1.3.1-r1\nA:x86_64\n\n";
        let expected = ["pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64", "pkg:apk/alpine/zlib@1.3.1-r1?arch=x86_64"];
        assert_eq!(purls(apk, text, "").unwrap(), expected);
    }

    #[test]
    fn what_is_no_list_of_packages_is_named() {
        assert_eq!(purls(dpkg, "Package: a\n", "").unwrap_err(), "`a` has no version");
        assert_eq!(purls(apk, "V:1\n", "").unwrap_err(), "a package has no name");
    }
}
