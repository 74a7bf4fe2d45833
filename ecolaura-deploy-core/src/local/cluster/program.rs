//! Finding an image's program, and starting it with the image's own loader and libraries.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use super::elf::{self, Elf};
use crate::local::image::ImageConfig;

/// What container runtimes set where the image does not.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The folders in which a dynamic loader looks by itself; those of the image are named to it.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// How many symbolic links a path may go through, as in the kernel.
const LINKS: usize = 40;

/// An unpacked image.
#[derive(Debug, Clone)]
pub(super) struct Program {
    root: PathBuf,
    config: ImageConfig,
}

impl Program {
    pub(super) fn new(root: PathBuf, config: ImageConfig) -> Self {
        Self { root, config }
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Program and arguments by Kubernetes' rule: a `command` replaces the image's entrypoint and its command, `args`
    /// replace the command only.
    pub(super) fn command(
        &self,
        command: Option<Vec<String>>,
        args: Option<Vec<String>>,
    ) -> Result<Vec<String>, String> {
        let own = command.is_none();
        let mut words = command.unwrap_or_else(|| self.config.entrypoint.clone());
        words.extend(args.unwrap_or_else(|| if own { self.config.command.clone() } else { Vec::new() }));
        match words.first() {
            Some(first) if !first.is_empty() => Ok(words),
            _ => Err("neither the image nor the manifest names a program".to_owned()),
        }
    }

    /// The folder in which it starts; made if it is not there, as container runtimes do.
    pub(super) fn working_dir(&self, wanted: Option<&str>) -> Result<PathBuf, String> {
        let wanted = wanted.or(self.config.working_dir.as_deref()).unwrap_or("/");
        if let Some(found) = self.inside(Path::new(wanted)) {
            return Ok(found);
        }
        let dir = self.root.join(relative(Path::new(wanted)));
        fs::create_dir_all(&dir).map_err(|error| format!("working directory `{wanted}`: {error}"))?;
        Ok(dir)
    }

    /// What is set before the manifest's variables: nothing of this process's own environment.
    pub(super) fn environment(&self, pod: &str, temporary: &Path) -> Vec<(String, String)> {
        let mut env = vec![
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOSTNAME".to_owned(), pod.to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
            ("TMPDIR".to_owned(), temporary.display().to_string()),
        ];
        for (name, value) in &self.config.env {
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), value.clone()));
        }
        env
    }

    /// The file and the arguments that start `command`.
    pub(super) fn locate(
        &self,
        command: &[String],
        env: &[(String, String)],
    ) -> Result<(PathBuf, Vec<String>), String> {
        let (name, rest) = command.split_first().ok_or("an empty command")?;
        let (inner, file) = self.find(name, env)?;
        let mut head = vec![0; 4096];
        let length = File::open(&file).and_then(|mut file| file.read(&mut head));
        head.truncate(length.map_err(|error| format!("`{name}`: {error}"))?);
        if let Some(line) = head.strip_prefix(b"#!") {
            return Ok(self.script(line, &file, rest));
        }
        match elf::read(&head).map_err(|why| format!("`{name}`: {why}"))? {
            Some(Elf { interpreter: Some(loader) }) => Ok(self.loaded(&loader, (&inner, &file), rest)),
            Some(Elf { interpreter: None }) => Ok((file, rest.to_vec())),
            None => Err(format!("`{name}` is neither an ELF program nor a script with `#!`")),
        }
    }

    /// The program `name`: its path in the image and on this machine.
    fn find(&self, name: &str, env: &[(String, String)]) -> Result<(String, PathBuf), String> {
        let executable = |path: &str| {
            let file = self.inside(Path::new(path))?;
            let data = fs::metadata(&file).ok()?;
            (data.is_file() && data.permissions().mode() & 0o111 != 0).then(|| (path.to_owned(), file))
        };
        if name.contains('/') {
            let work = self.config.working_dir.as_deref().unwrap_or("/");
            let path = Path::new("/").join(work).join(name).display().to_string();
            return executable(&path).ok_or_else(|| match self.inside(Path::new(&path)) {
                Some(_) => format!("`{name}` in the image is not an executable file"),
                None => format!("no program `{name}` in the image"),
            });
        }
        let path = env.iter().find(|(known, _)| known == "PATH").map_or(PATH, |(_, path)| path);
        let mut folders = path.split(':').filter(|folder| folder.starts_with('/'));
        folders
            .find_map(|folder| executable(&format!("{folder}/{name}")))
            .ok_or_else(|| format!("no program `{name}` in the image's PATH `{path}`"))
    }

    /// A script by its interpreter in the image; by this machine's where the image has none.
    fn script(&self, line: &[u8], file: &Path, rest: &[String]) -> (PathBuf, Vec<String>) {
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
        let (interpreter, option) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let Some(interpreter) = self.inside(Path::new(interpreter)) else { return (file.to_owned(), rest.to_vec()) };
        let option = Some(option.trim().to_owned()).filter(|option| !option.is_empty());
        let args = option.into_iter().chain([file.display().to_string()]).chain(rest.iter().cloned()).collect();
        (interpreter, args)
    }

    /// A program by the image's loader, told to look into the image; by this machine's where the image has none.
    fn loaded(&self, loader: &str, (inner, file): (&str, &Path), rest: &[String]) -> (PathBuf, Vec<String>) {
        let Some(program) = self.inside(Path::new(loader)) else { return (file.to_owned(), rest.to_vec()) };
        let mut args = vec!["--library-path".to_owned(), self.libraries()];
        if !loader.contains("ld-musl") {
            args.push("--inhibit-cache".to_owned());
        }
        args.extend(["--argv0".to_owned(), inner.to_owned(), file.display().to_string()]);
        args.extend(rest.iter().cloned());
        (program, args)
    }

    fn libraries(&self) -> String {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let folders = LIBRARIES.iter().flat_map(|folder| [(*folder).to_owned(), format!("{folder}/{triplet}")]);
        let found = folders.filter_map(|folder| self.inside(Path::new(&folder)));
        found.map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
    }

    /// Where `path` of the image lies on this machine, links followed as if the image were the root; `None` if it is
    /// not there.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let mut todo: Vec<PathBuf> = relative(path).components().rev().map(|part| part.as_os_str().into()).collect();
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(part) = todo.pop() {
            if part == Path::new("..") {
                at.pop();
                continue;
            }
            let next = at.join(part);
            let data = fs::symlink_metadata(self.root.join(&next)).ok()?;
            if !data.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            if links > LINKS {
                return None;
            }
            let target = fs::read_link(self.root.join(&next)).ok()?;
            if target.is_absolute() {
                at = PathBuf::new();
            }
            todo.extend(relative(&target).components().rev().map(|part| PathBuf::from(part.as_os_str())));
        }
        Some(self.root.join(at))
    }
}

