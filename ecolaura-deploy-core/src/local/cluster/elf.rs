//! The two facts about an ELF program that decide how it is started.

/// A program for this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Elf {
    /// Its dynamic loader; a static program has none.
    pub(super) interpreter: Option<String>,
}

/// The machine numbers of the architectures that Rust programs are deployed on.
fn machine() -> Option<u16> {
    match std::env::consts::ARCH {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        _ => None,
    }
}

fn number<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(head: &[u8], at: usize) -> Option<u16> {
    number(head, at).map(u16::from_le_bytes)
}

fn long(head: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(number(head, at)?)).ok()
}

/// Reads the first bytes of a file; `None` if it is no ELF file, an error if it is one for another machine.
pub(super) fn read(head: &[u8]) -> Result<Option<Elf>, String> {
    if !head.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    // 64 bits, little-endian: everything this runs on.
    let found = half(head, 18).filter(|_| head.get(4..6) == Some(&[2, 1]));
    match (found, machine()) {
        (Some(found), Some(own)) if found != own => {
            Err(format!("the program is for another architecture (ELF machine {found}, this one is {own})"))
        }
        (None, _) => Err("the program is for another architecture (not 64 bits, little-endian)".to_owned()),
        _ => Ok(Some(Elf { interpreter: interpreter(head) })),
    }
}

fn interpreter(head: &[u8]) -> Option<String> {
    const INTERPRETER: u32 = 3;
    let table = long(head, 32)?;
    let (size, count) = (half(head, 54)?, half(head, 56)?);
    let mut entries = (0..usize::from(count)).map(|entry| table + entry * usize::from(size));
    let entry = entries.find(|entry| number(head, *entry).map(u32::from_le_bytes) == Some(INTERPRETER))?;
    let start = long(head, entry + 8)?;
    let name = head.get(start..start.checked_add(long(head, entry + 32)?)?)?;
    Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_read() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = read(&bytes[..4096]).unwrap().unwrap();
        assert!(elf.interpreter.is_none_or(|loader| loader.starts_with('/')));
    }

    #[test]
    fn others_are_told_apart_and_damage_does_no_harm() {
        assert_eq!(read(b"#!/bin/sh"), Ok(None));
        let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        bytes.truncate(4096);
        for length in 0..bytes.len() {
            _ = read(&bytes[..length]);
        }
        let mut other = bytes.clone();
        other[18] = 243;
        assert!(read(&other).unwrap_err().contains("another architecture"));
        for at in 24..120 {
            let mut damaged = bytes.clone();
            damaged[at] = 0xff;
            _ = read(&damaged);
        }
    }
}
