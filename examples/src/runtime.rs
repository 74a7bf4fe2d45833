//! What a program needs to run: the loader and the shared libraries that it loads, found without `ldd`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use ecolaura_deploy_core::{Error, ErrorKind, Result, backend::ImageEntry};
use object::{
    Endianness,
    elf::{FileHeader64, PT_INTERP},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

/// The loader and the libraries of `program`, each at the path at which the program looks for it. None for a program
/// that is linked statically.
///
/// The loader itself is asked, by its `--list`: it knows the search paths of this machine.
pub fn libraries(program: &Path) -> Result<Vec<ImageEntry>> {
    let Some(loader) = interpreter(program)? else { return Ok(Vec::new()) };
    let mut found: Vec<PathBuf> = vec![loader.clone()];
    found.extend(listed(&loader, program)?);
    found.sort();
    found.dedup();
    Ok(found.into_iter().map(|path| ImageEntry::new(resolved(&path), path.to_string_lossy()).mode(0o755)).collect())
}

/// The file itself: a link would lead out of the image.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The loader that the program names in its header.
fn interpreter(program: &Path) -> Result<Option<PathBuf>> {
    let data = std::fs::read(program).map_err(|error| Error::io("runtime.read", program, error))?;
    let not_elf = |error: object::Error| {
        Error::invalid("runtime.read", format!("`{}` is not a 64-bit ELF program: {error}", program.display()))
    };
    let header = FileHeader64::<Endianness>::parse(data.as_slice()).map_err(not_elf)?;
    let endian = header.endian().map_err(not_elf)?;
    for segment in header.program_headers(endian, data.as_slice()).map_err(not_elf)? {
        if segment.p_type(endian) == PT_INTERP {
            let bytes = segment.data(endian, data.as_slice()).unwrap_or_default();
            let text = String::from_utf8_lossy(bytes);
            return Ok(Some(PathBuf::from(text.trim_end_matches('\0'))));
        }
    }
    Ok(None)
}

/// The paths in the loader's answer: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux… (0x…)`.
fn listed(loader: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let failed = |why: String| {
        let message = format!("`{} --list {}`: {why}", loader.display(), program.display());
        Error::new(ErrorKind::CommandFailed, "runtime.list", message)
    };
    let answer = Command::new(loader).arg("--list").arg(program).output().map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    if !answer.status.success() {
        return Err(failed(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.stderr).trim())));
    }
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        return Err(failed(line.trim().to_owned()).advice("install the library that it names"));
    }
    Ok(text.lines().filter_map(path_in).collect())
}

fn path_in(line: &str) -> Option<PathBuf> {
    let after = line.split_once("=>").map_or(line, |(_, after)| after);
    let path = after.trim().split(" (0x").next()?.trim();
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_loader_are_read() {
        for (line, path) in [
            ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)", Some("/lib/x86_64-linux-gnu/libc.so.6")),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some("/lib64/ld-linux-x86-64.so.2")),
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            ("\tstatically linked", None),
        ] {
            assert_eq!(path_in(line), path.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn this_program_has_a_loader_and_a_libc() {
        let found = libraries(&std::env::current_exe().unwrap()).unwrap();
        assert!(found.iter().any(|entry| entry.destination.contains("ld-")), "{found:?}");
        assert!(found.iter().any(|entry| entry.destination.contains("libc")), "{found:?}");
        assert!(found.iter().all(|entry| !entry.source.is_symlink()), "{found:?}");
    }
}
