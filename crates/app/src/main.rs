#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "until `serve` uses it"))]
mod settings;

fn main() {}