/// `path` below a root; `..` stays and is resolved with the links.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn image(make: impl FnOnce(&Path)) -> (tempfile::TempDir, Program) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        make(dir.path());
        let program = Program::new(dir.path().to_owned(), ImageConfig::default());
        (dir, program)
    }

    fn executable(path: &Path, content: &[u8]) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn links_stay_within_the_image() {
        let (dir, image) = image(|root| {
            executable(&root.join("usr/bin/real"), b"#!/bin/none\n");
            symlink("/usr/bin", root.join("bin")).unwrap();
            symlink("../../../../usr/bin/real", root.join("usr/bin/up")).unwrap();
            symlink("/etc/passwd", root.join("usr/bin/out")).unwrap();
            symlink("round", root.join("usr/bin/round")).unwrap();
        });
        let real = dir.path().join("usr/bin/real");
        for name in ["/bin/real", "/usr/bin/up", "real", "usr/bin/../bin/real"] {
            assert_eq!(image.locate(&words(name), &[]).unwrap().0, real, "{name}");
        }
        for name in ["/bin/out", "/usr/bin/round", "none", "/none", "/usr/bin"] {
            let why = image.locate(&words(name), &[]).unwrap_err();
            assert!(why.contains(&format!("`{name}`")), "{why}");
        }
    }

    #[test]
    fn scripts_and_programs_use_what_the_image_holds() {
        let own = std::env::current_exe().unwrap();
        let head = fs::read(&own).unwrap();
        let Some(Elf { interpreter: Some(loader) }) = elf::read(&head[..4096]).unwrap() else { return };
        let (dir, image) = image(|root| {
            executable(&root.join("usr/bin/sh"), b"");
            executable(&root.join("usr/bin/script"), b"#!/usr/bin/sh -e\n");
            fs::copy(&own, root.join("usr/bin/server")).unwrap();
        });
        let (program, args) = image.locate(&words("script x"), &[]).unwrap();
        assert_eq!(program, dir.path().join("usr/bin/sh"));
        assert_eq!(args, ["-e", &dir.path().join("usr/bin/script").display().to_string(), "x"]);
        let server = dir.path().join("usr/bin/server");
        assert_eq!(image.locate(&words("server x"), &[]).unwrap(), (server.clone(), words("x")));
        let inner = dir.path().join(relative(Path::new(&loader)));
        fs::create_dir_all(inner.parent().unwrap()).unwrap();
        executable(&inner, b"");
        let (program, args) = image.locate(&words("server x"), &[]).unwrap();
        assert_eq!(program, inner);
        assert_eq!(args[args.len() - 3..], ["/usr/bin/server", &server.display().to_string(), "x"]);
        assert!(args[1].starts_with(&dir.path().display().to_string()), "{args:?}");
    }

    #[test]
    fn commands_replace_as_in_kubernetes() {
        let config = ImageConfig { entrypoint: words("e"), command: words("c"), ..ImageConfig::default() };
        let image = Program::new(PathBuf::new(), config);
        let some = |text| Some(words(text));
        for (command, args, expected) in
            [(None, None, "e c"), (None, some("a"), "e a"), (some("k"), None, "k"), (some("k"), some("a"), "k a")]
        {
            assert_eq!(image.command(command, args).unwrap(), words(expected));
        }
        let empty = Program::new(PathBuf::new(), ImageConfig::default());
        assert!(empty.command(None, None).unwrap_err().contains("names a program"));
    }
}
