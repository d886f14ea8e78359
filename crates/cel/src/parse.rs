//! Reading an expression. The grammar is that of the specification; macros are expanded on the way into
//! [`Comprehension`]s and tests.
//!
//! Nesting is bounded by [`MAX_DEPTH`] before anything recurses deeper, and so is the height of the tree, which a long
//! chain of `+` makes high without any nesting.

use super::ast::{Call, Entry, Expr, FieldInit, Item, Literal, Node, Select};
use super::token::{Mistake, Spanned, Token, tokens};
use super::{MAX_DEPTH, MAX_LENGTH};

mod macros;

/// Reads `source`.
pub(super) fn parse(source: &str) -> Result<Expr, Mistake> {
    let size = source.chars().count();
    if size > MAX_LENGTH {
        return Err((0, format!("expression code point size exceeds limit: size: {size}, limit {MAX_LENGTH}")));
    }
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0 };
    let expr = parser.expr()?;
    if parser.peek().token != Token::End {
        return Err(parser.unexpected("<EOF>"));
    }
    Ok(expr)
}

struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Expr, Mistake>;

/// What an expression can start with, as ANTLR lists it.
const STARTS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, \
    IDENTIFIER}";

const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// How tight a binary operator binds.
fn tightness(sign: &str) -> Option<u8> {
    Some(match sign {
        "||" => 1,
        "&&" => 2,
        "<" | "<=" | ">" | ">=" | "==" | "!=" | "in" => 3,
        "+" | "-" => 4,
        "*" | "/" | "%" => 5,
        _ => return None,
    })
}

