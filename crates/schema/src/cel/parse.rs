//! Reading an expression. The grammar is that of the specification; macros are expanded on the way into
//! [`Comprehension`]s and tests.
//!
//! Nesting is bounded by [`MAX_DEPTH`] before anything recurses deeper, and so is the height of the tree, which a long
//! chain of `+` makes high without any nesting.

use super::ast::{Call, Comprehension, Entry, Expr, FieldInit, Fold, Item, Literal, Node, Select};
use super::token::{Mistake, Spanned, Token, tokens};
use super::{MAX_DEPTH, MAX_LENGTH};

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

/// Binary operators from loosest to tightest, without `&&` and `||`.
const LEVELS: [&[&str]; 3] = [&["<", "<=", ">", ">=", "==", "!=", "in"], &["+", "-"], &["*", "/", "%"]];

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
        let condition = self.logic(false)?;
        let expr = match self.take("?") {
            None => condition,
            Some(at) => {
                let yes = self.logic(false)?;
                self.expect(":")?;
                let no = self.expr()?;
                self.made(at, Node::Conditional(Box::new([condition, yes, no])))?
            }
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn logic(&mut self, and: bool) -> Parsed {
        let sign = if and { "&&" } else { "||" };
        let first = if and { self.binary(0)? } else { self.logic(true)? };
        if !self.is(sign) {
            return Ok(first);
        }
        let at = self.peek().at;
        let mut terms = vec![first];
        while self.take(sign).is_some() {
            terms.push(if and { self.binary(0)? } else { self.logic(true)? });
        }
        self.made(at, Node::Logic { and, terms })
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(sign) = signs.iter().find(|sign| self.is(sign)) {
            let at = self.expect(sign)?;
            let right = self.binary(level + 1)?;
            let name = if *sign == "in" { "@in".to_owned() } else { format!("_{sign}_") };
            left = self.call(at, &name, false, vec![left, right])?;
        }
        Ok(left)
    }

    fn call(&self, at: u32, name: &str, member: bool, args: Vec<Expr>) -> Parsed {
        let call = Call { name: name.to_owned(), member, args, function: None, pattern: None };
        self.made(at, Node::Call(Box::new(call)))
    }

    fn unary(&mut self) -> Parsed {
        let sign = ["!", "-"].into_iter().find(|sign| self.is(sign));
        let Some(sign) = sign else { return self.member() };
        let at = self.peek().at;
        let mut count = 0;
        while self.take(sign).is_some() {
            count += 1;
        }
        if sign == "-" && count % 2 == 1 {
            // A negative number is one literal, and the smallest exists in no other way.
            let literal = match &self.peek().token {
                Token::Literal(Literal::Int(value)) => Some(Literal::Int(-value)),
                Token::Literal(Literal::Double(value)) => Some(Literal::Double(-value)),
                Token::Literal(Literal::Uint(value))
                    if *value == 1 << 63 && !self.peek().text.ends_with(['u', 'U']) =>
                {
                    Some(Literal::Int(i64::MIN))
                }
                Token::Literal(_) | Token::Ident | Token::Sign | Token::End => None,
            };
            if let Some(literal) = literal {
                self.at += 1;
                let expr = self.made(at, Node::Literal(literal))?;
                return self.suffixes(expr);
            }
        }
        let operand = self.member()?;
        if count % 2 == 0 {
            return Ok(operand);
        }
        self.call(at, if sign == "!" { "!_" } else { "-_" }, false, vec![operand])
    }

    fn member(&mut self) -> Parsed {
        let first = self.primary()?;
        self.suffixes(first)
    }

    fn suffixes(&mut self, mut expr: Expr) -> Parsed {
        loop {
            if let Some(at) = self.take(".") {
                let optional = self.take("?").is_some();
                let name = self.field_name()?;
                expr = match self.is("(").then(|| self.peek().at) {
                    Some(open) if !optional => {
                        let args = self.arguments()?;
                        self.member_call(open, expr, &name, args)?
                    }
                    Some(_) | None => {
                        let select = Select { operand: expr, field: name, optional, test: false };
                        self.made(at, Node::Select(Box::new(select)))?
                    }
                };
            } else if let Some(at) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expr()?;
                self.expect("]")?;
                expr = self.call(at, if optional { "_[?_]" } else { "_[_]" }, false, vec![expr, index])?;
            } else if self.is("{") && expr.qualified().is_some() {
                let name = expr.qualified().unwrap_or_default();
                let at = self.expect("{")?;
                let fields = self.fields()?;
                expr = self.made(at, Node::Struct { name, fields })?;
            } else {
                return Ok(expr);
            }
        }
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
        let Spanned { at, token, text } = self.peek().clone();
        match token {
            Token::Literal(Literal::Uint(value)) if value == 1 << 63 && !text.ends_with(['u', 'U']) => {
                Err((at, "invalid int literal".to_owned()))
            }
            Token::Literal(literal) => {
                self.at += 1;
                self.made(at, Node::Literal(literal))
            }
            Token::Ident => self.word(at, &text),
            Token::Sign => match text.as_str() {
                "(" => {
                    self.at += 1;
                    let expr = self.expr()?;
                    self.expect(")")?;
                    Ok(expr)
                }
                "[" => self.list(),
                "{" => self.map(),
                // A leading dot means the root container, and there is no other here.
                "." => {
                    self.at += 1;
                    let next = self.peek().clone();
                    if next.token == Token::Ident { self.word(next.at, &next.text) } else { Err(self.unexpected("IDENTIFIER")) }
                }
                _ => Err(self.unexpected("{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}")),
            },
            Token::End => Err(self.unexpected("{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}")),
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

    fn global_call(&self, at: u32, name: &str, mut args: Vec<Expr>) -> Parsed {
        if name != "has" || args.len() != 1 {
            return self.call(at, name, false, args);
        }
        match args.remove(0).node {
            Node::Select(mut select) if !select.test => {
                select.test = true;
                self.made(at, Node::Select(select))
            }
            _ => Err((at, "invalid argument to has() macro".to_owned())),
        }
    }

    fn member_call(&self, at: u32, target: Expr, name: &str, mut args: Vec<Expr>) -> Parsed {
        let Some((fold, vars, filtered)) = fold_of(name, args.len()) else {
            args.insert(0, target);
            return self.call(at, name, true, args);
        };
        let names = args.drain(..vars).map(|arg| match arg.node {
            Node::Ident(name) => Ok(name),
            _ => Err((arg.at, "argument must be a simple name".to_owned())),
        });
        let names = names.collect::<Result<Vec<_>, _>>()?;
        if vars == 2 && names[0] == names[1] {
            return Err((at, format!("duplicate variable name: {}", names[0])));
        }
        let filter = filtered.then(|| args.remove(0));
        let body = args.remove(0);
        let comprehension = Comprehension { fold, range: target, vars: names, filter, body };
        self.made(at, Node::Comprehension(Box::new(comprehension)))
    }
}

/// What macro `name` is with so many arguments: its fold, how many of these are variables, and whether one filters.
fn fold_of(name: &str, args: usize) -> Option<(Fold, usize, bool)> {
    Some(match (name, args) {
        ("all", 2) => (Fold::All, 1, false),
        ("all", 3) => (Fold::All, 2, false),
        ("exists", 2) => (Fold::Exists, 1, false),
        ("exists", 3) => (Fold::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => (Fold::ExistsOne, 1, false),
        ("existsOne", 3) => (Fold::ExistsOne, 2, false),
        ("map", 2) => (Fold::Map, 1, false),
        ("map", 3) => (Fold::Map, 1, true),
        ("filter", 2) => (Fold::Filter, 1, false),
        ("transformList", 3) => (Fold::Map, 2, false),
        ("transformList", 4) => (Fold::Map, 2, true),
        ("transformMap", 3) => (Fold::TransformMap, 2, false),
        ("transformMap", 4) => (Fold::TransformMap, 2, true),
        ("transformMapEntry", 3) => (Fold::TransformMapEntry, 2, false),
        ("transformMapEntry", 4) => (Fold::TransformMapEntry, 2, true),
        ("optMap", 2) => (Fold::OptMap, 1, false),
        ("optFlatMap", 2) => (Fold::OptFlatMap, 1, false),
        _ => return None,
    })
}

fn too_deep(at: u32) -> Mistake {
    (at, format!("max recursion depth exceeded: expressions may be nested {MAX_DEPTH} levels deep"))
}
