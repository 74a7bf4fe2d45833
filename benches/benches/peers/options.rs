//! What is measured, and how often.

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) cases: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) objects: usize,
    pub(crate) pods: usize,
}

impl Options {
    /// Reads `arguments`; the error tells what is allowed.
    pub(crate) fn of(arguments: &[String], cases: &[&str]) -> Result<Self, String> {
        let mut options = Self { cases: Vec::new(), rounds: 5, objects: 1000, pods: 5000 };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let number = match argument {
                // Cargo says it.
                "--bench" => continue,
                "--rounds" => &mut options.rounds,
                "--objects" => &mut options.objects,
                "--pods" => &mut options.pods,
                case if cases.contains(&case) => {
                    options.cases.push(case.to_owned());
                    continue;
                }
                other => {
                    let cases = cases.join(", ");
                    return Err(format!(
                        "`{other}` is not known: expected {cases}, --rounds N, --objects N or --pods N"
                    ));
                }
            };
            let given = arguments.next().unwrap_or_default();
            *number = given
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| format!("`{argument} {given}`: expected a number from 1"))?;
        }
        if options.cases.is_empty() {
            options.cases = cases.iter().map(|case| (*case).to_owned()).collect();
        }
        Ok(options)
    }
}
