//! Splitting a source into tokens (<https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>).

use super::ast::Literal;

/// A token and where it starts, in characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spanned {
    pub(super) at: u32,
    pub(super) token: Token,
    /// As it stands in the source.
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Literal(Literal),
    Ident,
    /// An operator or bracket.
    Sign,
    End,
}

/// What is wrong, and where.
pub(super) type Mistake = (u32, String);

/// Splits `source`.
pub(super) fn tokens(source: &str) -> Result<Vec<Spanned>, Mistake> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.token().map_err(|text| (lexer.place(start), text))?;
        let text: String = lexer.chars[start..lexer.at].iter().collect();
        let end = token == Token::End;
        tokens.push(Spanned { at: lexer.place(start), token, text });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

const SIGNS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%",
    "<", ">", "=", "&",
];

impl Lexer {
    fn place(&self, at: usize) -> u32 {
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.peek(0) {
            if matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c') {
                self.at += 1;
            } else if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, String> {
        let Some(c) = self.peek(0) else { return Ok(Token::End) };
        if let Some(prefix) = self.text_prefix() {
            return self.text(prefix);
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if c.is_ascii_alphabetic() || c == '_' {
            while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.at += 1;
            }
            return Ok(Token::Ident);
        }
        let sign = SIGNS.iter().find(|sign| sign.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c)));
        match sign {
            Some(sign) if !["=", "&"].contains(sign) => {
                self.at += sign.len();
                Ok(Token::Sign)
            }
            Some(_) | None => Err(format!("Syntax error: token recognition error at: '{c}'")),
        }
    }

    /// How long the `r` and `b` before a text are; nothing when there is no text.
    fn text_prefix(&self) -> Option<usize> {
        let letters = (0..3).take_while(|i| self.peek(*i).is_some_and(|c| matches!(c, 'r' | 'R' | 'b' | 'B'))).count();
        (letters < 3 && matches!(self.peek(letters), Some('"' | '\''))).then_some(letters)
    }

    fn text(&mut self, prefix: usize) -> Result<Token, String> {
        let letters: String = self.chars[self.at..self.at + prefix].iter().collect::<String>().to_lowercase();
        let (raw, bytes) = (letters.contains('r'), letters.contains('b'));
        let start = self.at;
        self.at += prefix;
        let quote = self.peek(0).unwrap_or('"');
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if triple { 3 } else { 1 };
        let mut out = Vec::new();
        loop {
            let Some(c) = self.peek(0) else { return Err(self.unterminated(start)) };
            let closes = if triple { (0..3).all(|i| self.peek(i) == Some(quote)) } else { c == quote };
            if closes {
                self.at += if triple { 3 } else { 1 };
                break;
            }
            if !triple && matches!(c, '\n' | '\r') {
                return Err(self.unterminated(start));
            }
            self.at += 1;
            if c == '\\' && !raw {
                self.escape(bytes, &mut out)?;
            } else {
                out.extend(c.to_string().bytes());
                if c == '\\' {
                    // A raw text has the backslash and what follows it, which does not close it.
                    if let Some(next) = self.peek(0).filter(|next| *next == quote || *next == '\\') {
                        out.extend(next.to_string().bytes());
                        self.at += 1;
                    }
                }
            }
        }
        let literal = if bytes {
            Literal::Bytes(out)
        } else {
            Literal::String(String::from_utf8(out).map_err(|_| "Syntax error: invalid text".to_owned())?)
        };
        Ok(Token::Literal(literal))
    }

    fn unterminated(&self, start: usize) -> String {
        let text: String = self.chars[start..].iter().take(20).collect();
        format!("Syntax error: token recognition error at: '{}'", text.lines().next().unwrap_or_default())
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let bad = || "Syntax error: invalid escape sequence".to_owned();
        let c = self.peek(0).ok_or_else(bad)?;
        self.at += 1;
        let simple = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '\'' | '"' | '`' | '?' => u32::from(c),
            'x' | 'X' => self.digits(2, 16).ok_or_else(bad)?,
            'u' if !bytes => self.digits(4, 16).ok_or_else(bad)?,
            'U' if !bytes => self.digits(8, 16).ok_or_else(bad)?,
            '0'..='3' => {
                self.at -= 1;
                self.digits(3, 8).ok_or_else(bad)?
            }
            _ => return Err(bad()),
        };
        match u8::try_from(simple) {
            Ok(byte) if bytes => out.push(byte),
            Ok(_) | Err(_) => out.extend(char::from_u32(simple).ok_or_else(bad)?.to_string().bytes()),
        }
        Ok(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let text: String = self.chars.get(self.at..self.at + count)?.iter().collect();
        self.at += count;
        text.chars().all(|c| c.is_digit(radix)).then(|| u32::from_str_radix(&text, radix).ok()).flatten()
    }

    fn number(&mut self) -> Result<Token, String> {
        let start = self.at;
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.at += 2;
            self.while_digit(16);
            let digits: String = self.chars[start + 2..self.at].iter().collect();
            return self.whole(&digits, 16);
        }
        self.while_digit(10);
        let mut float = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            float = true;
            self.at += 1;
            self.while_digit(10);
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                float = true;
                self.at += 1 + sign;
                self.while_digit(10);
            }
        }
        let text: String = self.chars[start..self.at].iter().collect();
        if !float {
            return self.whole(&text, 10);
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Literal(Literal::Double(value))),
            Ok(_) | Err(_) => Err("invalid double literal".to_owned()),
        }
    }

    fn while_digit(&mut self, radix: u32) {
        while self.peek(0).is_some_and(|c| c.is_digit(radix)) {
            self.at += 1;
        }
    }

    fn whole(&mut self, digits: &str, radix: u32) -> Result<Token, String> {
        let value = u64::from_str_radix(digits, radix);
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return value.map(|v| Token::Literal(Literal::Uint(v))).map_err(|_| "invalid uint literal".to_owned());
        }
        // The smallest integer is written as the negative of one that is too large by one; the parser knows.
        let value = value.ok().filter(|v| *v <= 1 << 63).ok_or("invalid int literal")?;
        Ok(Token::Literal(match i64::try_from(value) {
            Ok(value) => Literal::Int(value),
            Err(_) => Literal::Uint(value),
        }))
    }
}
