//! Colours and width of text.

/// How text is set: with or without colours, and how wide.
///
/// ```
/// use ecolaura_deploy_core::report::Style;
/// let style = Style::detect(true, std::env::var("NO_COLOR").ok().as_deref()).with_width(80);
/// # let _ = style;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colours: bool,
    width: usize,
}

/// What a piece of text is painted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Bold,
    Dim,
    Good,
    Bad,
    Warn,
}

impl Style {
    /// No colours, 100 columns: for files and pipes.
    pub fn plain() -> Self {
        Self { colours: false, width: 100 }
    }

    /// Colours on a terminal, unless `no_color` (the value of `NO_COLOR`) is set to anything but the empty text.
    pub fn detect(is_terminal: bool, no_color: Option<&str>) -> Self {
        Self { colours: is_terminal && no_color.is_none_or(str::is_empty), ..Self::plain() }
    }

    /// The same with colours on or off.
    pub fn with_colours(self, colours: bool) -> Self {
        Self { colours, ..self }
    }

    /// The same, `columns` wide; at least 40. Text is wrapped, never cut: a path or a command stays whole.
    pub fn with_width(self, columns: usize) -> Self {
        Self { width: columns.max(40), ..self }
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.width
    }

    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colours || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Warn => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

impl Default for Style {
    fn default() -> Self {
        Self::plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        let coloured = |terminal, no_color| Style::detect(terminal, no_color).paint(Paint::Bad, "x") != "x";
        assert!(coloured(true, None) && coloured(true, Some("")));
        assert!(!coloured(true, Some("1")) && !coloured(false, None));
    }
}
