//! What is measured, and how often.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) layers: usize,
    /// Of each layer.
    pub(crate) mib: usize,
}

impl Options {
    /// Reads `arguments`; the error tells what is allowed.
    pub(crate) fn of(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { rounds: 5, layers: 5, mib: 40 };
        let mut arguments = arguments.iter().map(String::as_str).filter(|argument| *argument != "--bench");
        while let Some(argument) = arguments.next() {
            let number = match argument {
                "--rounds" => &mut options.rounds,
                "--layers" => &mut options.layers,
                "--mib" => &mut options.mib,
                other => return Err(format!("`{other}` is not known: expected --rounds N, --layers N or --mib N")),
            };
            let given = arguments.next().and_then(|given| given.parse().ok()).filter(|number| *number > 0);
            *number = given.ok_or_else(|| format!("`{argument}`: expected a number from 1 after it"))?;
        }
        Ok(options)
    }
}
