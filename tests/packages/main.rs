//! The packages as an operator meets them: built from the programs under test, installed, started, broken, upgraded, removed.

#![forbid(unsafe_code)]

mod container;
mod debian;
mod machine;
mod made;
mod rpm;
