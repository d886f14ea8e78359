//! Cuts the text of a label selector into tokens.

/// A token of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A key, a value, or one of the words `in` and `notin`.
    Word(String),
    /// An operator or a bracket: `=`, `==`, `!=`, `!`, `<`, `>`, `(`, `)`, `,`.
    Sign(&'static str),
}

impl Token {
    /// As it stood in the text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Sign(sign) => sign,
        }
    }
}

/// Longer signs first, so that `==` is not read as two.
const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];

/// The tokens of `text`, or the part that begins with a stray sign.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = rest[sign.len()..].trim_start();
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(rest.to_owned());
        }
        tokens.push(Token::Word(rest[..end].to_owned()));
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}
