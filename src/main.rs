//! The `emporium` program; see [`emporium::cli`].

fn main() {}
