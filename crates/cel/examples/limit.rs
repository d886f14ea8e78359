//! How long expressions take until their limit stops them.
//!
//! `cargo run --release -p orrery-cel --example limit`
#![allow(clippy::print_stdout, reason = "a command-line program")]

use orrery_cel::{Activation, Budget, Environment, PER_CALL_LIMIT, PER_OBJECT_BUDGET, Type, Val};
use serde_json::json;
use std::time::Instant;

const SOURCES: [&str; 15] = [
    "object.list.all(a, object.list.all(b, object.list.all(c, a + b + c >= 0)))",
    "object.list.all(a, object.text.matches('(a*)*b') || true)",
    "object.list.all(a, 'x'.matches(string(a) + '(a{50}){20}') || true)",
    "object.list.all(a, object.big == object.big)",
    "object.list.all(a, object.list.all(b, object.long == object.long))",
    "object.list.map(a, object.text + object.text + object.text).size() > 0",
    "object.list.map(a, object.list + object.list).map(b, b + b).size() > 0",
    "object.list.map(a, '%s'.format([object.big])).size() > 0",
    "object.list.map(a, object.list.map(b, object.text)).map(c, c.join(object.text)).size() > 0",
    "object.list.all(a, object.list.all(b, object.text.size() > 0))",
    "object.list.all(a, object.list.all(b, object.wide.exists(k, true)))",
    "object.list.all(a, object.list.all(b, object.long.exists(k, true)))",
    "object.list.all(a, object.list.all(b, timestamp('2024-01-01T00:00:00Z').getHours('Europe/Berlin') >= 0))",
    "object.list.all(a, object.list.all(b, quantity('1Mi').isGreaterThan(quantity('1Ki'))))",
    "object.list.all(a, object.list.all(b, cidr('10.0.0.0/8').containsIP(ip('10.1.1.1'))))",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wide: serde_json::Map<_, _> = (0..5000).map(|i| (format!("k{i}"), json!(i))).collect();
    let object = json!({
        "list": (0..2000).collect::<Vec<i64>>(),
        "text": "a".repeat(100_000),
        "big": {"k": vec!["x"; 5000]},
        "long": {"k".repeat(1_000_000): 1},
        "wide": wide,
    });
    let environment = Environment::new().with("object", Type::Dyn);
    for source in SOURCES {
        let program = environment.compile(source)?;
        let activation = Activation::new().with("object", Val::dynamic(&object));
        let mut budget = Budget::new(PER_OBJECT_BUDGET, PER_CALL_LIMIT);
        let start = Instant::now();
        let stopped = program.evaluate(&activation, &mut budget).is_err();
        println!("{:>8.1?} {} {source}", start.elapsed(), if stopped { "stopped" } else { "ended  " });
    }
    Ok(())
}