impl Parser {
    fn peek(&self) -> &Spanned {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn is(&self, text: &str) -> bool {
        let next = self.peek();
        matches!(next.token, Token::Sign | Token::Ident) && next.text == text
    }

    fn take(&mut self, text: &str) -> Option<u32> {
        let at = self.is(text).then(|| self.peek().at)?;
        self.at += 1;
        Some(at)
    }

    fn expect(&mut self, text: &str) -> Result<u32, Mistake> {
        self.take(text).ok_or_else(|| self.unexpected(&format!("'{text}'")))
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let next = self.peek();
        let found = if next.token == Token::End { "<EOF>" } else { &next.text };
        (next.at, format!("Syntax error: mismatched input '{found}' expecting {expected}"))
    }

    fn made(&self, at: u32, node: Node) -> Parsed {
        let expr = Expr::new(at, node);
        if usize::from(expr.height) > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(expr)
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.peek().at));
        }
        let condition = self.binary(1)?;
        let expr = if self.is("?") { self.conditional(condition)? } else { condition };
        self.depth -= 1;
        Ok(expr)
    }

    fn conditional(&mut self, condition: Expr) -> Parsed {
        let at = self.expect("?")?;
        let yes = self.binary(1)?;
        self.expect(":")?;
        let no = self.expr()?;
        self.made(at, Node::Conditional(Box::new([condition, yes, no])))
    }

    /// Operands joined by operators that bind at least so tight.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((sign, tight)) = self.operator(least) {
            let at = self.peek().at;
            self.at += 1;
            let right = self.binary(tight + 1)?;
            left = self.joined(at, &sign, left, right)?;
        }
        Ok(left)
    }

    fn operator(&self, least: u8) -> Option<(String, u8)> {
        let next = self.peek();
        let tight = tightness(&next.text).filter(|tight| *tight >= least)?;
        matches!(next.token, Token::Sign | Token::Ident).then(|| (next.text.clone(), tight))
    }

    fn joined(&self, at: u32, sign: &str, left: Expr, right: Expr) -> Parsed {
        let and = sign == "&&";
        match (sign, left) {
            // A chain is one node, however long it is.
            ("&&" | "||", Expr { node: Node::Logic { and: same, mut terms }, at, height }) if same == and => {
                let height = height.max(right.height.saturating_add(1));
                terms.push(right);
                if usize::from(height) > MAX_DEPTH {
                    Err(too_deep(at))
                } else {
                    Ok(Expr { at, height, node: Node::Logic { and, terms } })
                }
            }
            ("&&" | "||", left) => self.made(at, Node::Logic { and, terms: vec![left, right] }),
            ("in", left) => self.call(at, "@in", false, vec![left, right]),
            (sign, left) => self.call(at, &format!("_{sign}_"), false, vec![left, right]),
        }
    }

    fn call(&self, at: u32, name: &str, member: bool, args: Vec<Expr>) -> Parsed {
        let call = Call { name: name.to_owned(), member, args, function: None, pattern: None };
        self.made(at, Node::Call(Box::new(call)))
    }

    fn unary(&mut self) -> Parsed {
        if !self.is("!") && !self.is("-") {
            return self.member();
        }
        let sign = if self.is("!") { "!" } else { "-" };
        let at = self.peek().at;
        let mut odd = false;
        while self.take(sign).is_some() {
            odd = !odd;
        }
        if let Some(literal) = self.negative_literal().filter(|_| odd && sign == "-") {
            self.at += 1;
            let expr = self.made(at, Node::Literal(literal))?;
            return self.suffixes(expr);
        }
        let operand = self.member()?;
        if !odd {
            return Ok(operand);
        }
        self.call(at, if sign == "!" { "!_" } else { "-_" }, false, vec![operand])
    }

    /// The negative of the number that comes next: one literal, since the smallest exists in no other way.
    fn negative_literal(&self) -> Option<Literal> {
        let next = self.peek();
        match &next.token {
            Token::Literal(Literal::Int(value)) => Some(Literal::Int(-value)),
            Token::Literal(Literal::Double(value)) => Some(Literal::Double(-value)),
            Token::Literal(Literal::Uint(value)) if *value == 1 << 63 && !next.text.ends_with(['u', 'U']) => {
                Some(Literal::Int(i64::MIN))
            }
            Token::Literal(_) | Token::Ident | Token::Sign | Token::End => None,
        }
    }

    fn member(&mut self) -> Parsed {
        let first = self.primary()?;
        self.suffixes(first)
    }

    fn suffixes(&mut self, mut expr: Expr) -> Parsed {
        loop {
            expr = if self.is(".") {
                self.selection(expr)?
            } else if self.is("[") {
                self.index(expr)?
            } else if self.is("{") && expr.qualified().is_some() {
                self.construction(&expr)?
            } else {
                return Ok(expr);
            };
        }
    }

    fn selection(&mut self, operand: Expr) -> Parsed {
        let at = self.expect(".")?;
        let optional = self.take("?").is_some();
        let field = self.field_name()?;
        if self.is("(") && !optional {
            let open = self.peek().at;
            let args = self.arguments()?;
            return self.member_call(open, operand, &field, args);
        }
        self.made(at, Node::Select(Box::new(Select { operand, field, optional, test: false })))
    }

    fn index(&mut self, operand: Expr) -> Parsed {
        let at = self.expect("[")?;
        let name = if self.take("?").is_some() { "_[?_]" } else { "_[_]" };
        let index = self.expr()?;
        self.expect("]")?;
        self.call(at, name, false, vec![operand, index])
    }

    fn construction(&mut self, of: &Expr) -> Parsed {
        let name = of.qualified().unwrap_or_default();
        let at = self.expect("{")?;
        let fields = self.fields()?;
        self.made(at, Node::Struct { name, fields })
    }

    fn field_name(&mut self) -> Result<String, Mistake> {
        let next = self.peek();
        if next.token != Token::Ident || ["true", "false", "null", "in"].contains(&next.text.as_str()) {
            return Err(self.unexpected("IDENTIFIER"));
        }
        let name = next.text.clone();
        self.at += 1;
        Ok(name)
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Mistake> {
        self.expect("(")?;
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<FieldInit>, Mistake> {
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let name = self.field_name()?;
            let at = self.expect(":")?;
            fields.push(FieldInit { at, name, value: self.expr()?, optional });
            if self.take(",").is_none() && !self.is("}") {
                return Err(self.unexpected("'}'"));
            }
        }
        Ok(fields)
    }

    fn primary(&mut self) -> Parsed {
        if self.take("(").is_some() {
            let expr = self.expr()?;
            self.expect(")")?;
            return Ok(expr);
        }
        self.atom()
    }

    fn atom(&mut self) -> Parsed {
        let Spanned { at, token, text } = self.peek().clone();
        match (token, text.as_str()) {
            (Token::Literal(Literal::Uint(value)), text) if value == 1 << 63 && !text.ends_with(['u', 'U']) => {
                Err((at, "invalid int literal".to_owned()))
            }
            (Token::Literal(literal), _) => {
                self.at += 1;
                self.made(at, Node::Literal(literal))
            }
            (Token::Ident, text) => self.word(at, text),
            (Token::Sign, "[") => self.list(),
            (Token::Sign, "{") => self.map(),
            // A leading dot means the root container, and there is no other here.
            (Token::Sign, ".") => {
                self.at += 1;
                let next = self.peek().clone();
                if next.token == Token::Ident {
                    self.word(next.at, &next.text)
                } else {
                    Err(self.unexpected("IDENTIFIER"))
                }
            }
            (Token::Sign | Token::End, _) => Err(self.unexpected(STARTS)),
        }
    }

    fn word(&mut self, at: u32, text: &str) -> Parsed {
        self.at += 1;
        let literal = match text {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            _ => None,
        };
        if let Some(literal) = literal {
            return self.made(at, Node::Literal(literal));
        }
        if text == "in" {
            self.at -= 1;
            return Err(self.unexpected("IDENTIFIER"));
        }
        if RESERVED.contains(&text) {
            return Err((at, format!("reserved identifier: {text}")));
        }
        match self.is("(").then(|| self.peek().at) {
            None => self.made(at, Node::Ident(text.to_owned())),
            Some(open) => {
                let args = self.arguments()?;
                self.global_call(open, text, args)
            }
        }
    }

    fn list(&mut self) -> Parsed {
        let at = self.expect("[")?;
        let mut items = Vec::new();
        while self.take("]").is_none() {
            let optional = self.take("?").is_some();
            items.push(Item { value: self.expr()?, optional });
            if self.take(",").is_none() && !self.is("]") {
                return Err(self.unexpected("']'"));
            }
        }
        self.made(at, Node::List(items))
    }

    fn map(&mut self) -> Parsed {
        let at = self.expect("{")?;
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            self.expect(":")?;
            entries.push(Entry { key, value: self.expr()?, optional });
            if self.take(",").is_none() && !self.is("}") {
                return Err(self.unexpected("'}'"));
            }
        }
        self.made(at, Node::Map(entries))
    }
}

fn too_deep(at: u32) -> Mistake {
    (at, format!("max recursion depth exceeded: expressions may be nested {MAX_DEPTH} levels deep"))
}
