//! Makes the generator's table, with the very code that makes those of keys.
#![allow(dead_code, reason = "what makes a table is part of what verifies")]
#![allow(clippy::inline_always, reason = "as in the library")]
#![allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]

use std::{env, fs, io, path::Path};

#[path = "src/field.rs"]
mod field;
#[path = "src/limb.rs"]
mod limb;
#[path = "src/point.rs"]
mod point;
#[path = "src/product.rs"]
mod product;
#[path = "src/table.rs"]
mod table;

fn main() -> io::Result<()> {
    let mut table = Box::new(table::Wide::blank());
    table.fill(&point::Affine::GENERATOR);
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    // What is printed for debugging is the expression that makes the value.
    fs::write(Path::new(&out).join("generator.rs"), format!("{table:?}"))?;
    for file in ["field", "limb", "point", "product", "table"] {
        println!("cargo::rerun-if-changed=src/{file}.rs");
    }
    Ok(())
}
