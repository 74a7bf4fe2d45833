//! Benchmarks of ecolaura-deploy, and what those have in common that run beside peers.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, reason = "what was measured is said")]

pub mod programs;
pub mod table;

use std::fmt::Write as _;

/// Reads the command line of a bench: which of `cases`, all unless some are named, and for each of `usual`, a name and a
/// number, the number that is given, or the usual one. The error tells what is allowed.
pub fn options<'a, const N: usize>(
    arguments: &'a [String],
    cases: &[&'a str],
    usual: [(&str, usize); N],
) -> Result<(Vec<&'a str>, [usize; N]), String> {
    let (mut named, mut numbers) = (Vec::new(), usual.map(|(_, number)| number));
    // Cargo says that it is a bench.
    let mut arguments = arguments.iter().map(String::as_str).filter(|argument| *argument != "--bench");
    while let Some(argument) = arguments.next() {
        if cases.contains(&argument) {
            named.push(argument);
            continue;
        }
        let Some(at) = usual.iter().position(|(name, _)| *name == argument) else {
            return Err(format!("`{argument}` is not known: expected {}", expected(cases, &usual)));
        };
        let given = arguments.next().unwrap_or_default();
        let number = given.parse().ok().filter(|number| *number > 0);
        numbers[at] = number.ok_or_else(|| format!("`{argument} {given}`: expected a number from 1"))?;
    }
    Ok((if named.is_empty() { cases.to_vec() } else { named }, numbers))
}

fn expected(cases: &[&str], usual: &[(&str, usize)]) -> String {
    let mut text = cases.iter().fold(String::new(), |text, case| text + case + ", ");
    for (index, (name, _)) in usual.iter().enumerate() {
        let before = if index == 0 { "" } else { ", " };
        _ = write!(text, "{before}{name} N");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<(Vec<String>, [usize; 2]), String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (cases, numbers) = options(&arguments, &["small", "large"], [("--rounds", 5), ("--files", 20)])?;
        Ok((cases.into_iter().map(str::to_owned).collect(), numbers))
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        assert_eq!(read(&["--bench"]), Ok((vec!["small".to_owned(), "large".to_owned()], [5, 20])));
        assert_eq!(read(&["large", "--files", "7"]), Ok((vec!["large".to_owned()], [5, 7])));
    }

    #[test]
    fn what_is_not_known_or_no_number_is_refused_by_name() {
        let unknown = "`huge` is not known: expected small, large, --rounds N, --files N";
        assert_eq!(read(&["huge"]), Err(unknown.to_owned()));
        for wrong in ["0", "many", ""] {
            assert_eq!(read(&["--rounds", wrong]), Err(format!("`--rounds {wrong}`: expected a number from 1")));
        }
    }
}
